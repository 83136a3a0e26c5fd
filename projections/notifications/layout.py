"""Tables, keys and cache entries of the notifications unit; writer and reader share this page.

A *group* is what is told together: all likes or retweets of one tweet, all follows of one stretch
of ids. Its name says whom it concerns: ``like:USER:TWEET``, ``retweet:USER:TWEET``,
``follow:USER:FIRST_ID``. An *act* is in one group. Tweets that speak to somebody are told one by
one.

Facts (Cassandra); rows are never changed once written, but for registers and settings:

- ``acts`` by what one actor can take back, actor and offset: every record about it, with the group
  it puts the actor into ('' where it takes back). So what stood below any offset is known
  (:mod:`.acts`), in whatever order and however often records come.
- ``acts_told`` by group, newest first, and ``acts_by`` by group and actor: candidates for names,
  and for what is subtracted; they count while ``acts`` says that they stand.
- ``act_counts`` by group and source partition: a register, how many of that partition's acts below
  ``position`` stand (decision 0050 has the argument for registers; :mod:`.acts` this one's).
- ``acts_redriven`` by group: of whom an operator sent records back; what they change is worked out
  when it is read.
- ``inbox_tweets`` by addressee and span, newest first: tweets that answer, quote or name.
  Candidates; the tweet that stands says so itself, as for mentions timelines (decision 0070).
- ``inbox_groups`` by addressee and span: groups with an act in the span. ``inbox_spans`` by
  addressee: spans that hold anything.
- ``notices_read`` by user: the highest id that was read. ``notice_preferences`` by user and name.
  ``notice_takers`` by switch and shard of the user: of the switches in ``TAKEN``, who said what.
  ``notice_addresses`` by user: where he is pushed and mailed to, by the last that was said of each;
  ``notice_proposals``: what he proposed last and nobody has confirmed, '' for nothing.

An *addressee* is a user's id, or a number made of a name (:func:`of_name`): two names of one number
would share candidates, nothing else.

Caches (Redis), filled by readers under a lease: ``notices`` by addressee, the newest candidates
with the newest acts of each group; ``notice_settings`` by user.

Bounded by: four rows an act, and one a group and span; two a tweet and addressee; the reader's
bounds.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

TABLES = {
    "acts": """
        CREATE TABLE IF NOT EXISTS {table} (
            subject text, actor bigint, at_offset bigint, act_id bigint, act_group text,
            redriven boolean, PRIMARY KEY (subject, actor, at_offset))""",
    "acts_told": """
        CREATE TABLE IF NOT EXISTS {table} (
            act_group text, act_id bigint, actor bigint, PRIMARY KEY (act_group, act_id, actor))
        WITH CLUSTERING ORDER BY (act_id DESC, actor DESC)""",
    "acts_by": """
        CREATE TABLE IF NOT EXISTS {table} (
            act_group text, actor bigint, act_id bigint, PRIMARY KEY (act_group, actor, act_id))""",
    "act_counts": """
        CREATE TABLE IF NOT EXISTS {table} (
            act_group text, source text, position bigint, acts bigint,
            PRIMARY KEY (act_group, source))""",
    "acts_redriven": """
        CREATE TABLE IF NOT EXISTS {table} (
            act_group text, subject text, actor bigint, PRIMARY KEY (act_group, subject, actor))""",
    "inbox_tweets": """
        CREATE TABLE IF NOT EXISTS {table} (
            addressee bigint, span bigint, tweet_id bigint,
            PRIMARY KEY ((addressee, span), tweet_id))
        WITH CLUSTERING ORDER BY (tweet_id DESC)""",
    "inbox_groups": """
        CREATE TABLE IF NOT EXISTS {table} (
            addressee bigint, span bigint, subject bigint, kind text,
            PRIMARY KEY ((addressee, span), subject, kind))
        WITH CLUSTERING ORDER BY (subject DESC, kind DESC)""",
    "inbox_spans": """
        CREATE TABLE IF NOT EXISTS {table} (
            addressee bigint, span bigint, PRIMARY KEY (addressee, span))
        WITH CLUSTERING ORDER BY (span DESC)""",
    "notices_read": """
        CREATE TABLE IF NOT EXISTS {table} (user_id bigint PRIMARY KEY, up_to_id bigint)""",
    "notice_preferences": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, name text, enabled boolean, PRIMARY KEY (user_id, name))""",
    "notice_takers": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, name text, shard int, user_id bigint, enabled boolean,
            PRIMARY KEY ((scope, name, shard), user_id))""",
    "notice_addresses": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, channel text, address text, p256dh text, auth text, wanted boolean,
            PRIMARY KEY (user_id, channel, address))""",
    "notice_proposals": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, channel text, event_id bigint, address text,
            PRIMARY KEY (user_id, channel))""",
}

LIKE, RETWEET, FOLLOW = GROUPED = ("like", "retweet", "follow")
"""Kinds that are told in groups."""

REPLY, QUOTE, MENTION = SINGLE = ("reply", "quote", "mention")
"""Kinds that are told one by one."""

TREND = "trend"
"""What began to trend; the trends unit knows of it, and a reader is told if he asked for it."""

KINDS = (*SINGLE, *GROUPED, TREND)

TAKEN = frozenset({f"push.{TREND}"})
"""Names of the switches whose takers are looked for: what concerns all of them at once."""

TAKER_SHARDS = 16
"""Partitions of the takers of a switch. Never changed within a generation."""

HEAD = "notices"
SETTINGS = "notice_settings"
"""Kinds of the cache entries."""

NAMES_MAX = 10
"""Names of one tweet that count, the first ones, as in mentions timelines."""

FOLLOW_SHARDS = 64
"""Parts of the memberships of one user's followers: a partition of a hundred million rows is none
that a store likes."""


class Shape(msgspec.Struct, frozen=True):
    """How ids are cut; never changed within a generation.

    Attributes:
        span_bits: 2^24 ms of Snowflake ids, 4.7 hours, are one partition of an inbox.
        period_bits: 2^26 ms of follows, 18.6 hours, are told together.
    """

    span_bits: int = 46
    period_bits: int = 48


SHAPE = Shape()


class Group(msgspec.Struct, frozen=True, order=True):
    """What is told together.

    Attributes:
        kind: One of ``GROUPED``.
        user_id: Whom it concerns.
        subject: The tweet; of follows the first id of their stretch.
    """

    kind: str
    user_id: int
    subject: int

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.kind}:{self.user_id}:{self.subject}"

    @classmethod
    def named(cls, name: str) -> Group:
        """Reads a name."""
        kind, user_id, subject = name.split(":")
        return cls(kind, int(user_id), int(subject))

    def taken_back_in(self, actor: int, act_id: int) -> str:
        """Returns the partition of ``acts`` that says whether an act of the group stands."""
        if self.kind == FOLLOW:
            return follow_subject(self.user_id, actor)
        return retweet_subject(act_id) if self.kind == RETWEET else self.name


def follow_subject(user_id: int, actor: int) -> str:
    """Returns the partition of ``acts`` that says whether ``actor`` follows a user."""
    return f"follow:{user_id}/{actor % FOLLOW_SHARDS}"


def retweet_subject(tweet_id: int) -> str:
    """Returns the partition of ``acts`` that says whether a retweet stands."""
    return f"retweet/{tweet_id}"


def of_name(username: str) -> int:
    """Returns the addressee for a name, however it is written."""
    digest = blake2b(username.casefold().encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One act that stands: the id that orders it, and whose it is."""

    at: int
    user_id: int


