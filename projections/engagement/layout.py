"""Tables, keys and encodings of the engagement unit; writer and reader share this page.

Facts (Cassandra), each cell with a write timestamp of its own (:mod:`projections.versions`):

- ``likes`` by tweet and user: the event id of the user's like, 0 once taken back. The membership.
- ``liked_by`` by tweet and ``likes_of`` by user, newest first: the order of the lists. A row counts
  only while ``likes`` still names its event, so an unlike has no need to know which like it ends.
- ``referrals`` by tweet and author: what a tweet refers to, and apart from it whether its author
  deleted it, whichever came first.
- ``children`` by parent and kind, newest first: replies, retweets and quotes of a tweet.
- ``redriven_…``, columns and tables: what came by redrives, see :mod:`.redriven`.
- ``tallies`` by tweet and source partition: *registers*. A register is a pair (counts, position):
  what the source partition's records below ``position`` add up to for this tweet. It is a pure
  function of the log, so two writers can only ever write the same counts for one position, and
  the write timestamp (the position) keeps the newest. A tweet's counts are the sum of its
  registers: one for ``engagements``, one for each partition of ``new-tweets`` that has an author
  who replied to, retweeted or quoted it.

Caches (Redis), all in the bucket of the tweet, so that counts are read beside its fragment:

- ``counts``: the sum, packed in ``PACKED.size`` bytes, with the position of the ``engagements``
  register that is in it;
- ``counts…:sources``: the ``new-tweets`` registers that are in it, so that each is replaced once;
- ``counts…:likers``: the users who like the tweet, as of that position, 8 bytes each, and a mark
  that says that none is missing.

Bounded by: a row per fact; 34 bytes a tweet for readers; see ``Limits`` for the hot membership.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from struct import Struct
from typing import TypeAlias

import msgspec

from projections.functions import Library

TABLES = {
    "likes": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, user_id bigint, event_id bigint, redriven_id bigint,
            PRIMARY KEY (tweet_id, user_id))""",
    "liked_by": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, event_id bigint, user_id bigint,
            PRIMARY KEY (tweet_id, event_id, user_id))
        WITH CLUSTERING ORDER BY (event_id DESC, user_id DESC)""",
    "likes_of": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, event_id bigint, tweet_id bigint,
            PRIMARY KEY (user_id, event_id, tweet_id))
        WITH CLUSTERING ORDER BY (event_id DESC, tweet_id DESC)""",
    "referrals": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, author_id bigint, reply_to_id bigint, retweet_of_id bigint,
            quote_of_id bigint, deleted boolean,
            redriven_reply_to_id bigint, redriven_retweet_of_id bigint, redriven_quote_of_id bigint,
            redriven_deleted boolean,
            PRIMARY KEY (tweet_id, author_id))""",
    "children": """
        CREATE TABLE IF NOT EXISTS {table} (
            parent_id bigint, kind text, tweet_id bigint, author_id bigint, deleted boolean,
            PRIMARY KEY ((parent_id, kind), tweet_id, author_id))
        WITH CLUSTERING ORDER BY (tweet_id DESC, author_id DESC)""",
    "tallies": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, source text, position bigint, likes bigint, views bigint,
            replies bigint, retweets bigint, quotes bigint,
            PRIMARY KEY (tweet_id, source))""",
    "redriven_likers": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, user_id bigint, PRIMARY KEY (tweet_id, user_id))""",
    "redriven_children": """
        CREATE TABLE IF NOT EXISTS {table} (
            parent_id bigint, tweet_id bigint, author_id bigint,
            PRIMARY KEY (parent_id, tweet_id, author_id))""",
    "redriven_sources": """
        CREATE TABLE IF NOT EXISTS {table} (source text PRIMARY KEY)""",
}

ADDED_COLUMNS = {
    "likes": {"redriven_id": "bigint"},
    "referrals": {
        "redriven_reply_to_id": "bigint",
        "redriven_retweet_of_id": "bigint",
        "redriven_quote_of_id": "bigint",
        "redriven_deleted": "boolean",
    },
}
"""What tables got since they were first made, for generations that are older."""

MARK = "redriven"
"""Source of the row that says of a tweet that redrives have something to add to its registers."""

REPLY, RETWEET, QUOTE = KINDS = ("reply", "retweet", "quote")
"""Kinds of children, in the order of a register's counts."""

COUNTS = "counts"
"""Kind of the cache entry."""

TTL_MS = 86_400_000
"""Life of a cached entry after it was last written."""

IDS_PER_QUERY = 50
"""Partitions in one query of the store."""

ENGAGEMENT = Library("engagement/engagement.lua")
"""Scripts of this unit."""

