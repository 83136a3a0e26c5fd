"""Puts one key right in the generation in service, while its worker goes on.

One look:

1. How far the unit has applied the log: what it has applied must be stored.
2. Where the log ends, and what it says of the key up to there; from that, where the key is kept.
3. The stored rows of the key; of a tweet of the search its entry in the real-time tier as well.
4. Where the log ends now, and what it says of the key up to there. Everything that was stored at 3
   came from there, so what is stored and is not said there is wrong: no live slice wrote it.
5. What differs, and the timestamps that put it right (:mod:`infra.repair.cells`).

Then the rows are written, and only then the cache entries forgotten, in the order that a worker
keeps; before that as well, so that a hot tweet is not counted on from a wrong entry meanwhile. A
slice that was being applied meanwhile may have read what was wrong and have written what follows
from it, so the key is looked at again once the unit has applied everything that was in the log when
it was repaired, until a look finds nothing; a worker whose every slice speaks of the key is chased
(:mod:`infra.repair.chase`). At the end readers must be shown from the caches what the store holds.

No lock is taken and no worker is stopped: a write of ours that is late is an upsert with a
timestamp of its own like any other.

Bounded by: ``LOOKS_MAX`` looks, ``WAIT_S`` for the worker after each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from events.slices import LogRecord
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets, open_view
from infra.diff.explain import Records
from infra.diff.looks import Looker
from infra.diff.sides import GenerationSide, topics_of
from infra.diff.views import KINDS_OF_UNIT
from infra.repair.cells import Cell, Change, Expected, Row, Stored, Tries, changes, written
from infra.repair.chase import chase
from infra.repair.counts import Counts
from infra.repair.log import KeyLog
from infra.repair.notices import Notifications
from infra.repair.rows import Part, Rows
from infra.repair.searched import Fix, Searched
from infra.repair.targets import Target
from infra.repair.ties import Graph
from projections.timelines.chunks import Chunks
from projections.unit import StoredUnit

LOOKS_MAX = 20
WAIT_S = 30.0
AROUND = (b"", b":lease", b":sources", b":likers")
"""What stands beside a cache entry, and goes with it."""

TOLD_MAX = 5
"""Changes that are told before they are made; the rest is told as a number."""

Tell = Callable[[str], Awaitable[object]]
"""Told in words what will be written, once, before the first of it is."""


class Outcome(msgspec.Struct):
    """What a repair found and did.

    Attributes:
        target: What was repaired.
        changes: What was wrong in the store, by the first look that found it.
        caches: What readers were shown that is not in the store.
        problems: What is still wrong, or could not be made sure of.
        is_dry: Nothing was written.
    """

    target: str
    changes: list[str] = []
    caches: list[str] = []
    problems: list[str] = []
    is_dry: bool = False

    @property
    def was_wrong(self) -> bool:
        """Whether there was anything to repair."""
        return bool(self.changes or self.caches)

    @property
    def is_right(self) -> bool:
        """Whether the key is right now, as far as can be told."""
        return not self.problems and not (self.is_dry and self.was_wrong)


class Mender:
    """Repairs keys of one unit.

    Args:
        on: Engines at the generation of the unit.
        beside: Engines whose other units are read to show what readers see.
        view: Their log.
        unit: The unit.
        tell: Where a repair that writes is told; what raises there keeps it from writing.
        wait_s: How long the worker may take to get past a repair.
    """

    def __init__(
        self,
        on: Engines,
        beside: Engines,
        view: Records,
        unit: str,
        *,
        tell: Tell,
        wait_s: float = WAIT_S,
    ) -> None:
        made = compose.UNITS[unit](on)
        assert isinstance(made, StoredUnit)
        self._on = on
        self._keys = on.keys(unit)
        self._rows = Rows(on, on.store_of(unit), made.tables)
        self._log = KeyLog(on, view, unit)
        self._tell = tell
        self._wait_s = wait_s
        self._records: list[LogRecord] = []
        self._upto: Offsets = {}
        self._shown = GenerationSide("caches", unit, on, beside)
        self._stored = GenerationSide("store", unit, on, beside, is_cached=False)
        self._ends = partial(view.ends, topics_of(unit, on))
        self._kinds = {kind.name: kind for kind in KINDS_OF_UNIT[unit]}

    async def mend(self, target: Target, *, is_dry: bool = False) -> Outcome:
        """Repairs a key, or says what it would repair.

        A key that is right is left alone: nothing is written, nothing forgotten, nothing told.

        Raises:
            TooMuch: the key has more to it than a repair takes in.
            RetryableError, BrokerUnreachable: an engine is away; repeat it.
        """
        outcome = Outcome(target.words, is_dry=is_dry)
        self._records, self._upto = [], {}
        outcome.caches = await self._not_stored(target)
        tries: dict[tuple[Row, str], int] = {}
        for attempt in range(LOOKS_MAX):
            stored, wrong, fixes = await self._look(target, tries)
            told = [*(change.words() for change in wrong), *(fix.words for fix in fixes)]
            outcome.changes += [words for words in told if words not in outcome.changes]
            if is_dry or not outcome.was_wrong:
                return outcome
            if attempt and not told:
                break
            if not attempt:
                await self._tell(_summary(outcome))
            outcome.problems = told if attempt == LOOKS_MAX - 1 else []
            # Rows that are missing are none of those that are stored.
            touched = {**{change.row: {} for change in wrong}, **stored}
            if wrong:
                await self._forget(target, touched)  # what follows is counted from the store
                await self._rows.write(wrong)
            for change in wrong:
                tries[change.row, change.column] = tries.get((change.row, change.column), 0) + 1
            await self._on.bus.calls_strict([fix.command for fix in fixes])
            await self._forget(target, touched)
            if attempt and isinstance(target, Counts | Notifications):
                await self._chase(target, stored, wrong)
            if not await self._shown.reach(await self._ends(), self._wait_s):
                outcome.problems = ["no worker has caught up since, so it was not looked at again"]
                return outcome
        above = [words for words in outcome.changes if "above the log" in words]
        outcome.problems += [f"rebuild the unit to be rid of it: {words}" for words in above]
        outcome.problems += await self._not_stored(target)
        return outcome

    async def _look(self, target: Target, tries: Tries) -> tuple[Stored, list[Change], list[Fix]]:
        applied = await self._shown.positions()  # 1
        await self._read(target)  # 2
        known = [
            written(write, self._rows.keys)
            for _, write in target.facts(self._records, {}, self._upto)
        ]
        rows = {one.row for one in known if target.owns(one.row)}
        stored = await kept(target, self._rows, rows)  # 3
        if isinstance(target, Searched):
            await target.look()
        await self._read(target)  # 4
        records, now = self._records, self._upto
        expected = wanted(target, self._log, records, stored, applied, now, self._rows.keys)
        places = {record[:2] for record in records} or {
            place for place in now if place[0] in target.topics
        }
        end = max(now[place] for place in places)
        fixes = target.fixes(applied) if isinstance(target, Searched) else []
        return stored, changes(expected, stored, tries, end), fixes  # 5

    async def _read(self, target: Target) -> None:
        """Takes in what the log says of the key up to where it ends now."""
        ends = await self._log.ends(target.topics)
        if await self._log.decided_anew(ends) or not self._upto:
            self._records = await target.records(self._log, ends)
        elif ends != self._upto:
            self._records = await target.extended(self._log, self._records, self._upto, ends)
        self._upto = ends

    async def _chase(
        self, target: Counts | Notifications, stored: Stored, wrong: Sequence[Change]
    ) -> None:
        """Stays with partitions whose worker has written on from a wrong register meanwhile."""
        # One that a deletion hides is not there to be counted on from.
        there = [change.row for change in wrong if change.stored is not None]
        for place in target.outrun(there):
            view = open_view(self._on)
            try:
                await chase(
                    target.registers(place, self._records, there),
                    self._upto[place],
                    view,
                    self._on.store_of(target.unit),
                    self._rows,
                    partial(self._forget, target, stored),
                )
            finally:
                view.close()

    async def _forget(self, target: Target, stored: Stored) -> None:
        if isinstance(target, Graph):
            chunks = Chunks(self._on.bus, self._on.store_of(target.unit), self._keys)
            # Before what is added up from them.
            await self._drop(await chunks.stale_after(target.follows(stored)))
        await self._drop([self._keys.of(*entry) for entry in target.caches(stored)])

    async def _drop(self, keys: Iterable[bytes]) -> None:
        await self._on.bus.calls_strict(
            [("DEL", *(key + around for around in AROUND)) for key in dict.fromkeys(keys)]
        )

    async def _not_stored(self, target: Target) -> list[str]:
        """Returns what readers are shown that differs from the store, and goes on to."""
        looker = Looker(self._shown, self._stored, self._ends, wait_s=self._wait_s)
        found = await asyncio.gather(
            *(looker.look(self._kinds[kind], [key]) for kind, key in target.questions)
        )
        settled = await looker.settle([suspect for suspects in found for suspect in suspects])
        return [
            f"cached {one.kind.name} {one.key}: {field.path} {field.a} -> {field.b}"
            for one in settled.different
            for field in one.fields[:8]
        ]


def wanted(
    target: Target,
    log: KeyLog,
    records: Sequence[LogRecord],
    stored: Stored,
    applied: Offsets,
    ends: Offsets,
    keys: Mapping[str, Sequence[str]],
) -> Expected:
    """Returns what a log gives a target.

    Args:
        target: What it is about.
        log: Where the records are from.
        records: What it says of the target below ``ends``.
        stored: What is stored of it.
        applied: How far the unit has surely come.
        ends: Where the log ends.
        keys: The columns of each table's primary key.
    """
    expected = Expected()
    for because, write in target.facts(records, stored, ends):
        one = written(write, keys)
        if target.owns(one.row):
            is_durable = bool(because) and all(log.is_applied(r, applied) for r in because)
            end = max((ends[record[:2]] for record in because), default=0)
            expected.add(one, is_durable, end)
    return expected


async def kept(target: Target, rows: Rows, known: Iterable[Row]) -> dict[Row, dict[str, Cell]]:
    """Returns what is stored of a target.

    Args:
        target: What it is about.
        rows: The generation's.
        known: The rows that the log gives it.
    """
    found: dict[Row, dict[str, Cell]] = {}
    read: set[Part] = set()
    parts = target.parts(known)
    while parts:
        found.update(await rows.read(parts))
        read.update(parts)
        parts = [part for part in dict.fromkeys(target.also(found)) if part not in read]
    return {row: cells for row, cells in found.items() if target.owns(row)}


def _summary(outcome: Outcome) -> str:
    found = [*outcome.changes, *outcome.caches]
    more = f"; {len(found) - TOLD_MAX} more" if len(found) > TOLD_MAX else ""
    return f"{outcome.target}: {'; '.join(found[:TOLD_MAX])}{more}"