class GroupActs(msgspec.Struct, frozen=True, array_like=True):
    """A group with its newest acts that stand.

    Attributes:
        kind: One of ``GROUPED``.
        subject: See :class:`Group`.
        acts: Newest first.
        below: Where to read on; 0 at the end.
    """

    kind: str
    subject: int
    acts: list[Seen]
    below: int


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Candidates of an inbox.

    Attributes:
        tweets: That may speak to the addressee: those with ids from ``floor`` up, descending.
        groups: Those with any act from ``floor`` up, whose newest may be above what was asked.
        floor: Where to read on; 0 at the end.
    """

    tweets: list[int]
    groups: list[GroupActs]
    floor: int


class Address(msgspec.Struct, frozen=True):
    """Where a user wants to be reached; see ``events.types.DeliveryAddressAdded``."""

    address: str
    p256dh: str = ""
    auth: str = ""


class Proposal(msgspec.Struct, frozen=True):
    """An address that waits to be confirmed, by the event that proposed it."""

    event_id: int
    address: str


WEB_PUSH, EMAIL = ADDRESSED = ("web-push", "email")
"""Channels of addresses."""

ADDRESSES_MAX = 10
"""Of one user and channel that are served, the first by their bytes."""


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """What a user said: how far he read, and his switches by name."""

    read_up_to: int = 0
    preferences: dict[str, bool] = {}
