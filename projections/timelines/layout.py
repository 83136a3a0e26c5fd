"""Tables, keys and encodings of the timelines unit; writer and reader share this page.

Facts (Cassandra):

- ``graph_out`` by user: what a user said of another, and whether the other blocks him.
- ``graph_in`` by followee: the same follows the other way round, in the order of follower ids.
- ``author_tweets`` by author, newest first: author timelines, for every tier.
- ``retweets`` by original and author: who retweeted it, so that one retweet of several is shown.
- ``follower_chunks`` by author: where the followers of a large account are cut (:mod:`.chunks`).
- ``large_accounts``: accounts that have chunks, to be found by whoever reclassifies them.
- ``tier_states``: authors whose tweets are pulled when read, or are on the way there or back
  (:mod:`.tiers`).

The last two are read whole, so they are kept apart by scope, the unit's name with the log's prefix:
logs that share a generation, as those of tests do, share nothing but its tables.

Cells are ordered by their own write timestamp, so redelivery, zombies and the order of partitions
change nothing:

- what one partition says of one key, by offset (:mod:`projections.versions`);
- ``last_block_id``, which either side's partition may write, by the event's id (``id_timestamp``),
  so that it is the highest of them. A follow is in force when its id is above it.

Caches (Redis), by bucket of their owner: ``relations``, ``followers``, ``follower_count``,
``follower_chunks`` (leases), ``home`` and ``celebrity`` (marked timelines, see ``effects.lua``);
each chunk of followers has a bucket of its own.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from struct import Struct

import msgspec

TABLES = {
    "graph_out": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, other_id bigint, follow_id bigint, block_id bigint, mute_id bigint,
            blocked_by_id bigint, last_block_id bigint,
            PRIMARY KEY (user_id, other_id))""",
    "graph_in": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, follower_id bigint, follow_id bigint, last_block_id bigint,
            PRIMARY KEY (user_id, follower_id))""",
    "author_tweets": """
        CREATE TABLE IF NOT EXISTS {table} (
            author_id bigint, tweet_id bigint, reply_to_user_id bigint, retweet_of_id bigint,
            deleted boolean,
            PRIMARY KEY (author_id, tweet_id))
        WITH CLUSTERING ORDER BY (tweet_id DESC)""",
    "retweets": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, author_id bigint, retweet_id bigint,
            PRIMARY KEY (tweet_id, author_id, retweet_id))""",
    "follower_chunks": """
        CREATE TABLE IF NOT EXISTS {table} (
            author_id bigint, first_follower_id bigint, active boolean,
            PRIMARY KEY (author_id, first_follower_id))""",
    "large_accounts": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, shard int, author_id bigint,
            PRIMARY KEY ((scope, shard), author_id))""",
    "tier_states": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, author_id bigint, state text, change text,
            PRIMARY KEY (scope, author_id))""",
}

NO_REPLY = 0
"""``reply_to_user_id`` of a tweet that is no reply; a null would be a tombstone."""

REPLY_TO_UNKNOWN = -1
"""``reply_to_user_id`` of a reply to somebody whom the post did not name."""

FOLLOWERS = "followers"
HOME = "home"
CELEBRITY = "celebrity"
"""Kinds of marked timelines. Another layout of these needs other names, so that two releases never
write to one key (decision 0060)."""

RELATIONS = "relations"
FOLLOWER_COUNT = "follower_count"
CHUNK_CUTS = "follower_chunks"
CHUNK_IDS = "follower_chunk"
CHUNK_COUNT = "follower_chunk_count"
"""Kinds of cache entries; the last three are of an author and of a chunk of his followers."""

KINDS = frozenset(
    {
        *(FOLLOWERS, HOME, CELEBRITY, RELATIONS, FOLLOWER_COUNT),
        *(CHUNK_CUTS, CHUNK_IDS, CHUNK_COUNT),
    }
)

BUILD_SECONDS = 30
"""How long a reader may take to fill a timeline; then its mark lapses."""

