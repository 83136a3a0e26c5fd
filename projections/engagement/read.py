"""The engagement unit's reading side: counts by tweet, and who and what is behind them.

Counts come from the cache, filled from the registers under a lease; lists from the store, newest
first. A list's row counts only while the membership names it, so a page reads on past those that
were taken back.

Bounded by: ``IDS_PER_QUERY`` partitions a query, and the bounds of :mod:`projections.listing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from projections.bus import RedisBus
from projections.cache import Cache, unpacked
from projections.engagement.layout import (
    COUNTS,
    ENGAGEMENT,
    IDS_PER_QUERY,
    MARK,
    TTL_MS,
    Counts,
    pack,
)
from projections.engagement.likes import TALLIES
from projections.engagement.redriven import LIKE_COLUMNS, Redriven, like_of
from projections.keys import Keys
from projections.listing import NEWEST, Entry, Page, read_page
from projections.store import Row, Store


class EngagementReader:
    """What the gateway reads of the engagement unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
    """

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._store = store
        self._redriven = Redriven(store, keys)
        self._cache = Cache(
            bus,
            keys,
            COUNTS,
            self._load,
            ttl_seconds=TTL_MS // 1000,
            fill=(ENGAGEMENT, "murmur_engagement_fill"),
        )

    async def counts(self, ids: Iterable[int]) -> dict[int, Counts]:
        """Returns the counts of tweets, of every id asked for; zeros where nobody touched it.

        Raises:
            RetryableError: Redis or the store is away.
        """
        return await unpacked(self._cache.get(ids), Counts.unpack)

    @property
    def cache(self) -> Cache:
        """Packed counts by tweet id, to be read beside another unit's entries."""
        return self._cache

    async def liked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        """Returns which of the tweets the user likes; from the store itself."""
        likes = await self._likes(user_id, tweet_ids)
        return {tweet_id for tweet_id, event_id in likes.items() if event_id}

    async def liked_by(self, tweet_id: int, below: int = NEWEST, limit: int = 20) -> Page:
        """Returns the users who like a tweet, the newest like first."""

        async def read(under: int, wanted: int) -> list[Row]:
            return await self._store.execute(
                "SELECT event_id, user_id FROM {liked_by} WHERE tweet_id = ? AND event_id < ? "
                "LIMIT ?",
                (tweet_id, under, wanted),
            )

        async def standing(rows: Sequence[Row]) -> list[Entry]:
            users = list({user_id for _, user_id in rows})
            found = await self._store.execute(
                "SELECT user_id, "
                + LIKE_COLUMNS
                + " FROM {likes} WHERE tweet_id = ? AND user_id IN ?",
                (tweet_id, users),
            )
            likes = {user: like_of(*columns) for user, *columns in found}
            return [Entry(e, user, tweet_id) for e, user in rows if likes.get(user) == e]

        return await read_page(read, standing, below, limit)

    async def likes_of(self, user_id: int, below: int = NEWEST, limit: int = 20) -> Page:
        """Returns the tweets that a user likes, the newest like first."""

        async def read(under: int, wanted: int) -> list[Row]:
            return await self._store.execute(
                "SELECT event_id, tweet_id FROM {likes_of} WHERE user_id = ? AND event_id < ? "
                "LIMIT ?",
                (user_id, under, wanted),
            )

        async def standing(rows: Sequence[Row]) -> list[Entry]:
            likes = await self._likes(user_id, [tweet_id for _, tweet_id in rows])
            return [Entry(e, user_id, tweet) for e, tweet in rows if likes.get(tweet) == e]

        return await read_page(read, standing, below, limit)

    async def children(
        self, tweet_id: int, kind: str, below: int = NEWEST, limit: int = 20
    ) -> Page:
        """Returns the replies, retweets or quotes of a tweet, newest first.

        Args:
            tweet_id: The parent.
            kind: One of ``KINDS``.
            below: Ids under this one.
            limit: Entries at most.
        """

        async def read(under: int, wanted: int) -> list[Row]:
            return await self._store.execute(
                "SELECT tweet_id, author_id, deleted FROM {children} "
                "WHERE parent_id = ? AND kind = ? AND tweet_id < ? LIMIT ?",
                (tweet_id, kind, under, wanted),
            )

        async def standing(rows: Sequence[Row]) -> list[Entry]:
            return [Entry(child, author, child) for child, author, deleted in rows if not deleted]

        return await read_page(read, standing, below, limit)

    async def _likes(self, user_id: int, tweet_ids: Iterable[int]) -> dict[int, int]:
        """Returns the event of a user's like by tweet, 0 once taken back."""
        rows = await self._store.execute_in(
            "SELECT tweet_id, " + LIKE_COLUMNS + " FROM {likes} WHERE tweet_id IN ? "
            "AND user_id = ?",
            list(dict.fromkeys(tweet_ids)),
            user_id,
            per_query=IDS_PER_QUERY,
        )
        return {tweet: like_of(*columns) for tweet, *columns in rows}

    async def _load(self, ids: Sequence[int]) -> dict[int, bytes]:
        by_tweet: dict[int, list[Row]] = {tweet_id: [] for tweet_id in ids}
        rows = await self._store.execute_in(TALLIES, ids, per_query=IDS_PER_QUERY)
        for tweet_id, *row in rows:
            by_tweet[tweet_id].append(tuple(row))
        marked = [t for t, found in by_tweet.items() if any(row[0] == MARK for row in found)]
        adjusted = await self._redriven.adjustments(marked) if marked else {}
        return {t: pack(found, adjusted.get(t)) for t, found in by_tweet.items()}
