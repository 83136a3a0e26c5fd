"""The search unit's reading side: the blender of both tiers.

1. The real-time tier is asked from the newest id down, until there is enough or its border is
   reached.
2. From there on the archive, step by step.

Keeps true: what is returned is whole from its floor upwards, so a page that begins below that floor
lacks and repeats nothing: the border is an id, and each tier answers on its own side of it. While
the archive is slow or away the real-time tier answers alone, and the answer says so; while Redis is
away, or has no index, the archive answers for both.

Bounded by: ``RECENT_STEPS_MAX`` round trips to Redis, and ``ARCHIVE_STEPS_MAX`` steps of the
archive, which together get ``archive_seconds``.
"""

from __future__ import annotations

import asyncio

import msgspec

from events.snowflake import time_of
from projections.base import RetryableError
from projections.bus import RedisBus
from projections.keys import Keys
from projections.search.archive import ArchiveReader
from projections.search.part import NEWEST, Counts, Part
from projections.search.program import Program, bounds
from projections.search.recent import RecentReader
from projections.store import Store

RECENT_STEPS_MAX = 8
ARCHIVE_STEPS_MAX = 16
ARCHIVE_SECONDS = 1.0


class Results(msgspec.Struct, frozen=True):
    """What a query finds.

    Attributes:
        ids: Newest first.
        floor: From here upwards nothing is missing; 0 if that is all there is.
        recent_only: The archive did not answer: below ``floor`` nothing is known.
    """

    ids: list[int]
    floor: int
    recent_only: bool = False


class Counted(msgspec.Struct, frozen=True):
    """How many tweets a query finds, by the start of each interval; see :class:`Results`."""

    by_start: dict[int, int]
    floor: int
    recent_only: bool = False


class SearchReader:
    """What the gateway reads of the search unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        recent: Reads the real-time tier.
        archive: Reads the archive.
        archive_seconds: Longest that one answer waits for the archive.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        recent: RecentReader | None = None,
        archive: ArchiveReader | None = None,
        archive_seconds: float = ARCHIVE_SECONDS,
    ) -> None:
        self._recent = recent or RecentReader(bus, keys)
        self._archive = archive or ArchiveReader(store)
        self._archive_seconds = archive_seconds

    async def find(self, program: Program, below: int, want: int) -> Results:
        """Returns at most ``want`` tweets under ``below``, newest first.

        There may be fewer although there are more below ``floor``: then ask on from there.

        Raises:
            TooCostly: it would hold up others.
            RetryableError: both tiers are away.
        """
        above, highest = bounds(program)
        below = min(below, highest)
        part, border = Part([], below), 0
        for _ in range(RECENT_STEPS_MAX):  # 1
            try:
                found, border = await self._recent.find(program, part.floor, above, want)
            except RetryableError:
                border = NEWEST
                break
            part = _joined(part, found)
            if len(part.ids) >= want or part.floor <= max(border, above + 1):
                break
        if len(part.ids) >= want or part.floor > max(border, above + 1):
            return _results(part.first(want), above)
        try:
            async with asyncio.timeout(self._archive_seconds):
                part = await self._from_archive(program, part, above, want)  # 2
        except (RetryableError, TimeoutError) as error:
            if border == NEWEST:
                raise RetryableError("neither tier of the search answers") from error
            return Results(part.ids, part.floor, recent_only=True)
        return _results(part.first(want), above)

    async def count(self, program: Program, width_ms: int, below: int = NEWEST) -> Counted:
        """Returns how many tweets under ``below`` a query finds, by interval.

        Raises:
            TooCostly: it would hold up others.
            RetryableError: both tiers are away.
        """
        above, highest = bounds(program)
        counts, border = Counts({}, min(below, highest)), 0
        for _ in range(RECENT_STEPS_MAX):  # 1
            try:
                found, border = await self._recent.count(program, counts.floor, above, width_ms)
            except RetryableError:
                border = NEWEST
                break
            counts = _added(counts, found)
            if counts.floor <= max(border, above + 1):
                break
        if counts.floor > max(border, above + 1):
            return Counted(dict(counts.by_start), counts.floor)
        try:
            async with asyncio.timeout(self._archive_seconds):
                part = await self._from_archive(program, Part([], counts.floor), above, 1 << 62)
        except (RetryableError, TimeoutError) as error:
            if border == NEWEST:
                raise RetryableError("neither tier of the search answers") from error
            return Counted(dict(counts.by_start), counts.floor, recent_only=True)
        by_start: dict[int, int] = {}
        for tweet_id in part.ids:  # 2
            start = time_of(tweet_id) // width_ms * width_ms
            by_start[start] = by_start.get(start, 0) + 1
        counts = _added(counts, Counts(by_start, part.floor))
        return Counted(dict(counts.by_start), counts.floor if counts.floor > above + 1 else 0)

    async def _from_archive(self, program: Program, part: Part, above: int, want: int) -> Part:
        for _ in range(ARCHIVE_STEPS_MAX):
            if len(part.ids) >= want or part.floor <= above + 1:
                break
            part = _joined(part, await self._archive.find(program, part.floor, above))
        return part


def _joined(part: Part, lower: Part) -> Part:
    return Part([*part.ids, *lower.ids], min(part.floor, lower.floor))


def _added(counts: Counts, lower: Counts) -> Counts:
    starts = counts.by_start.keys() | lower.by_start.keys()
    summed = {at: counts.by_start.get(at, 0) + lower.by_start.get(at, 0) for at in starts}
    return Counts(summed, min(counts.floor, lower.floor))


def _results(part: Part, above: int) -> Results:
    return Results(part.ids, part.floor if part.floor > above + 1 else 0)