PACKED = Struct("<QQIIIIH")
"""Position, views, likes, replies, retweets, quotes, number of ``new-tweets`` registers."""

_REGISTER = Struct("<QIII")
_ADJUSTMENT = Struct("<5i")
_ADJUSTED = 1 << 15
"""In the number of registers: an adjustment follows, before any register."""

ENGAGED = Struct("<QQII")
"""What a slice says of a tweet: first offset, offset after the last, views, how many likers."""


def packed(users: Iterable[int]) -> bytes:
    """Returns user ids as members of a set of likers, one after the other."""
    return array("q", users).tobytes()


def members(users: Iterable[int]) -> list[bytes]:
    """Returns user ids as members of a set of likers, 8 bytes each."""
    data = packed(users)
    return [data[at : at + 8] for at in range(0, len(data), 8)]


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the hot membership.

    Attributes:
        members_hot_max: A tweet with more likes has no membership in Redis; its likers are looked
            up in the store, one slice at a time. About 40 bytes each.
        members_load_max: The most likers that are read from the store to make a tweet hot.
    """

    members_hot_max: int = 1_000_000
    members_load_max: int = 50_000


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What readers see of a tweet."""

    retweets: int = 0
    replies: int = 0
    likes: int = 0
    quotes: int = 0
    views: int = 0

    @classmethod
    def unpack(cls, data: bytes) -> Counts:
        """Reads a cached entry."""
        _, views, likes, replies, retweets, quotes, number = PACKED.unpack_from(data)
        if number & _ADJUSTED:
            a, b, c, d, e = _ADJUSTMENT.unpack_from(data, PACKED.size)
            likes, views = likes + a, views + b
            replies, retweets, quotes = replies + c, retweets + d, quotes + e
        return cls(retweets, replies, likes, quotes, views)


NOTHING = Counts()
"""Counts of a tweet that nobody touched."""


class Adjustment(msgspec.Struct, frozen=True, gc=False):
    """What redrives add to a tweet's registers; see :mod:`.redriven`."""

    likes: int = 0
    views: int = 0
    replies: int = 0
    retweets: int = 0
    quotes: int = 0


class Likes(msgspec.Struct, frozen=True, gc=False):
    """A register of ``engagements``: likes and views of a tweet below an offset."""

    position: int = 0
    likes: int = 0
    views: int = 0

    @classmethod
    def unpack(cls, data: bytes) -> Likes:
        """Reads the register that a cached entry holds."""
        position, views, likes, *_ = PACKED.unpack_from(data)
        return cls(position, likes, views)


Children: TypeAlias = tuple[int, int, int]
"""Counts of children, in the order of ``KINDS``."""


class Family(msgspec.Struct, frozen=True, gc=False):
    """A register of one partition of ``new-tweets``: children of a tweet below an offset."""

    position: int = 0
    counts: Children = (0, 0, 0)


Rows: TypeAlias = Iterable[
    tuple[str, int, int | None, int | None, int | None, int | None, int | None]
]
"""Rows of ``tallies`` of one tweet: source, position, and the counts."""


def pack(rows: Rows, adjustment: Adjustment | None = None) -> bytes:
    """Returns the cache entry of a tweet, with its ``new-tweets`` registers appended.

    What follows the first ``PACKED.size`` bytes is taken apart by ``engagement.lua``: of each
    register the length and text of its source, then ``<QIII``; before them the adjustment, where
    there is one.

    Args:
        rows: Of ``tallies``.
        adjustment: Of a tweet that is marked, but for its views, which are among the rows.
    """
    position = views = likes = number = redriven = 0
    totals = [0, 0, 0]
    parts = [b"", b""]
    for source, at, row_likes, row_views, *children in rows:
        if row_likes is not None:
            position, likes, views = at, row_likes, row_views or 0
            continue
        if source.startswith("redriv"):
            redriven += row_views or 0
            continue
        counts = [count or 0 for count in children]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        parts.append(b"%c%b" % (len(source), source.encode()) + _REGISTER.pack(at, *counts))
        number += 1
    if adjustment is not None:
        number |= _ADJUSTED
        a = adjustment
        parts[1] = _ADJUSTMENT.pack(a.likes, redriven, a.replies, a.retweets, a.quotes)
    parts[0] = PACKED.pack(position, views, likes, *totals, number)
    return b"".join(parts)


def metrics_json(counts: Counts) -> bytes:
    """Returns a member to splice into a tweet's JSON object: ``"public_metrics":{…}``."""
    return (
        b'"public_metrics":{"retweet_count":%d,"reply_count":%d,"like_count":%d,'
        b'"quote_count":%d,"impression_count":%d}'
        % (counts.retweets, counts.replies, counts.likes, counts.quotes, counts.views)
    )
