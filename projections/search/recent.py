"""The real-time tier's reading side: one script call for each node, all in one round trip.

A call reads the indexes of all buckets that its node owns, so that their number costs a query next
to nothing (decision 0165).

Keeps true: what a call returns is whole from its floor upwards. The tier's *border* is the highest
floor of its indexes; below it, and where a bucket has no index, the archive is asked.

Bounded by: ``BUDGET`` postings a call; one that spends it ends with a higher floor.
"""

from __future__ import annotations

from events.snowflake import EPOCH_MS
from projections.base import ProjectionError
from projections.bus import Argument, Command, CommandError, RedisBus, Reply
from projections.keys import Keys
from projections.search.layout import INDEX, SCRIPTS, ids_of, packed_id
from projections.search.part import NEWEST, Counts, Part
from projections.search.program import Program, packed


class TooCostly(ProjectionError):
    """A query that would hold up others; the message says what to do about it."""


BUDGET = 4000
"""Postings that one call looks at, about 1 ms of Redis; nobody behind it waits for longer."""

_FIND = SCRIPTS.name("murmur_search_find")
_COUNT = SCRIPTS.name("murmur_search_count")


class RecentReader:
    """Reads the real-time tier.

    Args:
        bus: The cluster.
        keys: The unit's names.
        budget: Postings that one call looks at.
    """

    def __init__(self, bus: RedisBus, keys: Keys, budget: int = BUDGET) -> None:
        self._bus = bus
        self._budget = budget
        self._indexes = [
            keys.prefix(INDEX, bucket) + keys.unit.encode() for bucket in range(keys.buckets)
        ]
        bus.use_library(SCRIPTS.source)

    async def find(self, program: Program, below: int, above: int, want: int) -> tuple[Part, int]:
        """Returns what a query finds under ``below``, and the border.

        It may end before there are ``want`` of them.

        Raises:
            TooCostly: it cannot be answered within the budget.
            RetryableError: Redis is away.
        """
        replies = await self._ask(_FIND, program, below, above, want)
        ids = [tweet_id for reply in replies if reply for tweet_id in ids_of(reply[2])]
        return Part.of(ids, max(map(_floor, replies))), max(map(_border, replies))

    async def count(
        self, program: Program, below: int, above: int, width_ms: int
    ) -> tuple[Counts, int]:
        """Returns how many tweets under ``below`` a query finds, by interval, and the border.

        Raises:
            TooCostly: it cannot be answered within the budget.
            RetryableError: Redis is away.
        """
        replies = await self._ask(_COUNT, program, below, above, width_ms, EPOCH_MS)
        floor, border = max(map(_floor, replies)), max(map(_border, replies))
        if min(map(_floor, replies)) < floor < below:
            # What lies below the highest floor is for the next call, on every node.
            replies = await self._ask(_COUNT, program, below, floor - 1, width_ms, EPOCH_MS)
        return Counts(_summed(replies) if floor < below else {}, floor), border

    async def _ask(
        self, function: str, program: Program, below: int, above: int, number: int, *more: int
    ) -> list[Reply]:
        query = packed(program)
        span = (packed_id(below), packed_id(above))
        groups = self._bus.by_owner(self._indexes)
        rest: list[Argument] = [*span, number, self._budget, query, *more]
        calls: list[Command] = [
            ("FCALL_RO", function, 1, first, *rest, *others) for first, *others in groups
        ]
        try:
            replies = await self._bus.calls_strict(calls)
        except CommandError as error:
            # A slot has moved to another node since the owners were learnt.
            if "non local key" not in str(error):
                raise
            alone: list[Command] = [
                ("FCALL_RO", function, 1, index, *rest) for index in self._indexes
            ]
            replies = await self._bus.calls_strict(alone)
        if [] in replies:
            raise TooCostly("the query looks at too many tweets: ask for rarer words, or fewer")
        return replies


def _floor(reply: Reply) -> int:
    return int.from_bytes(reply[0], "big") if reply is not None else NEWEST


def _border(reply: Reply) -> int:
    return int.from_bytes(reply[1], "big") if reply is not None else NEWEST


def _summed(replies: list[Reply]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for reply in replies:
        for start, number in zip(reply[2::2], reply[3::2], strict=True):
            counts[int(start)] = counts.get(int(start), 0) + number
    return counts
