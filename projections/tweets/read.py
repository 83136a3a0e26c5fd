"""The tweets unit's reading side: fragments by id, from the cache, filled from the store.

Bounded by: ``store.IDS_PER_QUERY_MAX`` ids in one query of the store; callers bound their pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from projections.bus import RedisBus
from projections.cache import Cache, unpacked
from projections.keys import Keys
from projections.store import Row, Store
from projections.tweets.layout import READ, TWEET, TweetFragment, standing


class TweetsReader:
    """What the gateway reads of the tweets unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
    """

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._store = store
        self._cache = Cache(bus, keys, TWEET, self._load)

    async def get(self, ids: Iterable[int]) -> dict[int, TweetFragment]:
        """Returns the tweets that exist; one that is unknown or deleted has no entry.

        Raises:
            PartlyRead: what is not cached could not be loaded.
            RetryableError: Redis is away.
        """
        return await unpacked(self._cache.get(ids), TweetFragment.unpack)

    @property
    def cache(self) -> Cache:
        """Packed fragments by tweet id, to be read beside another unit's entries."""
        return self._cache

    async def author_of(self, ids: Iterable[int]) -> dict[int, int]:
        """Returns who posted each tweet id, deleted ones included; from the store itself.

        An id once used stays its author's, so that an import cannot take it over.
        """
        rows = await self._rows(list(dict.fromkeys(ids)))
        found: dict[int, int] = {}
        for tweet_id, author_id, _ in sorted(rows, key=lambda row: not row[2]):  # standing first
            found.setdefault(tweet_id, author_id)
        return found

    async def _load(self, ids: Sequence[int]) -> dict[int, bytes]:
        return standing(await self._rows(ids))

    async def _rows(self, ids: Sequence[int]) -> list[Row]:
        return await self._store.execute_in(READ, ids)
