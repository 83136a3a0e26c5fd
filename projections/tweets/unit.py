"""The tweets unit's writing side: a slice of ``new-tweets`` becomes rows by tweet id.

1. Build each post's fragment (entities, JSON) and what it comes to in the lists of those whom it
   speaks to (:mod:`.mentions`); empty each deleted one.
2. Write the rows at QUORUM, in grouped batches.
3. Forget the cached fragments and move the position, in one script per bucket.

Exactly-once effect: natural. Every cell is an upsert on (tweet, author) whose timestamp follows
from its record's offset (see :mod:`projections.tweets.layout`), so a slice may be applied twice,
cut differently, or late by a worker that lost its partition. The cache is only ever emptied here:
what a zombie forgets is loaded again, what it would put might be stale.

Bounded by: ``ROWS_MAX`` fragments in memory at once; the store's batch and in-flight limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from events.slices import Record, Slice
from events.types import TweetDeleted, TweetPosted
from projections import versions
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import forget
from projections.store import Store
from projections.text import entities
from projections.tweets import mentions
from projections.tweets.layout import DELETED, TABLES, TWEET, WRITE, pack
from projections.unit import StoredUnit

NAME = "tweets"
TOPICS = frozenset({"new-tweets", "redrive"})

ROWS_MAX = 2048
"""Rows built before they are written; a slice may hold more records than should be held twice."""

Row = tuple[str, tuple[int, int, bytes, int]] | mentions.Row


class Tweets(StoredUnit):
    """The writing side; see :mod:`projections.tweets.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables: ClassVar[Mapping[str, str]] = {**TABLES, **mentions.TABLES}
    kinds = frozenset({TWEET})

    def __init__(
        self, bus: RedisBus, store: Store, keys: Keys, *, span_bits: int = mentions.SPAN_BITS
    ) -> None:
        super().__init__(bus, store, keys)
        self._span_bits = span_bits

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; the tweets in it are readable when this returns."""
        for begin in range(0, len(piece.records), ROWS_MAX):
            records = piece.records[begin : begin + ROWS_MAX]
            rows = dict.fromkeys(rows_of(records, self._span_bits))  # 1; many spans are the same
            await self._store.write(list(rows))  # 2
        events = (record.event for record in piece.records)
        said = (event.tweet_id for event in events if isinstance(event, TweetPosted | TweetDeleted))
        stale = self._keys.by_bucket(TWEET, dict.fromkeys(said))
        effects = {bucket: [forget(key) for key in keys] for bucket, keys in stale.items()}
        await self._positions.commit(piece, effects)  # 3


def rows_of(records: Iterable[Record], span_bits: int = mentions.SPAN_BITS) -> Iterator[Row]:
    """Yields the statements and values of each record that says something of a tweet."""
    for record in records:
        event = record.event
        if isinstance(event, TweetPosted):
            at = versions.first(record.offset)
            parsed = entities.parse(event.text)
            yield WRITE, (event.tweet_id, event.user_id, pack(event, parsed), at)
            yield from mentions.rows(event, parsed, span_bits)
        elif isinstance(event, TweetDeleted):
            at = versions.latest(record.offset)
            yield WRITE, (event.tweet_id, event.user_id, DELETED, at)
