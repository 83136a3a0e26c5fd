"""Whom an author's tweets are pushed to, as the worker sees it: a list, or chunks of one.

Up to ``popular_threshold`` followers are one cached list. Above it an author is large: his
followers are cut into chunks (:mod:`.chunks`), each tweet becomes one durable event per chunk on
the topic ``fan-out``, and whoever applies those delivers (:mod:`.fan_out`). So a large fan-out
survives a crash where it is, and never stands in front of a small one.

An account is found to be large when it tweets, and stays so: with chunks even a few followers cost
little more than a list.

Bounded by: ``popular_threshold`` rows read for a list, ``CHUNK_FOLLOWERS_MAX`` ids in a chunk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from events.types import BackfillChunk, Event, FanOutChunk, TweetPosted
from projections.bus import RedisBus
from projections.cache import Cache
from projections.keys import Keys
from projections.store import Store
from projections.timelines.chunks import END, Chunks
from projections.timelines.layout import FOLLOWERS, Followers, in_force

Chunk = TypeVar("Chunk", bound=FanOutChunk | BackfillChunk)


class ChunkLog(Protocol):
    """Where chunks are appended, for good when the call returns."""

    async def append(self, chunks: Sequence[Event]) -> None:
        """Appends chunks in order.

        Raises:
            RetryableError: some may not be in the log; append all of them again.
        """
        ...

    async def close(self) -> None:
        """Releases what appending took."""
        ...


class Audience:
    """Reads followers for fan-outs."""

    def __init__(
        self, bus: RedisBus, store: Store, keys: Keys, chunks: Chunks, popular_threshold: int
    ) -> None:
        self._store = store
        self._chunks = chunks
        self._threshold = popular_threshold
        self._followers = Cache(bus, keys, FOLLOWERS, self._load)

    async def of(self, authors: Iterable[int]) -> dict[int, Followers]:
        """Returns the followers of authors; those who are large have chunks instead of a list."""
        packed = await self._followers.get(authors)
        return {author: Followers.unpack(data) for author, data in packed.items()}

    async def plan(self, tweets: Sequence[TweetPosted]) -> list[FanOutChunk]:
        """Returns the chunks that deliver tweets of large authors; the same ones each time."""
        cuts = await self._chunks.cuts({tweet.user_id for tweet in tweets})
        return [
            fan_out_chunk(tweet.user_id, tweet.tweet_id, tweet.occurred_at, first, end)
            for tweet in tweets
            for first, end in cuts[tweet.user_id].ranges()
        ]

    async def _load(self, authors: Sequence[int]) -> dict[int, bytes]:
        cuts = await self._chunks.cuts(authors)
        small = [author for author in authors if not cuts[author].active]
        # Who unfollowed or was blocked still has a row: as many again are read before it is said
        # that there are too many.
        rows_max = 2 * self._threshold
        found = await self._store.execute_many(
            "SELECT follower_id, follow_id, last_block_id FROM {graph_in} "
            "WHERE user_id = ? LIMIT ?",
            [(author, rows_max) for author in small],
        )
        loaded = {author: Followers(None).pack() for author in authors if cuts[author].active}
        for author, rows in zip(small, found, strict=True):
            ids = array("q", [other for other, follow, block in rows if in_force(follow, block)])
            if len(ids) >= self._threshold or len(rows) == rows_max:
                await self._chunks.enlarge(author)
                loaded[author] = Followers(None).pack()
            else:
                loaded[author] = Followers(ids).pack()
        return loaded


def fan_out_chunk(
    author_id: int, tweet_id: int, occurred_at: int, first: int, end: int
) -> FanOutChunk:
    """Returns the event that delivers a tweet to the followers from ``first`` up to ``end``.

    It is a pure function of what it is derived from, its id among it, so that planning a fan-out
    again says the same.
    """
    return FanOutChunk(
        event_id=tweet_id,
        occurred_at=occurred_at,
        tweet_id=tweet_id,
        author_id=author_id,
        first_follower_id=first,
        last_follower_id=_last(end),
    )


def backfill_chunk(
    author_id: int, event_id: int, now_ms: int, first: int, end: int
) -> BackfillChunk:
    """Returns the event that backfills an author's recent tweets into a range of followers."""
    return BackfillChunk(
        event_id=event_id,
        occurred_at=now_ms,
        author_id=author_id,
        first_follower_id=first,
        last_follower_id=_last(end),
    )


def part_of(chunk: Chunk, first: int, end: int) -> Chunk:
    """Returns the event of a chunk for the followers from ``first`` up to ``end``."""
    return replace(chunk, first_follower_id=first, last_follower_id=_last(end))


def end_of(chunk: FanOutChunk | BackfillChunk) -> int:
    """Returns the id after the last of a chunk's range."""
    return END if chunk.last_follower_id is None else chunk.last_follower_id + 1


def _last(end: int) -> int | None:
    return None if end >= END else end - 1
