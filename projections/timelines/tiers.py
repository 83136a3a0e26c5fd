"""Tiers: which authors' tweets are pulled when read instead of pushed when posted.

An author without a row is pushed to his followers, at once or in chunks (:mod:`.audience`). On the
way to the celebrities and back he passes states in which both happen, so that no reader misses or
loses a tweet:

====================  ====================  =======================  ============================
state                 workers push tweets   into the celebrity's     readers pull them
                      to followers          cached timeline
====================  ====================  =======================  ============================
(none)                yes                   no                       no
``promoting``         yes                   yes                      no
``celebrity``         no                    yes                      yes
``demoting``          yes                   yes                      yes
``draining``          yes                   no                       yes
====================  ====================  =======================  ============================

:mod:`.keeper` moves authors from state to state, and says what has to be true before each step.

*Everybody* has a row of his own (``EVERYBODY``): while it says ``pull-only`` workers push nobody's
tweets and readers read the author timelines in place of the cached home timelines (level 3 of
``docs/degrading.md``). What is posted meanwhile is in no cached timeline, so leaving that state
begins a new *epoch*: a home timeline that was filled in an earlier one is taken for cold. That is
exact without waiting for anybody: a worker records a tweet in its author's timeline before it looks
at the tiers, so what was not pushed is there before the epoch in which timelines are filled begins.

The set is small (the brief counts 50,000 celebrities) and changes seldom, so every process keeps it
whole, with the version that it was read at. Each read and each slice looks at the version first,
one key in the round trip that it makes anyway, so a change is in force for every reader at once:

1. the version is replaced by one that nobody may remember, so whoever looks reads the store;
2. the state is written at QUORUM, if it still is what the one who changes it read;
3. the version is replaced by an ordinary one.

Who dies between 1 and 3 leaves readers slower and right; a worker that starts, or the next keeper,
replaces the version, so a Redis that lost one is of no consequence either.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from projections.bus import Command, RedisBus
from projections.flights import Flights
from projections.keys import Keys
from projections.store import Store

_CHANGING = b"changing:"

_ALL = "SELECT author_id, state, change FROM {tier_states} WHERE scope = ?"
_ENTER = (
    "INSERT INTO {tier_states} (scope, author_id, state, change) VALUES (?, ?, ?, ?) IF NOT EXISTS"
)
_MOVE = (
    "UPDATE {tier_states} SET state = ?, change = ? WHERE scope = ? AND author_id = ? "
    "IF state = ? AND change = ?"
)
EVERYBODY = 0
"""In place of an author: no user has this id."""
PULL_ONLY, PUSHED = "pull-only", "pushed"
"""States of everybody; ``change`` counts the epochs."""

_LEAVE = "DELETE FROM {tier_states} WHERE scope = ? AND author_id = ? IF state = ? AND change = ?"


class State(StrEnum):
    """Where an author is; no row is the ordinary case."""

    PROMOTING = "promoting"
    CELEBRITY = "celebrity"
    DEMOTING = "demoting"
    DRAINING = "draining"


class Row(msgspec.Struct, frozen=True):
    """One author's row.

    Attributes:
        author_id: Snowflake id.
        state: Where he is.
        change: Names the change that put him there; the next step is taken only from it.
    """

    author_id: int
    state: State
    change: str


class View(msgspec.Struct, frozen=True):
    """The tiers as of one version.

    Attributes:
        pulled: Readers pull these authors' tweets.
        unpushed: Workers do not push them, and a timeline is filled without them.
        collected: Workers add them to the authors' cached timelines.
        pull_only: Workers push nobody's tweets, readers pull everybody's.
        epoch: Home timelines that were filled in an earlier one may lack tweets.
    """

    pulled: frozenset[int]
    unpushed: frozenset[int]
    collected: frozenset[int]
    pull_only: bool = False
    epoch: int = 0


def view_of(rows: Iterable[Row], *, pull_only: bool = False, epoch: int = 0) -> View:
    """Returns what follows from the authors' states; the table above."""
    by_state: dict[State, array[int]] = {state: array("q") for state in State}
    for row in rows:
        by_state[row.state].append(row.author_id)
    celebrity, demoting = by_state[State.CELEBRITY], by_state[State.DEMOTING]
    return View(
        pulled=frozenset((*celebrity, *demoting, *by_state[State.DRAINING])),
        unpushed=frozenset(celebrity),
        collected=frozenset((*celebrity, *demoting, *by_state[State.PROMOTING])),
        pull_only=pull_only,
        epoch=epoch,
    )


