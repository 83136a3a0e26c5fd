"""Tweets and what is done to them: topics ``new-tweets``, ``engagements`` and ``bookmarks``."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from events.kinds.base import Event, Id, Millis

Latitude: TypeAlias = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude: TypeAlias = Annotated[float, msgspec.Meta(ge=-180, le=180)]


class Coordinates(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A point on Earth (WGS 84).

    Attributes:
        latitude: Degrees north.
        longitude: Degrees east.
    """

    latitude: Latitude
    longitude: Longitude


class Place(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A place that has a name: a city, or a whole country.

    Attributes:
        woeid: Where On Earth id of the place.
        country_woeid: That of the country that it lies in, when known; of a country its own.
    """

    woeid: Id
    country_woeid: Id | None = None


# new-tweets


class TweetPosted(Event, frozen=True, kw_only=True):
    """A tweet, reply, quote or retweet was posted.

    A plain tweet's, a quote's and a retweet's ``conversation_id`` is its own id; a reply's is its
    root's. A retweet's ``text`` is empty. Who shares his place need not share a point, nor the
    other way round.
    """

    tweet_id: Id
    user_id: Id
    text: str
    created_at: Millis
    lang: str | None = None
    conversation_id: Id
    reply_to_id: Id | None = None
    reply_to_user_id: Id | None = None
    quote_of_id: Id | None = None
    quote_of_user_id: Id | None = None
    retweet_of_id: Id | None = None
    retweet_of_user_id: Id | None = None
    media_ids: list[str] = msgspec.field(default_factory=list)
    source: str = ""
    coordinates: Coordinates | None = None
    place: Place | None = None


class TweetDeleted(Event, frozen=True, kw_only=True):
    """A tweet was deleted by its author; names what it referred to, so no reader looks it up."""

    tweet_id: Id
    user_id: Id
    conversation_id: Id | None = None
    reply_to_id: Id | None = None
    reply_to_user_id: Id | None = None
    quote_of_id: Id | None = None
    quote_of_user_id: Id | None = None
    retweet_of_id: Id | None = None
    retweet_of_user_id: Id | None = None


# engagements


class TweetLiked(Event, frozen=True, kw_only=True):
    """A user liked a tweet."""

    tweet_id: Id
    tweet_author_id: Id
    user_id: Id


class TweetUnliked(Event, frozen=True, kw_only=True):
    """A user took a like back."""

    tweet_id: Id
    tweet_author_id: Id
    user_id: Id


class TweetViewed(Event, frozen=True, kw_only=True):
    """A tweet was shown to a user, or to somebody not signed in."""

    tweet_id: Id
    user_id: Id | None = None


# bookmarks


class TweetBookmarked(Event, frozen=True, kw_only=True):
    """A user bookmarked a tweet."""

    user_id: Id
    tweet_id: Id


class TweetUnbookmarked(Event, frozen=True, kw_only=True):
    """A user took a bookmark back."""

    user_id: Id
    tweet_id: Id
