"""The trends unit's writing side: a slice of ``new-tweets`` becomes uses of terms.

1. What each post says (:mod:`projections.trends.terms`), if the log got it in time.
2. Write the uses, and which slots hold any, at QUORUM.
3. *Then* the log's time that is reached in this partition: whoever reads it finds all below.
4. Move the position.

Exactly-once effect: natural. A use is a row with a key of its own (slot, term, author, tweet), the
first of two posts of an id wins by the write timestamp, and nothing is ever counted up. An author's
tweets are in one partition, those of others in others; they meet as rows of a slot and shard, and
are counted when they are read (:mod:`projections.trends.leader`). So a slice may be applied twice,
cut differently, late, or beside a redrive.

No clock but the log's is looked at: a replay finds the uses of then.

Bounded by: ``RECORDS_MAX`` posts in memory at once; ``SLOTS_REMEMBERED_MAX``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from events.slices import Record, Slice
from events.types import TweetPosted
from projections import versions
from projections.bus import RedisBus
from projections.keys import Keys
from projections.store import Store
from projections.trends.layout import (
    CACHE,
    DAY_MS,
    OWN_SECONDS,
    STARTS,
    TABLES,
    USES_SECONDS,
    Shape,
    shard_of,
)
from projections.trends.terms import said
from projections.unit import StoredUnit

NAME = "trends"
TOPICS = frozenset({"new-tweets", "redrive"})

RECORDS_MAX = 1000
"""Records whose rows are built before they are written: some 8 rows a post."""

SLOTS_REMEMBERED_MAX = 10_000
"""Rows of ``trend_slots`` that this worker has written and need not write again."""

Row = tuple[str, Sequence[Any]]

_USE = (
    "INSERT INTO {trend_uses} (scope, slot, shard, term, author_id, tweet_id, print, tags, written,"
    " woeid, country) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    f"USING TIMESTAMP ? AND TTL {USES_SECONDS}"
)
_USE_OF = (
    "INSERT INTO {trend_uses_of} (author_id, slot, term, tweet_id, written) VALUES (?, ?, ?, ?, ?) "
    f"USING TIMESTAMP ? AND TTL {OWN_SECONDS}"
)
_SLOT = "INSERT INTO {trend_slots} (scope, day, slot) VALUES (?, ?, ?) USING TIMESTAMP ?"
_CLOCK = (
    "INSERT INTO {trend_clocks} (scope, source, appended_at) VALUES (?, ?, ?) USING TIMESTAMP ?"
)
_WRITTEN_AT = 1
"""Timestamp of rows that are the same whoever writes them."""

NOWHERE = 0
"""In place of the place that a tweet does not name: a null would be a tombstone."""


class Trends(StoredUnit):
    """The writing side; see :mod:`projections.trends.read` for the reading side.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        shape: How time is cut.

    Attributes:
        late: Posts that counted nothing because the log got them too long after they were posted.
        early: And those that were posted in the log's future.
    """

    name = NAME
    topics = TOPICS
    tables: ClassVar[Mapping[str, str]] = TABLES
    kinds = frozenset({CACHE, STARTS})

    def __init__(self, bus: RedisBus, store: Store, keys: Keys, shape: Shape | None = None) -> None:
        super().__init__(bus, store, keys)
        self._shape = shape or Shape()
        self._slots: dict[int, None] = {}
        self.late = 0
        self.early = 0

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; its uses are there when this returns."""
        for begin in range(0, len(piece.records), RECORDS_MAX):
            records = piece.records[begin : begin + RECORDS_MAX]
            in_time = self._in_time(records)
            scope, shape = self._keys.unit, self._shape
            rows = [row for record in in_time for row in use_rows(record, scope, shape)]  # 1
            slots = dict.fromkeys(values[1] for cql, values in rows if cql == _USE)
            new = [slot for slot in slots if slot not in self._slots]
            rows += (slot_row(scope, slot, shape) for slot in new)
            if rows:
                await self._store.write(rows)  # 2
            if len(self._slots) + len(new) > SLOTS_REMEMBERED_MAX:
                self._slots.clear()
            self._slots.update(dict.fromkeys(new))
        if piece.origin is None and piece.records:
            reached = (piece.source, piece.records[-1].appended_at)
            at = versions.latest(piece.end)
            await self._store.execute(_CLOCK, (self._keys.unit, *reached, at))  # 3
        await self._positions.commit(piece, {})  # 4

    def _in_time(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            event = record.event
            if not isinstance(event, TweetPosted) or event.retweet_of_id is not None:
                continue
            if self._shape.in_time(event.created_at, record.appended_at):
                yield record
            elif event.created_at > record.appended_at:
                self.early += 1
            else:
                self.late += 1


def use_rows(record: Record, scope: str, shape: Shape) -> Iterator[Row]:
    """Yields the rows of what a post uses."""
    post = record.event
    assert isinstance(post, TweetPosted)
    says = said(post.text, post.lang)
    slot, at = shape.slot(post.created_at), versions.first(record.offset)
    place = post.place
    woeid = place.woeid if place is not None else NOWHERE
    country = (place.country_woeid or NOWHERE) if place is not None else NOWHERE
    for text, written in says.terms:
        about = (says.print, says.tags, written, woeid, country)
        key = (scope, slot, shard_of(text), text, post.user_id, post.tweet_id)
        yield _USE, (*key, *about, at)
        yield _USE_OF, (post.user_id, slot, text, post.tweet_id, written, at)


def slot_row(scope: str, slot: int, shape: Shape) -> Row:
    """Returns the row that says that a slot holds something."""
    return _SLOT, (scope, slot * shape.slot_ms // DAY_MS, slot, _WRITTEN_AT)
