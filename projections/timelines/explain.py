"""Why an entry is in a home timeline, told from what is kept anyway (decision 0060).

- How a reading came to it: from the cached timeline, a celebrity's, or the store. Of the cached
  timeline the marker tells what it was filled with from what was added since.
- ``graph_out.follow_id``: the follow in force. What was added and is older came by its backfill.
- The timestamp of ``author_tweets.reply_to_user_id``: the offset of the tweet's event.

Bounded by: two queries per author on the page; nothing is read unless somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from projections.store import Store
from projections.timelines import marked
from projections.timelines.marked import Window
from projections.versions import offset_of

Why = Literal["own", "pushed", "backfilled", "rebuilt", "pulled", "store"]
"""How an entry came:

- ``own``: the reader posted it;
- ``pushed``: by a fan-out into the cached timeline;
- ``backfilled``: into the cached timeline by the follow in force, which is newer;
- ``rebuilt``: from the store, when the cached timeline was filled;
- ``pulled``: from the cached timeline of a celebrity, when this page was read;
- ``store``: from its author's timeline, when this page was read, below what is cached.
"""


class Reason(msgspec.Struct, frozen=True):
    """Why one entry is there.

    Attributes:
        tweet_id: The entry.
        author_id: Who posted it.
        why: How it came.
        follow_id: Event of the follow in force; 0 for the reader's own.
        offset: Of the tweet's event in its partition; None when the store lacks it.
    """

    tweet_id: int
    author_id: int
    why: Why
    follow_id: int
    offset: int | None


def ways(ids: Iterable[int], home: Window) -> dict[int, Why]:
    """Returns how a reading of the cached timelines came to ids; ``home`` is the reader's own."""
    pushed = set(home.ids)
    filled = pushed if home.value is None else marked.filled(home.value)
    return {i: ("rebuilt" if i in filled else "pushed") if i in pushed else "pulled" for i in ids}


class Reasons:
    """Explains entries from the facts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(
        self, user_id: int, entries: Sequence[tuple[int, int]], came: Mapping[int, Why]
    ) -> list[Reason]:
        """Returns why (tweet id, author) are in a user's timeline, in their order.

        Raises:
            RetryableError: the store is away.
        """
        by_author: dict[int, list[int]] = {}
        for tweet_id, author in entries:
            by_author.setdefault(author, []).append(tweet_id)
        others = [author for author in by_author if author != user_id]
        posts, follows = await asyncio.gather(
            self._store.execute_many(
                "SELECT tweet_id, WRITETIME(reply_to_user_id) FROM {author_tweets} "
                "WHERE author_id = ? AND tweet_id IN ?",
                list(by_author.items()),
            ),
            self._store.execute_many(
                "SELECT other_id, follow_id FROM {graph_out} WHERE user_id = ? AND other_id = ?",
                [(user_id, author) for author in others],
            ),
        )
        written = {tweet_id: at for rows in posts for tweet_id, at in rows if at is not None}
        followed = {author: follow_id or 0 for rows in follows for author, follow_id in rows}
        return [
            Reason(
                tweet_id,
                author,
                _why(tweet_id, author == user_id, came.get(tweet_id, "store"), follow),
                follow,
                offset_of(written[tweet_id]) if tweet_id in written else None,
            )
            for tweet_id, author in entries
            for follow in (followed.get(author, 0),)
        ]


def _why(tweet_id: int, own: bool, came: Why, follow_id: int) -> Why:
    if own:
        return "own"
    if came == "pushed" and tweet_id < follow_id:
        return "backfilled"
    return came