_COUNTS = Struct("<III")
_SWAPPED = sys.byteorder == "big"


def pack_ids(ids: Iterable[int]) -> bytes:
    """Packs ids as little-endian 64-bit integers."""
    packed = array("q", ids)
    if _SWAPPED:
        packed.byteswap()
    return packed.tobytes()


def unpack_ids(data: bytes) -> array[int]:
    """Reads what :func:`pack_ids` wrote."""
    ids = array("q")
    ids.frombytes(data)
    if _SWAPPED:
        ids.byteswap()
    return ids


class Relations(msgspec.Struct, frozen=True):
    """What decides which authors a reader sees.

    Attributes:
        following: Users whom the reader follows, in force.
        blocked: Users with a block between them and the reader, in either direction.
        blocking: Users whom the reader blocks.
        muted: Users whom the reader mutes.
    """

    following: frozenset[int]
    blocked: frozenset[int]
    blocking: frozenset[int]
    muted: frozenset[int]

    @property
    def hidden(self) -> frozenset[int]:
        """Users of whom the reader is shown nothing."""
        return self.blocked | self.muted

    @property
    def heard(self) -> frozenset[int]:
        """Users whom the reader follows and is shown."""
        return self.following - self.hidden

    def pack(self) -> bytes:
        """Encodes for the cache."""
        blocked_by = self.blocked - self.blocking
        head = _COUNTS.pack(len(self.following), len(self.blocking), len(blocked_by))
        return head + pack_ids([*self.following, *self.blocking, *blocked_by, *self.muted])

    @classmethod
    def unpack(cls, data: bytes) -> Relations:
        """Reads what :meth:`pack` wrote."""
        following, blocking, blocked_by = _COUNTS.unpack_from(data)
        ids = unpack_ids(data[_COUNTS.size :])
        one = following + blocking
        two = one + blocked_by
        return cls(
            following=frozenset(ids[:following]),
            blocked=frozenset(ids[following:two]),
            blocking=frozenset(ids[following:one]),
            muted=frozenset(ids[two:]),
        )

    @staticmethod
    def following_in(data: bytes) -> int:
        """Returns how many users one follows, without reading who they are."""
        following: int = _COUNTS.unpack_from(data)[0]
        return following


NOBODY = Relations(frozenset(), frozenset(), frozenset(), frozenset())


class Followers(msgspec.Struct, frozen=True):
    """The followers that a tweet is pushed to; None where there are too many for one list."""

    ids: array[int] | None

    def pack(self) -> bytes:
        """Encodes for the cache."""
        return b"L" if self.ids is None else b"F" + pack_ids(self.ids)

    @classmethod
    def unpack(cls, data: bytes) -> Followers:
        """Reads what :meth:`pack` wrote."""
        return cls(None if data[:1] == b"L" else unpack_ids(data[1:]))


def in_force(follow_id: int | None, last_block_id: int | None) -> bool:
    """Says whether a follow holds: not taken back, and newer than any block between the two."""
    return bool(follow_id) and (follow_id or 0) > (last_block_id or 0)


class Entry(msgspec.Struct, frozen=True):
    """One tweet in an author timeline.

    Attributes:
        tweet_id: Snowflake id.
        author_id: Who posted it.
        reply_to_user_id: Whom it replies to, 0 if nobody, -1 if unknown.
        retweet_of_id: The original, or 0.
    """

    tweet_id: int
    author_id: int
    reply_to_user_id: int
    retweet_of_id: int


def entries(rows: Sequence[Sequence[int | bool | None]]) -> list[Entry]:
    """Reads rows of ``author_tweets``; a deletion that came without its post is no entry."""
    return [
        Entry(tweet_id or 0, author_id or 0, reply_to or 0, retweet_of or 0)
        for author_id, tweet_id, reply_to, retweet_of, deleted in rows
        if not deleted and reply_to is not None
    ]
