"""The engagement unit's writing side: likes, views and children of tweets, counted exactly.

``engagements`` is :mod:`projections.engagement.likes`, ``new-tweets`` is
:mod:`projections.engagement.children`; what both rest on is :mod:`projections.engagement.tally` and
the registers of :mod:`projections.engagement.layout`; what comes late, by a redrive, is
:mod:`projections.engagement.redriven`. The argument in words: decision 0050.

Exactly-once effect: natural, by registers. A worker resumes from the lower of the store's position
and the buckets', so a Redis that went back in time is refilled from the log, and one that came back
empty from the registers.

Bounded by: ``RECORDS_MAX`` and ``CHILDREN_MAX`` records at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from events.slices import Slice
from projections.bus import RedisBus
from projections.engagement.children import Referrals
from projections.engagement.layout import ADDED_COLUMNS, COUNTS, ENGAGEMENT, TABLES, Limits
from projections.engagement.likes import Engagements
from projections.engagement.lists import Lists
from projections.engagement.redriven import Redriven
from projections.keys import Keys
from projections.positions import Effect, Positions
from projections.store import Store
from projections.unit import StoredUnit

NAME = "engagement"
TOPICS = frozenset({"engagements", "new-tweets", "redrive"})

RECORDS_MAX = 16_000
"""Records of ``engagements`` that are counted together, and so what one tweet can bring into one
script call: about 8 ms of Redis. The more there are, the more are about the same tweets: where
popularity falls as 1/rank, 16,000 cost half as much each as 2,000."""

CHILDREN_MAX = 4000
"""Records of ``new-tweets`` that are counted together; nearly each is about another tweet."""


class Engagement(StoredUnit):
    """The writing side; see :mod:`projections.engagement.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables = TABLES
    added_columns = ADDED_COLUMNS
    kinds = frozenset({COUNTS})

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        limits: Limits | None = None,
        lists: Lists | None = None,
    ) -> None:
        positions = Positions(bus, store, keys, commit=(ENGAGEMENT, "murmur_engagement_commit"))
        super().__init__(bus, store, keys, positions)
        self._redriven = Redriven(store, keys)
        self._engagements = Engagements(
            bus,
            store,
            keys,
            positions,
            limits or Limits(),
            lists or Lists(store),
            self._redriven,
        )
        self._referrals = Referrals(store, keys, self._redriven)

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; its counts and lists are readable when this returns."""
        if piece.origin is not None:
            await self._positions.commit(piece, by_bucket(await self._redriven.apply(piece)))
            return
        likes = piece.topic == "engagements"
        handler, most = (
            (self._engagements, RECORDS_MAX) if likes else (self._referrals, CHILDREN_MAX)
        )
        effects: list[tuple[int, Effect]] = []
        for begin in range(0, len(piece.records), most):
            part = piece.records[begin : begin + most]
            effects += await handler.apply(piece.source, part)
        await self._positions.commit(piece, by_bucket(effects))


def by_bucket(effects: Iterable[tuple[int, Effect]]) -> dict[int, list[Effect]]:
    """Returns effects by the bucket that they are on."""
    found: dict[int, list[Effect]] = {}
    for bucket, effect in effects:
        found.setdefault(bucket, []).append(effect)
    return found
