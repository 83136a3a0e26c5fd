"""The search unit's writing side: ``new-tweets`` become postings, ``users`` become names to find.

Of a slice of ``new-tweets``:

1. Analyse each post (:func:`projections.search.layout.document`).
2. Put posts into the real-time tier and take deleted ones out, and move the buckets' positions, in
   one script a bucket; the buckets are the shards of the tier, by tweet id. A tweet is found from
   here on, and waits for nothing of the store.
3. Write documents and postings at QUORUM, in grouped batches; a term's first of a span to
   ``rare_postings``, the others by span.
4. Write the store's position, where whoever resumes begins: what was shown (2) and is not durable
   is read again, and the buckets know it.

Exactly-once effect: natural in the store, where every cell is an upsert on a natural key whose
timestamp follows from its record's offset. In Redis by the rules of ``index.lua``: a tweet is
there once, the first of two posts of an id counts, and a deletion leaves a mark, whichever came
first. So a slice may be applied twice, cut differently, or late by a worker that lost its
partition.

A bucket that has no index gets one from ``resume``, whole above all ids that were applied before
(``highest``): from the first id upwards in a new generation; else Redis has lost what was there.

Bounded by: ``RECORDS_MAX`` posts in memory at once; ``TERMS_COUNTED_MAX``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from events.slices import Record, Slice
from events.types import TweetDeleted, TweetPosted
from projections import versions
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import Effect, Positions
from projections.search import people
from projections.search.layout import (
    FEW,
    INDEX,
    SCRIPTS,
    SPAN_BITS,
    TABLES,
    VERSION,
    Document,
    Window,
    author_mark,
    document,
    index_key,
    packed_facts,
    packed_id,
    packed_terms,
)
from projections.store import Store, id_timestamp
from projections.unit import StoredUnit

NAME = "search"
TOPICS = frozenset({"new-tweets", "users", "redrive"})

RECORDS_MAX = 1000
"""Records whose rows are built before they are written: some 12 rows a post."""

TERMS_COUNTED_MAX = 200_000
"""Terms and spans of which this worker knows how many postings it has written. What it forgets is
counted anew: some rows more in ``rare_postings``."""

Row = tuple[str, Sequence[Any]]

_POSTED = (
    "INSERT INTO {documents} (tweet_id, author_id, posted_at, language, flags) "
    "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_DELETED = (
    "INSERT INTO {documents} (tweet_id, author_id, deleted) VALUES (?, ?, true) USING TIMESTAMP ?"
)
_POSTING = (
    "INSERT INTO {postings} (term, span, tweet_id, author_id, posted_at, places) "
    "VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_RARE = (
    "INSERT INTO {rare_postings} (term, tweet_id, author_id, posted_at, places) "
    "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_HIGHEST = "INSERT INTO {highest} (source, tweet_id) VALUES (?, ?) USING TIMESTAMP ?"
_SPAN = "INSERT INTO {posting_spans} (term, span) VALUES (?, ?) USING TIMESTAMP ?"
_OPEN = SCRIPTS.name("murmur_search_open")
_WRITTEN_AT = 1
"""Timestamp of rows that are the same whoever writes them."""


class Search(StoredUnit):
    """The writing side; see :mod:`projections.search.read` for the reading side.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        window: Bounds of the real-time tier.
        span_bits: Of a partition of postings.
        few: Postings of a term in a span before it has rows by span.
    """

    name = NAME
    topics = TOPICS
    tables: ClassVar[Mapping[str, str]] = {**TABLES, **people.TABLES}
    kinds = frozenset({INDEX})

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        window: Window | None = None,
        span_bits: int = SPAN_BITS,
        few: int = FEW,
    ) -> None:
        positions = Positions(bus, store, keys, commit=(SCRIPTS, "murmur_search_commit"))
        super().__init__(bus, store, keys, positions)
        self._window = window or Window()
        self._bits = span_bits
        self._few = few
        self._begun = False
        self._counted: dict[tuple[str, int], int] = {}

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        """Returns the next offset to read; makes the index of each bucket that has none."""
        start = await self._positions.resume(topic, partition, topic_id)
        highest = await self._store.execute("SELECT tweet_id FROM {highest}")
        floor = max((tweet_id + 1 for (tweet_id,) in highest), default=0)
        await self._bus.calls_strict(
            [("FCALL", _OPEN, 1, index_key(self._keys, b), packed_id(floor)) for b in self._buckets]
        )
        self._begun = True
        return start

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; the tweets in it are found by both tiers when this returns."""
        for part in _parts(piece):
            documents = [
                document(record.event, record.offset)
                for record in part.records
                if isinstance(record.event, TweetPosted)
            ]  # 1
            await self._positions.show(part, self._effects(documents, part.records))  # 2
            await self._archive(part.source, documents, part.records)  # 3
        await self._positions.settle(piece)  # 4

    @property
    def _buckets(self) -> range:
        return range(self._keys.buckets)

    async def _archive(
        self, source: str, documents: Sequence[Document], records: Iterable[Record]
    ) -> None:
        rows: list[Row] = []
        if documents:
            highest = max(one.tweet_id for one in documents)
            rows.append((_HIGHEST, (source, highest, id_timestamp(highest))))
        counted: dict[tuple[str, int], int] = {}
        for one in documents:
            rows += self._rows_of(one, counted)
        for record in records:
            event = record.event
            if isinstance(event, TweetDeleted):
                rows.append(deleted_row(event, record.offset))
            rows += people.rows_of(event)
        if rows:
            await self._store.write(rows)
        # Only now: whoever repeats the slice must write a span's row again.
        if len(self._counted) + len(counted) > TERMS_COUNTED_MAX:
            self._counted.clear()
        self._counted.update(counted)

    def _rows_of(self, one: Document, counted: dict[tuple[str, int], int]) -> Iterable[Row]:
        """Yields the rows of a post; ``counted`` are the postings of terms, these included."""
        yield document_row(one)
        span = one.tweet_id >> self._bits
        for term, found in places_of(one).items():
            key = (term, span)
            number = counted.get(key)
            if number is None:
                number = self._counted.get(key, 0)
            counted[key] = number + 1
            if number < self._few:
                yield rare_row(term, one, found)
                continue
            if number == self._few:
                yield span_row(*key)
            yield posting_row(*key, one, found)

    def _effects(
        self, documents: Iterable[Document], records: Iterable[Record]
    ) -> dict[int, list[Effect]]:
        """Returns what a script does: posts first, for a deletion holds whichever came first."""
        effects: dict[int, list[Effect]] = {}
        for one in documents:
            put = ("T", packed_id(one.tweet_id), author_mark(one.author_id))
            rest = (one.posted_at % VERSION, packed_facts(one), packed_terms(one.terms))
            self._add(effects, one.tweet_id, (*put, *rest))
        for record in records:
            event = record.event
            if isinstance(event, TweetDeleted):
                gone = ("X", packed_id(event.tweet_id), author_mark(event.user_id))
                self._add(effects, event.tweet_id, gone)
        return effects

    def _add(
        self, effects: dict[int, list[Effect]], tweet_id: int, operation: tuple[Any, ...]
    ) -> None:
        bucket = self._keys.bucket(tweet_id)
        window = self._window
        bounds = ("W", window.tweets, window.segments, window.span, int(self._begun))
        key = (index_key(self._keys, bucket),)
        # Each brings the bounds along: a bucket's effects may be cut into several calls anywhere.
        effects.setdefault(bucket, []).append((key, (*bounds, *operation)))


