"""Records that come late, by a redrive: kept apart from what is counted in order, and added when
counts are read.

A register is a pure function of its partition's log, and each change that it counts follows from
the membership just before it (:mod:`.tally`). A redriven record has its place in the past of a
partition that another worker goes on counting, so it must not change what that worker counts from.
It is therefore a fact of its own, in columns and tables that the counting never reads:

- ``likes.redriven_id``: what redriven records say of a tweet and a user, the last offset's. Whether
  he likes the tweet is said by whichever of the two columns has the higher offset.
- ``referrals.redriven_…``: what a redriven post refers to, and whether a redriven deletion came. Of
  two posts the lower offset counts, as ever.
- ``redriven_likers``, ``redriven_children``: of which users and children of a tweet there is such.
- a register of views, of the partition of ``redrive``; and a row ``redriven`` among a tweet's
  registers, which says that there is something to add.

What is added (:class:`Adjustment`) is what these come to, less what was counted in order already.
It is worked out when the cache entry of a marked tweet is filled, and an entry that has it is never
changed in place: whoever would, forgets it (``engagement.lua``). So it is exact, whatever comes
when:

- of a tweet's own likes the counting worker learns from the mark, or from the entry;
- of a child's parents neither may know: a redriven post is unknown to the one who counts its
  deletion, and the other way round. Each writes its own fact and only then looks for the other's
  (:meth:`Redriven.mend`); ``redriven_sources`` keeps that look to one row where there is nothing.

Bounded by: one row for each redriven record, read for the tweets that have any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from events.slices import Record, Slice
from events.types import TweetLiked, TweetPosted, TweetUnliked, TweetViewed
from projections.engagement.layout import (
    COUNTS,
    IDS_PER_QUERY,
    KINDS,
    MARK,
    Adjustment,
    Children,
)
from projections.engagement.lists import LIKED_BY, LIKES_OF
from projections.engagement.tally import Child, child_of, parents_of
from projections.keys import Keys
from projections.positions import Effect
from projections.store import Row, Store
from projections.versions import final, first, latest

ALWAYS = 1
"""Write timestamp of rows that say one thing for ever."""

FORGET = 1 << 50
"""A position above every offset: an entry that lacks it is forgotten."""

_LIKE = "UPDATE {likes} USING TIMESTAMP ? SET redriven_id = ? WHERE tweet_id = ? AND user_id = ?"
_LIKER = "INSERT INTO {redriven_likers} (tweet_id, user_id) VALUES (?, ?) USING TIMESTAMP ?"
_LIKERS = "SELECT tweet_id, user_id FROM {redriven_likers} WHERE tweet_id IN ?"
LIKE_COLUMNS = "event_id, writetime(event_id), redriven_id, writetime(redriven_id)"
"""Columns of ``likes`` that :func:`like_of` takes."""
_LIKES = "SELECT user_id, " + LIKE_COLUMNS + " FROM {likes} WHERE tweet_id = ? AND user_id IN ?"
_VIEWS = "SELECT position, views FROM {tallies} WHERE tweet_id = ? AND source = ?"
_VIEWED = (
    "UPDATE {tallies} USING TIMESTAMP ? SET position = ?, views = ? "
    "WHERE tweet_id = ? AND source = ?"
)
_MARK = "INSERT INTO {tallies} (tweet_id, source, position) VALUES (?, ?, 0) USING TIMESTAMP ?"
_SOURCE = "INSERT INTO {redriven_sources} (source) VALUES (?) USING TIMESTAMP ?"
_SOURCES = "SELECT source FROM {redriven_sources} WHERE source = ?"
_POSTED = (
    "UPDATE {referrals} USING TIMESTAMP ? SET redriven_reply_to_id = ?, "
    "redriven_retweet_of_id = ?, redriven_quote_of_id = ? WHERE tweet_id = ? AND author_id = ?"
)
_DELETED = (
    "UPDATE {referrals} USING TIMESTAMP ? SET redriven_deleted = true "
    "WHERE tweet_id = ? AND author_id = ?"
)
_REFERRALS = (
    "SELECT tweet_id, author_id, reply_to_id, retweet_of_id, quote_of_id, writetime(reply_to_id), "
    "deleted, redriven_reply_to_id, redriven_retweet_of_id, redriven_quote_of_id, "
    "writetime(redriven_reply_to_id), redriven_deleted FROM {referrals} WHERE tweet_id IN ?"
)
_CHILD_OF = (
    "INSERT INTO {redriven_children} (parent_id, tweet_id, author_id) VALUES (?, ?, ?) "
    "USING TIMESTAMP ?"
)
_CHILDREN = "SELECT parent_id, tweet_id FROM {redriven_children} WHERE parent_id IN ?"
_LISTED = (
    "INSERT INTO {children} (parent_id, kind, tweet_id, author_id) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_UNLISTED = (
    "UPDATE {children} USING TIMESTAMP ? SET deleted = true "
    "WHERE parent_id = ? AND kind = ? AND tweet_id = ? AND author_id = ?"
)

Write = tuple[str, Sequence[Any]]
NO_PARENTS: Children = (0, 0, 0)


def like_of(
    event_id: int | None, at: int | None, redriven_id: int | None, redriven_at: int | None
) -> int:
    """Returns the event of a user's like, 0 for none, by ``LIKE_COLUMNS``: the last one's."""
    if redriven_id is None or (event_id is not None and (at or 0) >= (redriven_at or 0)):
        return event_id or 0
    return redriven_id


def first_of(parents: Any, at: int | None, redriven: Any, redriven_at: int | None) -> Any:
    """Returns which of two posts of one tweet counts; their timestamps fall with the offset."""
    if redriven_at is None or (at is not None and at >= redriven_at):
        return parents
    return redriven


class Referred(msgspec.Struct, frozen=True):
    """What is known of a child, in order and by redrives.

    Attributes:
        child: The tweet and its author.
        counted: Parents that it counts with already; zeros when not posted, or deleted.
        parents: Those that it refers to, deleted or not.
        deleted: Whether its author deleted it.
        every: All parents that any post of it named.
        redriven: Whether any of this came by a redrive.
    """

    child: Child
    counted: Children
    parents: Children
    deleted: bool
    every: frozenset[tuple[str, int]]
    redriven: bool

    @property
    def stands(self) -> Children:
        """Parents that it is to count with."""
        return NO_PARENTS if self.deleted else self.parents


def referred(row: Row) -> Referred:
    """Reads a row of ``_REFERRALS``."""
    tweet_id, author, *ordinary = row[:7]
    *said, at, deleted = ordinary
    *late, late_at, late_deleted = row[7:]
    known: Children = tuple(parent or 0 for parent in said)  # type: ignore[assignment]
    redriven: Children = tuple(parent or 0 for parent in late)  # type: ignore[assignment]
    named = [*zip(KINDS, known, strict=True), *zip(KINDS, redriven, strict=True)]
    return Referred(
        child=(tweet_id, author),
        counted=NO_PARENTS if deleted else known,
        parents=first_of(known, at, redriven, late_at),
        deleted=bool(deleted or late_deleted),
        every=frozenset((kind, parent) for kind, parent in named if parent),
        redriven=late_at is not None or bool(late_deleted),
    )


def _mark(tweet: int) -> Write:
    return _MARK, (tweet, MARK, ALWAYS)


def views_row(tweet: int, source: str, position: int, views: int) -> Write:
    """Returns the register of a tweet's views in a partition of ``redrive``."""
    return _VIEWED, (position, position, views, tweet, source)


