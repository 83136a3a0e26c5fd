"""Who is spoken to in tweets: candidates for a mentions timeline, newest first.

A tweet speaks to the names in its text (``@name``, folded) and, if it is a reply, to the user whom
it answers. A name is kept as a name: whose it is, and since when, is for the reader to know (see
decision 0070), so this unit needs nothing of another.

Facts (Cassandra), memberships that only grow:

- ``mentions`` by addressee and span, newest first: a tweet's id. A span is 2^SPAN_BITS ids, about
  three days, so that the partition of a very popular name stays bounded.
- ``mention_spans`` by addressee: which spans hold anything, so that nobody looks through years of
  empty ones.

What is read here are candidates. A tweet that was deleted keeps its rows, and so does the second
post of an id, whose first counts; the tweet that stands says whom it speaks to (``addressees``).

Bounded by: ``NAMES_MAX`` names a tweet; ``SPANS_MAX`` spans a step, after which the caller asks on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from events.types import TweetPosted
from projections.store import Store
from projections.text.entities import Entities
from projections.tweets.layout import TweetFragment

TABLES = {
    "mentions": """
        CREATE TABLE IF NOT EXISTS {table} (
            addressee text, span bigint, tweet_id bigint,
            PRIMARY KEY ((addressee, span), tweet_id))
        WITH CLUSTERING ORDER BY (tweet_id DESC)""",
    "mention_spans": """
        CREATE TABLE IF NOT EXISTS {table} (
            addressee text, span bigint, PRIMARY KEY (addressee, span))
        WITH CLUSTERING ORDER BY (span DESC)""",
}
WRITE = "INSERT INTO {mentions} (addressee, span, tweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
WRITE_SPAN = "INSERT INTO {mention_spans} (addressee, span) VALUES (?, ?) USING TIMESTAMP ?"
READ = (
    "SELECT tweet_id FROM {mentions} WHERE addressee = ? AND span IN ? AND tweet_id < ? "
    "AND tweet_id > ? PER PARTITION LIMIT ?"
)
READ_SPANS = (
    "SELECT span FROM {mention_spans} WHERE addressee = ? AND span <= ? AND span >= ? LIMIT ?"
)

NAMES_MAX = 10
"""Names of one tweet that count, the first ones; a text of 280 code points holds up to 93."""

SPAN_BITS = 50
"""2^28 ms of Snowflake ids, 3.1 days. Never changed within a generation."""

SPANS_MAX = 16
"""Spans of one addressee in one step."""

WRITTEN_AT = 1
"""Timestamp of every row: a membership that only grows needs no order."""

Row = tuple[str, tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int]]


def of_name(username: str) -> str:
    """Returns the addressee for a name, however it is written."""
    return "@" + username.casefold()


def of_user(user_id: int) -> str:
    """Returns the addressee for a user who is answered."""
    return str(user_id)


class _Mentioned(msgspec.Struct, frozen=True):
    username: str


class _Entities(msgspec.Struct, frozen=True):
    mentions: list[_Mentioned] = []


class _Body(msgspec.Struct, frozen=True):
    """What is looked at of a tweet's JSON."""

    entities: _Entities = _Entities()


_BODY = msgspec.json.Decoder(_Body)


def addressees(tweet: TweetFragment) -> set[str]:
    """Returns whom a tweet that stands speaks to; a retweet speaks to nobody."""
    names = [m.username for m in _BODY.decode(tweet.body + b"}").entities.mentions]
    return set(_addressees(names, tweet.reply_to_user_id, tweet.author_id, tweet.retweet_of_id))


def rows(event: TweetPosted, parsed: Entities, span_bits: int) -> Iterator[Row]:
    """Yields the rows of a posted tweet whose text has these entities."""
    names = [mention.username for mention in parsed.mentions]
    span = event.tweet_id >> span_bits
    for addressee in _addressees(
        names, event.reply_to_user_id or 0, event.user_id, event.retweet_of_id or 0
    ):
        yield WRITE, (addressee, span, event.tweet_id, WRITTEN_AT)
        yield WRITE_SPAN, (addressee, span, WRITTEN_AT)


def _addressees(names: list[str], replied: int, author: int, original: int) -> list[str]:
    if original:
        return []
    found = list(dict.fromkeys(map(of_name, names)))[:NAMES_MAX]
    if replied and replied != author:
        found.append(of_user(replied))
    return found


class Addressee(msgspec.Struct, frozen=True):
    """Whom to look for, in tweets with ids above ``above``."""

    key: str
    above: int = 0


class Candidates(msgspec.Struct, frozen=True):
    """Part of a list of ids.

    Attributes:
        ids: Descending.
        floor: Every id from here up to the ``below`` of the question is among them; 0 at the end.
    """

    ids: list[int]
    floor: int


class MentionsReader:
    """Reads candidates.

    Args:
        store: The generation's tables.
        span_bits: As the unit writes them.
        spans_max: Spans of one addressee in one step.
    """

    def __init__(
        self, store: Store, *, span_bits: int = SPAN_BITS, spans_max: int = SPANS_MAX
    ) -> None:
        self._store = store
        self._bits = span_bits
        self._spans_max = spans_max

    async def page(self, addressees_of: Sequence[Addressee], below: int, limit: int) -> Candidates:
        """Returns up to ``limit`` tweets under ``below`` that speak to any of the addressees.

        Raises:
            RetryableError: the store is away.
        """
        parts = await asyncio.gather(*(self._of(whom, below, limit) for whom in addressees_of))
        floor = max((part.floor for part in parts), default=0)
        ids = sorted({i for part in parts for i in part.ids if i >= floor}, reverse=True)
        return (
            Candidates(ids[:limit], ids[limit - 1]) if len(ids) > limit else Candidates(ids, floor)
        )

    async def _of(self, whom: Addressee, below: int, limit: int) -> Candidates:
        highest, lowest = (below - 1) >> self._bits, (whom.above + 1) >> self._bits
        spans = [
            span
            for (span,) in await self._store.execute(
                READ_SPANS, (whom.key, highest, lowest, self._spans_max)
            )
        ]
        found: list[int] = []
        # The newest alone first: it is all that a popular name needs.
        for several in (spans[:1], spans[1:]):
            if several:
                rows = await self._store.execute(
                    READ, (whom.key, several, below, whom.above, limit)
                )
                found += sorted((tweet_id for (tweet_id,) in rows), reverse=True)
            if len(found) >= limit:
                return Candidates(found[:limit], found[limit - 1])
        return Candidates(found, spans[-1] << self._bits if len(spans) == self._spans_max else 0)
