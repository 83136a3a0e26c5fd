"""A unit that is fed a part of the log: from some offsets, up to some, of some users.

For a generation that is built to be looked at. The unit itself knows nothing of it: records outside
the bounds are left out of the slices, which keep their ends, so that positions move as ever.
"""

from __future__ import annotations

import msgspec

from events.slices import Record, Slice
from events.types import Event
from projections.base import Unit
from projections.generations import Bounds

USERS = (
    *("user_id", "target_user_id", "member_id", "tweet_author_id"),
    *("reply_to_user_id", "quote_of_user_id", "retweet_of_user_id"),
)
"""Fields of events that name users whom they concern."""


def bounded(unit: Unit, bounds: Bounds) -> Unit:
    """Returns the unit, fed no more than the bounds allow."""
    return unit if bounds.whole else Bounded(unit, bounds)


class Bounded:
    """Feeds a unit a part of the log.

    Args:
        unit: The unit.
        bounds: The part.
    """

    def __init__(self, unit: Unit, bounds: Bounds) -> None:
        self._unit = unit
        self._bounds = bounds
        self._only = frozenset(bounds.only)
        self.name = unit.name
        self.topics = unit.topics

    async def open(self) -> None:
        """Opens the unit."""
        await self._unit.open()

    async def close(self) -> None:
        """Closes the unit."""
        await self._unit.close()

    async def heartbeat(self) -> None:
        """Carries the unit's positions on."""
        await self._unit.heartbeat()

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        """Returns the next offset to read, at first where the part begins."""
        at = await self._unit.resume(topic, partition, topic_id)
        return self._bounds.first.get(f"{topic}/{partition}") if at is None else at

    async def apply(self, piece: Slice) -> None:
        """Applies what of a slice is in the part."""
        end = self._bounds.end.get(piece.source)
        kept = [record for record in piece.records if self._within(record, end)]
        await self._unit.apply(msgspec.structs.replace(piece, records=kept))

    def _within(self, record: Record, end: int | None) -> bool:
        if end is not None and record.offset >= end:
            return False
        return not self._only or not self._only.isdisjoint(_users(record.event))


def _users(event: Event) -> set[int]:
    return {user for name in USERS if (user := getattr(event, name, None)) is not None}