def _parts(piece: Slice) -> Iterator[Slice]:
    """Cuts a slice into slices of ``RECORDS_MAX`` records; the last ends where it does.

    One that was redriven, whose records have the offsets of another partition, has one record.
    """
    records, start = piece.records, piece.start
    while len(records) > RECORDS_MAX:
        end = records[RECORDS_MAX].offset
        yield replace(piece, start=start, end=end, records=records[:RECORDS_MAX])
        records, start = records[RECORDS_MAX:], end
    yield replace(piece, start=start, records=records)


def document_row(one: Document) -> Row:
    """Returns the row of a post."""
    cells = (one.tweet_id, one.author_id, one.posted_at, one.language, one.flags)
    return _POSTED, (*cells, versions.first(one.posted_at))


def deleted_row(event: TweetDeleted, offset: int) -> Row:
    """Returns the row of a deletion."""
    return _DELETED, (event.tweet_id, event.user_id, versions.latest(offset))


def places_of(one: Document) -> dict[str, bytes]:
    """Returns the places of each term of a post, as its posting has them."""
    places: dict[str, bytearray] = {}
    for term, place in one.terms:
        places.setdefault(term, bytearray()).append(place)
    return {term: bytes(found) for term, found in places.items()}


def rare_row(term: str, one: Document, places: bytes) -> Row:
    """Returns a posting, as one of the first of its term in a span."""
    return _RARE, (term, one.tweet_id, one.author_id, one.posted_at, places, _WRITTEN_AT)


def posting_row(term: str, span: int, one: Document, places: bytes) -> Row:
    """Returns a posting by span."""
    cells = (one.tweet_id, one.author_id, one.posted_at, places, _WRITTEN_AT)
    return _POSTING, (term, span, *cells)


def span_row(term: str, span: int) -> Row:
    """Returns the row that says that a term has postings in a span."""
    return _SPAN, (term, span, _WRITTEN_AT)
