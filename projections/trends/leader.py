"""Works out what trends, window by window, one process at a time.

A window can be worked out once nothing can be added to it: the log's time (the *watermark*) is
``late_ms`` past its end in every partition, which means

- a partition whose records are all applied has reached the time at which its end was looked up;
- another has reached what ``trend_clocks`` says.

For each window, in order:

1. Read the newest slot; those before it are kept.
2. At the end of a block, write its counts and take them into the baseline; take out the block that
   is a day old.
3. Score, and write the trends of each place that has any, or had in the window before, and what
   began worldwide and is to be told.
4. Say that the window is done, if nobody else leads by now.
5. Forget what is cached of those places, and of what is told.

Who leads holds a row of the store under a *token*. Each takes it over by a lightweight transaction
that counts the token up, once the time of the one before is over; step 4 is one that names the
token, so whoever was paused and wakes up finds that he leads no more. What he wrote by then does no
harm: rows of a window follow from the uses, the rules, what trended in the window before, which
stands in the leader's row, and the starts of the windows before, so that two leaders write the
same; and where they would not, as under other rules, the higher token stays, which is the rows'
write timestamp. Whoever comes next goes on at the window that was not said to be done.

A replay makes the trends of then: nothing here looks at a clock, but for the lease and the end of
the log.

Bounded by: the slots of one window without their tails; the counts of a day's blocks;
``WINDOWS_PER_TURN`` windows between two renewals of the lease. Times without tweets are passed
over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from projections.base import RetryableError
from projections.bus import RedisBus
from projections.cache import forgetting
from projections.keys import Keys
from projections.positions import stored_positions
from projections.store import Store
from projections.trends.layout import (
    CACHE,
    DAY_MS,
    STANDING,
    STARTS,
    WORLDWIDE,
    Began,
    Rules,
    Shape,
    Standing,
    Trend,
    standing_of,
)
from projections.trends.scoring import Counts, block, trending
from projections.trends.windows import SlotUses, Windows, add, joined

TOPIC = "new-tweets"

LEASE_MS = 15_000
CLOCK_SKEW_MS = 2_000
"""How far the broker's clock may be behind this process's."""

WINDOWS_PER_TURN = 20
TURN_SECONDS_MAX = 5.0

_LEADER = "SELECT fence, holder, until_ms, window_end, standing FROM {trend_leader} WHERE name = ?"
_FIRST = (
    "INSERT INTO {trend_leader} (name, fence, holder, until_ms, window_end, standing) "
    "VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS"
)
_TAKE = (
    "UPDATE {trend_leader} SET fence = ?, holder = ?, until_ms = ? WHERE name = ? "
    "IF fence = ? AND until_ms = ?"
)
_DONE = (
    "UPDATE {trend_leader} SET until_ms = ?, window_end = ?, standing = ? WHERE name = ? "
    "IF fence = ?"
)
_CLOCKS = "SELECT source, appended_at FROM {trend_clocks} WHERE scope = ?"
TRENDS_ROW = (
    "INSERT INTO {trends} (scope, woeid, day, window_end, found) VALUES (?, ?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_STARTS = (
    "INSERT INTO {trend_starts} (scope, day, window_end, found) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)

log = logging.getLogger(__name__)


class Flow(Protocol):
    """Where the log is."""

    async def ends(self, topic: str) -> dict[str, int]:
        """Returns the next offset of each partition of a topic, by ``topic/partition``.

        Raises:
            RetryableError: the log is away.
        """
        ...


class Lead(msgspec.Struct):
    """What whoever leads knows of the row that says so.

    Attributes:
        token: Under which he leads.
        window_end: The last window that is done; 0 for none.
        standing: What trended in it.
    """

    token: int
    window_end: int
    standing: Standing


class Leader:
    """One process that would work out what trends.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        flow: Where the log is.
        shape: How time is cut.
        rules: What it takes to trend.
        now_ms: The wall clock, for the lease and the end of the log.
        name: Of the row by which is led; the unit's by default.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        flow: Flow,
        shape: Shape,
        rules: Rules,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        name: str | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys
        self._flow = flow
        self._shape = shape
        self._rules = rules
        self._now_ms = now_ms
        self._name = name or keys.unit
        self._windows = Windows(store, keys.unit, shape, rules)
        self._holder = secrets.token_hex(8)
        self._lead: Lead | None = None
        self._slots: dict[int, SlotUses] = {}
        self._day: Counts = {}
        self._known: dict[int, frozenset[int]] = {}
        self.windows_done = 0
        """Windows that this process has worked out."""

    async def run(self) -> None:
        """Leads whenever nobody else does, until cancelled; an engine may be away."""
        while True:
            done = 0
            try:
                done = await self.turn()
            except RetryableError as error:
                self._lead = None
                log.warning("trends are worked out again when the engines answer: %s", error)
            if done < WINDOWS_PER_TURN:
                await asyncio.sleep(min(LEASE_MS / 3, self._shape.slot_ms) / 1000)

    async def turn(self) -> int:
        """Works out the windows that are due, some at most; returns how many were.

        Raises:
            RetryableError: an engine is away; what was done is done again.
        """
        lead = await self._leading()
        if lead is None:
            return 0
        self._lead = None  # whatever breaks this off, the row is read again
        upto = await self.watermark() - self._shape.late_ms
        touched: set[int] = set()
        done = 0
        deadline = time.monotonic() + TURN_SECONDS_MAX
        end = await self._next(lead, upto)
        while end is not None and done < WINDOWS_PER_TURN:
            await self._window(end, lead, touched)  # 1, 2, 3
            done += 1
            if time.monotonic() > deadline:
                break
            end = await self._next(lead, upto)
        said = (
            self._now_ms() + LEASE_MS,
            lead.window_end,
            msgspec.msgpack.encode(lead.standing),
        )
        if not await self._applied(_DONE, (*said, self._name, lead.token)):  # 4
            self._forget()
            return 0
        self._lead = lead
        self.windows_done += done
        await self._uncache(touched)  # 5
        return done

    async def watermark(self) -> int:
        """Returns the time of the log that every partition has reached."""
        now = self._now_ms() - CLOCK_SKEW_MS
        ends = await self._flow.ends(TOPIC)
        applied = await stored_positions(self._store, self._keys.unit)
        clocks: Mapping[str, int] = dict(await self._store.execute(_CLOCKS, (self._keys.unit,)))
        return min(
            (
                now if applied.get(source, 0) >= end else clocks.get(source, 0)
                for source, end in ends.items()
            ),
            default=0,
        )

    # --- who leads ---

    async def _leading(self) -> Lead | None:
        """Takes the lead, or keeps it; None while another has it."""
        if self._lead is not None:
            return self._lead
        rows = await self._store.execute(_LEADER, (self._name,))
        now = self._now_ms()
        if not rows:
            nothing = msgspec.msgpack.encode({})
            first = (self._name, 1, self._holder, now + LEASE_MS, 0, nothing)
            if not await self._applied(_FIRST, first):
                return None
            return await self._loaded(Lead(1, 0, {}))
        token, holder, until_ms, window_end, standing = rows[0]
        if holder != self._holder and until_ms > now:
            return None
        taken = (token + 1, self._holder, now + LEASE_MS, self._name, token, until_ms)
        if not await self._applied(_TAKE, taken):
            return None
        log.info("works out trends from %d on, under token %d", window_end, token + 1)
        return await self._loaded(Lead(token + 1, window_end, STANDING.decode(standing)))

    async def _loaded(self, lead: Lead) -> Lead:
        self._forget()
        self._day = await self._windows.day(lead.window_end)
        return lead

    def _forget(self) -> None:
        self._lead = None
        self._slots.clear()
        self._day = {}
        self._known.clear()

    async def _applied(self, cql: str, values: tuple[Any, ...]) -> bool:
        """Runs a lightweight transaction; whether it was."""
        return bool((await self._store.execute(cql, values))[0][0])

    # --- one window ---

    async def _next(self, lead: Lead, upto: int) -> int | None:
        """Returns the end of the next window; where nothing is, of the next that holds anything."""
        end = lead.window_end + self._shape.slot_ms
        if not lead.standing and not self._day and not any(self._slots.values()):
            begin = self._shape.slot(max(end - self._shape.window_ms, 0))
            slot = await self._windows.next_slot(begin)
            if slot is None:
                return None
            end = max(end, (slot + 1) * self._shape.slot_ms)
        return end if end <= upto else None

    async def _window(self, end: int, lead: Lead, touched: set[int]) -> None:
        slots = self._shape.slots_before(end)
        for gone in [slot for slot in self._slots if slot not in slots]:
            del self._slots[gone]
        for slot in slots:
            if slot not in self._slots:
                held = await self._holds(slot, end)
                self._slots[slot] = await self._windows.slot(slot) if held else {}  # 1
        uses = joined(self._slots[slot] for slot in slots)
        rows: list[tuple[str, Any]] = []
        if end % self._shape.window_ms == 0:  # 2
            counts = block(uses, end, self._rules)
            rows += self._windows.block_rows(end, counts, lead.token)
            old = self._shape.blocks_before(end).start - self._shape.window_ms
            add(self._day, counts, 1)
            add(self._day, await self._windows.block(old) if self._day else {}, -1)
        found = trending(uses, self._day, lead.standing, end, self._rules)  # 3
        places = found.keys() | lead.standing.keys()
        rows += (
            self._row(place, end, found.get(place, []), lead.token) for place in sorted(places)
        )
        rows += await self._starts(end, found.get(WORLDWIDE, []), lead.token)
        if rows:
            await self._store.write(rows)
        touched |= places
        lead.window_end = end
        lead.standing = standing_of(found)

    async def _holds(self, slot: int, end: int) -> bool:
        """Whether a slot holds anything; of days that are over that is asked once."""
        day = slot * self._shape.slot_ms // DAY_MS
        known = self._known.get(day)
        if known is None:
            known = frozenset(await self._windows.slots_of_day(day))
            if (day + 1) * DAY_MS <= end:
                self._known = {day: known}
        return slot in known

    def _row(self, place: int, end: int, found: list[Trend], token: int) -> tuple[str, Any]:
        body = msgspec.json.encode(found)
        return TRENDS_ROW, (self._keys.unit, place, end // DAY_MS, end, body, token)

    async def _starts(self, end: int, trends: Sequence[Trend], token: int) -> list[tuple[str, Any]]:
        """Returns the write of what began in a window and was not told a short time ago."""
        began = [trend for trend in trends if trend.started_at == end]
        told = await self._windows.told_before(end) if began else set()
        new = [Began(t.term, t.name, t.authors) for t in began if t.term not in told]
        if not new:
            return []
        body = msgspec.msgpack.encode(new)
        return [(_STARTS, (self._keys.unit, end // DAY_MS, end, body, token))]

    async def _uncache(self, places: set[int]) -> None:
        keys = [self._keys.of(CACHE, place) for place in sorted(places)]
        if WORLDWIDE in places:
            keys.append(self._keys.of(STARTS, WORLDWIDE))
        await self._bus.calls_strict(forgetting(keys))