def engaged_rows(record: Record) -> list[Write]:
    """Returns the facts of a redriven record of ``engagements``, but for views, and the mark."""
    event, at = record.event, latest(record.offset)
    match event:
        case TweetLiked(tweet_id=tweet, user_id=user):
            like = event.event_id
        case TweetUnliked(tweet_id=tweet, user_id=user):
            like = 0
        case TweetViewed(tweet_id=tweet):
            return [_mark(tweet)]
        case _:
            return []
    rows: list[Write] = [
        (_LIKE, (at, like, tweet, user)),
        (_LIKER, (tweet, user, ALWAYS)),
        _mark(tweet),
    ]
    if like:
        rows.append((LIKED_BY, (tweet, like, user, at)))
        rows.append((LIKES_OF, (user, like, tweet, at)))
    return rows


def referred_rows(record: Record, child: Child, origin: str) -> list[Write]:
    """Returns the facts of a redriven record of ``new-tweets`` that is about a child."""
    fact: Write = (_DELETED, (latest(record.offset), *child))
    if isinstance(record.event, TweetPosted):
        fact = (_POSTED, (first(record.offset), *parents_of(record.event), *child))
    return [(_SOURCE, (origin, ALWAYS)), fact]


def parent_rows(one: Referred) -> list[Write]:
    """Returns what marks the parents of a child that redrives said anything of, and lists it."""
    listed = {(k, p) for k, p in zip(KINDS, one.parents, strict=True) if p}
    rows: list[Write] = []
    for kind, parent in one.every:
        rows.append((_CHILD_OF, (parent, *one.child, ALWAYS)))
        rows.append(_mark(parent))
        rows.append((_LISTED, (parent, kind, *one.child, ALWAYS)))
        if one.deleted or (kind, parent) not in listed:
            rows.append((_UNLISTED, (final(0), parent, kind, *one.child)))
    return rows