NOBODY = view_of(())


class Tiers:
    """The tiers, as of the version that was last looked at."""

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._bus = bus
        self._store = store
        self._scope = keys.unit
        self._key = f"{keys.generation}:{{{keys.unit}-tiers}}:version".encode()
        self._version: bytes | None = None
        self._view = NOBODY
        self._reading: Flights[str, View] = Flights()

    def query(self) -> Command:
        """Returns the command that reads the version, to share a round trip with others."""
        return ("GET", self._key)

    async def settle(self, version: bytes | None) -> View:
        """Returns the tiers as of ``version``, the reply to :meth:`query`."""
        if version is None:
            await self._bus.call("SET", self._key, secrets.token_hex(8), "NX")
            version = await self._bus.call("GET", self._key)
        if version is None or version != self._version or version.startswith(_CHANGING):
            # All who meet a new version at once share a reading that begins after they looked.
            view = await self._reading.run("all", self._read)
            self._view, self._version = view, version
        return self._view

    @property
    def last(self) -> View | None:
        """The tiers as they were read last; None before the first time."""
        return None if self._view is NOBODY else self._view

    async def view(self) -> View:
        """Returns the tiers as of now; one round trip where nothing has changed."""
        return await self.settle(await self._bus.call(*self.query()))

    async def rows(self) -> list[Row]:
        """Returns every author with a state, from the store."""
        return (await self._stored())[0]

    async def pull_only(self, wanted: bool) -> bool:
        """Makes everybody's tweets pulled, or pushed again; False when they are already."""
        _, found = await self._stored()
        state, epoch = found or (PUSHED, 0)
        if (state == PULL_ONLY) is wanted:
            return False
        if found is None:
            return await self._change(_ENTER, (self._scope, EVERYBODY, PULL_ONLY, "0"))
        after = (PULL_ONLY, epoch) if wanted else (PUSHED, epoch + 1)
        values = (after[0], str(after[1]), self._scope, EVERYBODY, state, str(epoch))
        return await self._change(_MOVE, values)

    async def _read(self) -> View:
        rows, everybody = await self._stored()
        state, epoch = everybody or (PUSHED, 0)
        return view_of(rows, pull_only=state == PULL_ONLY, epoch=epoch)

    async def _stored(self) -> tuple[list[Row], tuple[str, int] | None]:
        """Returns the authors' rows, and state and epoch of everybody."""
        everybody: tuple[str, int] | None = None
        rows: list[Row] = []
        for author, state, change in await self._store.execute(_ALL, (self._scope,)):
            if author == EVERYBODY:
                everybody = state, int(change)
            else:
                rows.append(Row(author, State(state), change))
        return rows, everybody

    async def enter(self, author: int, state: State) -> Row | None:
        """Gives an author without a state one; None when he has one already."""
        row = Row(author, state, secrets.token_hex(8))
        values = (self._scope, author, state, row.change)
        return row if await self._change(_ENTER, values) else None

    async def move(self, row: Row, state: State) -> Row | None:
        """Takes an author to the next state; None when somebody else has moved him."""
        after = Row(row.author_id, state, secrets.token_hex(8))
        values = (state, after.change, self._scope, row.author_id, row.state, row.change)
        return after if await self._change(_MOVE, values) else None

    async def leave(self, row: Row) -> bool:
        """Makes an author an ordinary one; False when somebody else has moved him."""
        values = (self._scope, row.author_id, row.state, row.change)
        return await self._change(_LEAVE, values)

    async def touch(self) -> None:
        """Makes every process read the tiers anew."""
        await self._bus.call("SET", self._key, secrets.token_hex(8))

    async def _change(self, cql: str, values: tuple[int | str, ...]) -> bool:
        await self._bus.call("SET", self._key, _CHANGING + secrets.token_hex(8).encode())  # 1
        ((applied, *_),) = await self._store.execute(cql, values)  # 2
        await self.touch()  # 3
        return bool(applied)
