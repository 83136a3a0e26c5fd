"""The engagement unit's reading side for conversations: what answers what, deleted or not.

A deleted tweet keeps its place here: its row among its parent's children, and what it answered, so
that those who answered it are still found above and below.

Bounded by: ``IDS_PER_QUERY`` partitions a query, and ``limit`` replies of each tweet.
"""

from __future__ import annotations

from collections.abc import Sequence

from projections.engagement.layout import IDS_PER_QUERY, REPLY
from projections.engagement.redriven import first_of
from projections.store import Store

_REPLIES = (
    "SELECT parent_id, tweet_id FROM {children} WHERE parent_id IN ? AND kind = ? AND tweet_id < ? "
    "PER PARTITION LIMIT ?"
)
_ANSWERED = (
    "SELECT tweet_id, reply_to_id, writetime(reply_to_id), redriven_reply_to_id, "
    "writetime(redriven_reply_to_id) FROM {referrals} WHERE tweet_id IN ?"
)


class ThreadsReader:
    """What the gateway reads of conversations.

    Args:
        store: The generation's tables.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def replies(
        self, tweet_ids: Sequence[int], below: int, limit: int
    ) -> dict[int, list[int]]:
        """Returns up to ``limit`` replies under ``below`` of each tweet that has any, newest first.

        Raises:
            RetryableError: the store is away.
        """
        found: dict[int, dict[int, None]] = {}
        rows = await self._store.execute_in(
            _REPLIES, tweet_ids, REPLY, below, limit, per_query=IDS_PER_QUERY
        )
        for parent, tweet_id in rows:
            found.setdefault(parent, {})[tweet_id] = None  # two authors may have posted one id
        return {parent: list(replies) for parent, replies in found.items()}

    async def answered(self, tweet_ids: Sequence[int]) -> dict[int, int]:
        """Returns which tweet each of the tweets answered, where it answered one."""
        rows = await self._store.execute_in(_ANSWERED, tweet_ids, per_query=IDS_PER_QUERY)
        answered = ((tweet_id, first_of(*columns)) for tweet_id, *columns in rows)
        return {tweet_id: reply_to for tweet_id, reply_to in answered if reply_to}
