"""Large fan-outs: the chunks of the topic ``fan-out``, each a range of an author's followers.

A consumer group of its own over the state of the timelines unit, so that no chunk ever stands in
front of a small fan-out: the group's processes share the machines with the others', not their
queue. A slice is a few chunks; a crash repeats those and goes on.

For one slice:

1. leave out the tweets that were deleted in the meantime, and those of authors who have become
   celebrities: readers pull them, and a demotion backfills them; all of them while everybody's
   tweets are pulled, for the cached timelines are of an epoch that has ended (:mod:`.tiers`);
2. read the followers of the ranges, chunk by chunk; a chunk that has grown is cut, and its events
   are appended anew, one for each part;
3. add the tweets to the followers' home timelines, one operation a bucket, or backfill an author's
   recent ones;
4. move the position.

A follower's timeline that is not there is not made: he was not seen for long, and finds it rebuilt
when he returns (:mod:`.unit` keeps the timelines of those who are seen).

Exactly-once effect: natural; every push adds a member to a set. Whoever follows after a chunk was
delivered was found by the backfill of his follow, for the tweet entered its author's timeline
before any chunk was made.

Bounded by: ``SLICE_CHUNKS_MAX`` chunks of ``CHUNK_FOLLOWERS_MAX`` followers a slice,
``BACKFILL_TWEETS`` tweets of a backfill.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable, Sequence

from events.slices import Record, Slice
from events.types import BackfillChunk, Event, FanOutChunk
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import Effect
from projections.store import Store
from projections.timelines import marked
from projections.timelines.audience import ChunkLog, end_of, part_of
from projections.timelines.authors import NEWEST, Authors
from projections.timelines.chunks import Chunks
from projections.timelines.layout import HOME, KINDS, TABLES, pack_ids
from projections.timelines.tiers import Tiers
from projections.unit import StoredUnit

NAME = "fan-out"
TOPICS = frozenset({"fan-out", "redrive"})

SLICE_CHUNKS_MAX = 8
"""Chunks in one slice: what a crash repeats, and what is in memory at once."""

BACKFILL_TWEETS = 200
"""Tweets of one author that a backfill adds; a timeline that reaches further is begun again."""

Range = tuple[int, int, int]
"""Author, first id, id after the last."""


class FanOut(StoredUnit):
    """Delivers chunks.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        timelines: Those of the timelines unit.
        chunk_log: Where the parts of a chunk are appended that has grown.
        timeline_length: Entries per timeline.
        generation: Whose chunks are delivered; None for the first. Others' are passed over: each
            generation cuts its own.
    """

    name = NAME
    topics = TOPICS
    tables = TABLES
    kinds = KINDS

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        timelines: Keys,
        chunk_log: ChunkLog,
        timeline_length: int,
        generation: str | None = None,
    ) -> None:
        super().__init__(bus, store, keys)
        self._generation = generation
        self._length = timeline_length
        self._authors = Authors(store)
        self._chunks = Chunks(bus, store, timelines)
        self._tiers = Tiers(bus, store, timelines)
        self._log = chunk_log
        self.deliveries = 0
        """Entries added to cached timelines since the worker started."""

    async def close(self) -> None:
        """Closes the log of chunks."""
        await self._log.close()

    async def apply(self, piece: Slice) -> None:
        """Applies a slice of chunks."""
        tiers = await self._tiers.view()  # 1
        if tiers.pull_only:
            await self._positions.commit(piece, {})
            return
        records = [record for record in piece.records if self._is_ours(record)]
        pushed, backfilled = _by_range(records, tiers.unpushed)
        tweets = await self._living(pushed)
        found = await self._chunks.followers([*tweets, *backfilled])  # 2
        grown = [wanted for wanted, ids in found.items() if ids is None]
        if grown:
            await self._cut(grown, records)
        effects: dict[int, list[Effect]] = {}
        for wanted, ids in tweets.items():  # 3
            for bucket, keys in self._homes(found[wanted]).items():
                effects.setdefault(bucket, []).extend(marked.shared(self._length, keys, ids))
        await self._backfill(backfilled, found, effects)
        added = await self._positions.commit(piece, effects)  # 4
        self.deliveries += added  # only now: slices of other partitions are under way

    def _is_ours(self, record: Record) -> bool:
        return getattr(record.event, "generation", None) == self._generation

    async def _living(self, pushed: dict[Range, list[int]]) -> dict[Range, bytes]:
        """Returns the packed ids of the tweets that stand, by range."""
        by_author: dict[int, set[int]] = {}
        for (author, _, _), tweets in pushed.items():
            by_author.setdefault(author, set()).update(tweets)
        gone = await asyncio.gather(*(self._authors.deleted(*one) for one in by_author.items()))
        dead = set().union(*gone)
        living = {
            wanted: [tweet for tweet in tweets if tweet not in dead]
            for wanted, tweets in pushed.items()
        }
        return {wanted: pack_ids(tweets) for wanted, tweets in living.items() if tweets}

    async def _cut(self, grown: Sequence[Range], records: Sequence[Record]) -> None:
        """Cuts chunks that have grown and appends their events anew, for each part."""
        parts = {wanted: await self._chunks.cut(*wanted) for wanted in grown}
        again: list[Event] = [
            part_of(record.event, *part)
            for record in records
            if isinstance(record.event, FanOutChunk | BackfillChunk)
            for part in parts.get(_range(record.event), ())
        ]
        await self._log.append(again)

    def _homes(self, followers: array[int] | None) -> dict[int, list[bytes]]:
        """Returns the home timelines' keys of followers, by bucket."""
        return self._keys.by_bucket(HOME, followers or ())

    async def _backfill(
        self,
        ranges: Sequence[Range],
        found: dict[Range, array[int] | None],
        effects: dict[int, list[Effect]],
    ) -> None:
        authors = list(dict.fromkeys(author for author, _, _ in ranges))
        pages = await asyncio.gather(
            *(self._authors.page(author, NEWEST, BACKFILL_TWEETS) for author in authors)
        )
        recent = dict(zip(authors, pages, strict=True))
        for wanted in ranges:
            page = recent[wanted[0]]
            ids = [entry.tweet_id for entry in reversed(page.entries)]  # trimming drops the first
            for bucket, keys in self._homes(found[wanted]).items():
                effects.setdefault(bucket, []).extend(marked.backfilled(keys, page.floor, ids))


def _by_range(
    records: Iterable[Record], unpushed: frozenset[int]
) -> tuple[dict[Range, list[int]], list[Range]]:
    """Returns the tweets to push by range, and the ranges to backfill."""
    pushed: dict[Range, list[int]] = {}
    backfilled: dict[Range, None] = {}
    for record in records:
        chunk = record.event
        if not isinstance(chunk, FanOutChunk | BackfillChunk) or chunk.author_id in unpushed:
            continue
        if isinstance(chunk, FanOutChunk):
            pushed.setdefault(_range(chunk), []).append(chunk.tweet_id)
        else:
            backfilled[_range(chunk)] = None
    return pushed, list(backfilled)


def _range(chunk: FanOutChunk | BackfillChunk) -> Range:
    return chunk.author_id, chunk.first_follower_id, end_of(chunk)