class Redriven:
    """Writes and reads what redrives say."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def apply(self, piece: Slice) -> list[tuple[int, Effect]]:
        """Makes a redriven slice durable; returns what Redis is to be told with the position.

        Raises:
            RetryableError: the store is away; apply the whole slice again.
        """
        origin = piece.origin
        if origin is None:
            raise ValueError(f"{piece.source} is no redriven slice")
        stale: set[int] = set()
        for record in piece.records:
            if origin.topic == "engagements":
                stale |= await self._engaged(record, piece.source, piece.end)
            else:
                stale |= await self._referred(record, f"{origin.topic}/{origin.partition}")
        return self.forgotten(stale)

    def forgotten(self, tweets: Iterable[int]) -> list[tuple[int, Effect]]:
        """Returns the effects that forget the counts of tweets."""
        return [
            (self._keys.bucket(tweet), ((self._keys.of(COUNTS, tweet),), ("E", 1, FORGET)))
            for tweet in tweets
        ]

    async def _engaged(self, record: Record, source: str, end: int) -> set[int]:
        match record.event:
            case TweetViewed(tweet_id=tweet):
                found = await self._store.execute(_VIEWS, (tweet, source))
                position, views = found[0] if found else (0, 0)
                if position >= end:  # applied before
                    end, views = position, views - 1
                rows = [views_row(tweet, source, end, views + 1), _mark(tweet)]
            case TweetLiked(tweet_id=tweet) | TweetUnliked(tweet_id=tweet):
                rows = engaged_rows(record)
            case _:
                return set()
        await self._store.write(rows)
        return {tweet}

    async def _referred(self, record: Record, origin: str) -> set[int]:
        child = child_of(record)
        if child is None:
            return set()
        await self._store.write(referred_rows(record, child, origin))
        return await self.mend([child])

    async def late(self, source: str, records: Iterable[Record]) -> set[int]:
        """Returns the parents whose counts change by what redrives said of a slice's children.

        The slice's own facts must be written: whoever redrives looks for them after its own.
        """
        if not await self._store.execute(_SOURCES, (source,)):
            return set()
        return await self.mend([c for record in records if (c := child_of(record)) is not None])

    async def mend(self, children: Sequence[Child]) -> set[int]:
        """Marks the parents of those children that redrives said anything of, and lists them."""
        found = [one for one in await self._known({t for t, _ in children}) if one.redriven]
        wanted = set(children)
        rows: list[Write] = []
        stale: set[int] = set()
        for one in found:
            if one.child not in wanted:
                continue
            rows += parent_rows(one)
            stale |= {parent for _, parent in one.every}
        await self._store.write(rows)
        return stale

    async def adjustments(self, tweets: Sequence[int]) -> dict[int, Adjustment]:
        """Returns what is to be added to the counts of marked tweets, but for their views."""
        likes, children = await asyncio.gather(self._likes(tweets), self._children(tweets))
        return {
            tweet: Adjustment(likes.get(tweet, 0), 0, *children.get(tweet, NO_PARENTS))
            for tweet in tweets
        }

    async def _likes(self, tweets: Sequence[int]) -> dict[int, int]:
        users: dict[int, list[int]] = {}
        for tweet, user in await self._store.execute_in(_LIKERS, tweets, per_query=IDS_PER_QUERY):
            users.setdefault(tweet, []).append(user)
        pages = await self._store.execute_many(_LIKES, list(users.items()))
        return {
            tweet: sum(bool(like_of(*columns)) - bool(columns[0]) for _, *columns in rows)
            for tweet, rows in zip(users, pages, strict=True)
        }

    async def _children(self, tweets: Sequence[int]) -> dict[int, Children]:
        rows = await self._store.execute_in(_CHILDREN, tweets, per_query=IDS_PER_QUERY)
        wanted = set(tweets)
        counts: dict[int, list[int]] = {}
        for one in await self._known({child for _, child in rows}):
            for place, (stands, counted) in enumerate(zip(one.stands, one.counted, strict=True)):
                for parent, by in ((stands, 1), (counted, -1)):
                    if parent in wanted and one.redriven:
                        counts.setdefault(parent, [0, 0, 0])[place] += by
        return {parent: (a, b, c) for parent, (a, b, c) in counts.items()}

    async def _known(self, tweets: Collection[int]) -> list[Referred]:
        rows = await self._store.execute_in(_REFERRALS, list(tweets), per_query=IDS_PER_QUERY)
        return [referred(row) for row in rows]
