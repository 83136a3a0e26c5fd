"""Who likes a tweet and what a user likes: the durable memberships and lists of ``engagements``.

Written after the registers that count them (rule of order in :mod:`.tally`). Every row is an upsert
with the offset of its record as timestamp: repeated or late, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from events.types import TweetLiked
from projections.engagement.tally import Touched
from projections.store import Store
from projections.versions import latest

_MEMBER = "INSERT INTO {likes} (tweet_id, user_id, event_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
LIKED_BY = "INSERT INTO {liked_by} (tweet_id, event_id, user_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
LIKES_OF = "INSERT INTO {likes_of} (user_id, event_id, tweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?"


class Lists:
    """Writes memberships and lists."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, touched: dict[int, Touched]) -> None:
        """Writes what a slice says of each tweet and user.

        Raises:
            RetryableError: some of it may not be written; repeat the whole.
        """
        await self._store.write(list(rows_of(touched)))


def rows_of(touched: dict[int, Touched]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields the rows of memberships and lists.

    Those of one tweet together: rows of one partition key in one batch are one mutation to the
    store. Those of users last, since nearly each is in another partition.
    """
    for tweet_id, seen in touched.items():
        for user_id, record in seen.last.items():
            event, at = record.event, latest(record.offset)
            like_id = event.event_id if type(event) is TweetLiked else 0
            yield _MEMBER, (tweet_id, user_id, like_id, at)
            if like_id:
                yield LIKED_BY, (tweet_id, like_id, user_id, at)
    for tweet_id, seen in touched.items():
        for user_id, record in seen.last.items():
            if type(record.event) is TweetLiked:
                like_id = record.event.event_id
                yield LIKES_OF, (user_id, like_id, tweet_id, latest(record.offset))
