"""Table, cache and fragment of the tweets unit; writer and reader share this page.

Fact (Cassandra): ``tweets`` by tweet id and author, one cell, ``fragment``. The author is part of
the key because it is the partition key of the log: what another user says of this id, a deletion
above all, comes by another partition and lands in another row, where it changes nothing.

The cell is written by two kinds of record:

- a post, with a timestamp that falls with the offset (``first``): of two posts the first counts;
- a deletion, empty, with one that rises (``latest``): above every post, whichever comes first, so
  a late redelivery cannot bring a tweet back, and its text is gone from the store.

Cache (Redis): ``tweet`` by id, the fragment, filled by readers under a lease.

Bounded by: one row per tweet; rows of one id are few (a second author is refused at command time).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import msgspec

from events.types import TweetPosted
from projections import fragments
from projections.text import entities
from projections.text.language import UNDETERMINED

TABLES = {
    "tweets": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, author_id bigint, fragment blob,
            PRIMARY KEY (tweet_id, author_id))""",
}
WRITE = "INSERT INTO {tweets} (tweet_id, author_id, fragment) VALUES (?, ?, ?) USING TIMESTAMP ?"
READ = "SELECT tweet_id, author_id, fragment FROM {tweets} WHERE tweet_id IN ?"

TWEET = "tweet"
"""Kind of the cache entry."""

DELETED = b""
"""Fragment of a tweet that was deleted."""

HAS_MEDIA = 1
HAS_GEO = 2

_HEADER = Struct("<8qB")


class TweetFragment(msgspec.Struct, frozen=True, gc=False):
    """A tweet as readers get it: what filters look at, and JSON to splice.

    Ids are 0 where there is none. ``body`` is the tweet's JSON object without its closing brace.
    """

    author_id: int
    conversation_id: int
    reply_to_id: int
    reply_to_user_id: int
    retweet_of_id: int
    retweet_of_user_id: int
    quote_of_id: int
    quote_of_user_id: int
    flags: int
    body: bytes

    @classmethod
    def unpack(cls, data: bytes, more: bytes = b"") -> TweetFragment:
        """Reads a stored or cached fragment; the JSON is not looked at.

        Args:
            data: The fragment.
            more: Members to splice in, each behind a comma.
        """
        return cls(*(*_HEADER.unpack_from(data), data[_HEADER.size :] + more))

    @property
    def has_media(self) -> bool:
        """Whether pictures or videos are attached."""
        return bool(self.flags & HAS_MEDIA)


class _Reference(msgspec.Struct, frozen=True):
    type: str
    id: str


class _Attachments(msgspec.Struct, frozen=True):
    media_keys: list[str]


class _Point(msgspec.Struct, frozen=True):
    coordinates: tuple[float, float]
    type: str = "Point"


class _Geo(msgspec.Struct, frozen=True, omit_defaults=True):
    coordinates: _Point | None = None
    woeid: str = ""
    country_woeid: str = ""


class _Tweet(msgspec.Struct, frozen=True, omit_defaults=True):
    """X's tweet object; what does not apply is left out, as X does."""

    id: str
    text: str
    author_id: str
    created_at: str
    conversation_id: str
    lang: str
    in_reply_to_user_id: str = ""
    entities: entities.Entities = entities.NONE
    attachments: _Attachments | None = None
    referenced_tweets: list[_Reference] = []
    geo: _Geo | None = None
    source: str = ""


def pack(event: TweetPosted, parsed: entities.Entities | None = None) -> bytes:
    """Builds the fragment of a tweet: once, when it is applied; no read parses it again.

    Args:
        event: The post.
        parsed: The entities of its text, where they are known already.
    """
    header = _HEADER.pack(
        event.user_id,
        event.conversation_id,
        event.reply_to_id or 0,
        event.reply_to_user_id or 0,
        event.retweet_of_id or 0,
        event.retweet_of_user_id or 0,
        event.quote_of_id or 0,
        event.quote_of_user_id or 0,
        (HAS_MEDIA if event.media_ids else 0) | (HAS_GEO if _located(event) else 0),
    )
    tweet = _Tweet(
        id=str(event.tweet_id),
        text=event.text,
        author_id=str(event.user_id),
        created_at=fragments.rfc3339(event.created_at),
        conversation_id=str(event.conversation_id),
        lang=event.lang or UNDETERMINED,
        in_reply_to_user_id=str(event.reply_to_user_id) if event.reply_to_user_id else "",
        entities=entities.parse(event.text) if parsed is None else parsed,
        attachments=_Attachments(event.media_ids) if event.media_ids else None,
        referenced_tweets=_references(event),
        geo=_geo(event) if _located(event) else None,
        source=event.source,
    )
    return header + fragments.open_object(tweet)


def standing(rows: Sequence[Sequence[Any]]) -> dict[int, bytes]:
    """Returns the fragment that stands for each tweet id among rows of ``READ``.

    A second author's post of one id is refused at command time; where the log holds one all the
    same, the lower author id stands, whatever the order of partitions.
    """
    found: dict[int, bytes] = {}
    for tweet_id, _, fragment in rows:  # ascending by author within an id: clustering order
        if fragment:
            found.setdefault(tweet_id, fragment)
    return found


def _references(event: TweetPosted) -> list[_Reference]:
    named = (
        ("retweeted", event.retweet_of_id),
        ("quoted", event.quote_of_id),
        ("replied_to", event.reply_to_id),
    )
    return [_Reference(kind, str(tweet_id)) for kind, tweet_id in named if tweet_id]


def _located(event: TweetPosted) -> bool:
    return event.coordinates is not None or event.place is not None


def _geo(event: TweetPosted) -> _Geo:
    """GeoJSON puts the longitude first."""
    at, place = event.coordinates, event.place
    return _Geo(
        _Point((at.longitude, at.latitude)) if at is not None else None,
        str(place.woeid) if place is not None else "",
        str(place.country_woeid) if place is not None and place.country_woeid is not None else "",
    )
