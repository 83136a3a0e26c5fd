"""The state machine: what people do, how workers get on with it, what goes wrong; then every read.

Hypothesis draws the rules and their arguments, and cuts a failure down to the few that matter.
Everything that is drawn is a small number, so that what is left of a failure can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from projections.engagement.layout import Limits
from tests.memory.redis import Redis
from tests.model.life import KINDS, OFTEN, PEOPLE, Act
from tests.model.town import Move, Town, small_bounds

SHOWN_MAX = 5
"""Differences that are told; the first is what matters."""

_small = st.integers(0, 15)
_who = st.integers(0, PEOPLE - 1)
_acts = st.lists(
    st.builds(Act, st.sampled_from(OFTEN + KINDS), _who, _who, _small, _small),
    min_size=1,
    max_size=8,
)
_breaks = st.none() | st.integers(0, 60)
_moves = st.lists(
    st.builds(Move, st.integers(0, 11), st.integers(0, 5), st.integers(1, 9), _breaks),
    min_size=1,
    max_size=6,
)
_reads = st.lists(st.tuples(_who, st.integers(0, 63), st.integers(0, 12)), max_size=4)
_seconds = st.sampled_from([1, 11, 70, 90_000])


class Totals:
    """What a number of runs came to."""

    def __init__(self) -> None:
        self.runs = self.steps = self.compared = 0


class Murmuration(RuleBasedStateMachine):
    """One run."""

    totals: ClassVar[Totals] = Totals()

    def __init__(self) -> None:
        super().__init__()
        self._closing = ExitStack()
        self._closing.enter_context(small_bounds())
        self._loop = asyncio.new_event_loop()
        self.town: Town
        self._steps = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs something to its end."""
        return self._loop.run_until_complete(work)

    # --- the beginning ---

    @initialize(
        members=st.integers(1, 2),
        hot=st.sampled_from([1_000_000, 1, 0]),
        registered=st.integers(3, PEOPLE),
        follows=st.integers(0, (1 << PEOPLE * PEOPLE) - 1),
        settled=st.booleans(),
    )
    def begin(self, members: int, hot: int, registered: int, follows: int, settled: bool) -> None:
        """Some are registered and follow each other; maybe they have read their homes."""
        self.town = Town(members, Limits(members_hot_max=hot))
        for user in range(registered):
            self.town.life.act(Act("register", user, 0, 0, 0))
        for number in range(PEOPLE * PEOPLE):
            if follows >> number & 1:
                self.town.life.act(Act("follow", number // PEOPLE, number % PEOPLE, 0, 0))
        self.run(self._begin(settled))

    async def _begin(self, settled: bool) -> None:
        await self.town.begin()
        if settled:
            await self.town.settle()
            for user in range(PEOPLE):
                await self.town.read(user, 0, 0)

    @invariant()
    def a_step_was_done(self) -> None:
        """Counts."""
        self._steps += 1

    # --- people ---

    @rule(acts=_acts)
    def people_act(self, acts: list[Act]) -> None:
        """Things happen, and are in the log."""
        for act in acts:
            self.town.life.act(act)

    @rule(acts=_acts, moves=_moves)
    def people_act_and_workers_follow(self, acts: list[Act], moves: list[Move]) -> None:
        """The same, while workers go on."""
        self.people_act(acts)
        self.run(self._move(moves))

    # --- workers ---

    @rule(moves=_moves)
    def workers_move(self, moves: list[Move]) -> None:
        """Workers go on, one after another, and may be cut off after any operation."""
        self.run(self._move(moves))

    async def _move(self, moves: list[Move]) -> None:
        for move in moves:
            await self.town.move(move)

    @rule(moves=_moves, reads=_reads, seed=st.integers(0, 1 << 16))
    def all_at_once(self, moves: list[Move], reads: list[tuple[int, int, int]], seed: int) -> None:
        """Workers and readers side by side."""
        self.run(self.town.together(moves, reads, seed))

    @rule(worker=st.integers(0, 11))
    def a_worker_starts_anew(self, worker: int) -> None:
        """As after a kill."""
        self.run(self.town.worker(worker).restart())

    @rule(worker=st.integers(0, 11))
    def a_worker_loses_its_partitions(self, worker: int) -> None:
        """To a successor; it does not know, and may go on."""
        self.town.depose(worker)
        self.run(self.town.successors_start())

    @precondition(lambda self: self.town.zombies)
    @rule(zombie=_small, partition=st.integers(0, 5), longest=st.integers(1, 9))
    def a_zombie_goes_on(self, zombie: int, partition: int, longest: int) -> None:
        """With a slice that it had fetched."""
        self.run(self.town.zombie(zombie, partition, longest))

    @rule(
        worker=st.integers(0, 11),
        partition=st.integers(0, 5),
        back=_small,
        longest=st.integers(1, 9),
    )
    def a_slice_comes_again(self, worker: int, partition: int, back: int, longest: int) -> None:
        """Redelivery."""
        self.run(self.town.again(worker, partition, back, longest))

    @rule()
    def workers_catch_up(self) -> None:
        """Lag zero."""
        self.run(self.town.settle())

    @rule(act=st.integers(0, 4), author=_who, breaks=_breaks)
    def tiers_change(self, act: int, author: int, breaks: int | None) -> None:
        """A keeper surveys, promotes or demotes, or everybody is pulled or pushed again."""
        self.run(self.town.keep(act, self.town.life.user(author), breaks))

    # --- readers ---

    @rule(reads=st.lists(st.tuples(_who, st.integers(0, 63), st.just(0)), min_size=1, max_size=6))
    def people_read(self, reads: list[tuple[int, int, int]]) -> None:
        """So that caches and timelines are warm, and hold what is of that moment."""
        self.run(self._read(reads))

    async def _read(self, reads: list[tuple[int, int, int]]) -> None:
        for read in reads:
            await self.town.read(*read)

    @rule()
    def all_read_their_homes(self) -> None:
        """Everybody opens his home timeline."""
        self.run(self._read([(user, 0, 0) for user in range(PEOPLE)]))

    # --- Redis ---

    @property
    def _redis(self) -> Redis:
        return self.town.on.redis

    @rule()
    def redis_is_remembered(self) -> None:
        """A replica, or a snapshot on disk, of this moment."""
        self.town.remember()

    @rule(buckets=st.integers(1, 7))
    def redis_loses_writes(self, buckets: int) -> None:
        """Of some buckets: it goes back to what is remembered, or comes back empty."""
        self.town.forget(_in_buckets(buckets))

    @rule()
    def redis_comes_back_empty(self) -> None:
        """All of it is lost."""
        self._redis.flush()

    @rule(pick=st.integers(0, 1 << 16))
    def redis_evicts(self, pick: int) -> None:
        """Some of what has an expiry."""
        keys = sorted(self._redis.expiry)
        self._redis.evict(key for at, key in enumerate(keys) if pick >> at % 16 & 1)

    @rule(seconds=_seconds)
    def time_passes(self, seconds: int) -> None:
        """Leases and entries expire."""
        self._redis.forward(seconds * 1000)

    # --- the end ---

    def teardown(self) -> None:
        """At lag zero every read is right; and again when the last zombie has had his say."""
        try:
            self.run(self._end())
        finally:
            self._close()

    async def _end(self) -> None:
        town = self.town
        await town.settle()
        _right(await town.differences())
        if town.zombies:
            await self._bury()
            await town.settle()
            _right(await town.differences())

    async def _bury(self) -> None:
        for zombie in list(self.town.zombies):
            for source in zombie.sources:
                while (piece := zombie.next(source, 5)) is not None and await zombie.apply(piece):
                    pass

    def _close(self) -> None:
        totals = Murmuration.totals
        totals.runs += 1
        totals.steps += self._steps
        totals.compared += self.town.compared
        if left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.close()
        self._closing.close()


def _in_buckets(picked: int) -> Callable[[bytes], bool]:
    """Returns which keys are of the picked buckets; what is in none is of the first."""

    def lost(key: bytes) -> bool:
        tag = key[key.find(b"{") + 1 : key.find(b"}")]
        return bool(picked >> (int(tag) if tag.isdigit() else 0) & 1)

    return lost


def _right(differences: list[str]) -> None:
    assert not differences, "\n".join(
        [f"{len(differences)} reads differ from the oracle:", *differences[:SHOWN_MAX]]
    )
