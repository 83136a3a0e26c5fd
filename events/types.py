"""Every event, as the code sees it: one frozen struct per schema in ``schemas/avro``.

Keeps true: a struct has exactly the fields of its newest schema (a test compares them);
``schemas/topics.yaml`` says which topic an event belongs to and what its key is made of, and this
module reads both from there.

Ids are 64-bit Snowflake integers, times are integer milliseconds since the Unix epoch. A field
that defaults to ``None`` is optional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec

from events.errors import InvalidEvent
from schemas import catalog

INT64_MAX = 2**63 - 1

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Offset: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Int32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Latitude: TypeAlias = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude: TypeAlias = Annotated[float, msgspec.Meta(ge=-180, le=180)]


class Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,  # plain values hold no cycles, and there are many of them
    tag_field="type",
    tag=True,
    forbid_unknown_fields=True,
):
    """What every event starts with.

    Attributes:
        event_id: Snowflake id of the event itself; orders facts that come from different
            partitions.
        occurred_at: When it happened, by the producer's clock, in milliseconds since the Unix
            epoch.
    """

    event_id: Id
    occurred_at: Millis


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
    media_ids: list[str] = []
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


# social-graph


class UserFollowed(Event, frozen=True, kw_only=True):
    """``user_id`` follows ``target_user_id`` from now on."""

    user_id: Id
    target_user_id: Id


class UserUnfollowed(Event, frozen=True, kw_only=True):
    """``user_id`` no longer follows ``target_user_id``."""

    user_id: Id
    target_user_id: Id


class UserBlocked(Event, frozen=True, kw_only=True):
    """``user_id`` blocks ``target_user_id``; ends follows in both directions."""

    user_id: Id
    target_user_id: Id


class UserUnblocked(Event, frozen=True, kw_only=True):
    """``user_id`` no longer blocks ``target_user_id``."""

    user_id: Id
    target_user_id: Id


class UserMuted(Event, frozen=True, kw_only=True):
    """``user_id`` no longer sees ``target_user_id`` in timelines."""

    user_id: Id
    target_user_id: Id


class UserUnmuted(Event, frozen=True, kw_only=True):
    """``user_id`` sees ``target_user_id`` in timelines again."""

    user_id: Id
    target_user_id: Id


# users


class UserRegistered(Event, frozen=True, kw_only=True):
    """An account was opened."""

    user_id: Id
    username: Name
    name: str
    created_at: Millis
    description: str = ""
    location: str = ""
    url: str = ""
    profile_image_url: str = ""


class ProfileChanged(Event, frozen=True, kw_only=True):
    """A profile was edited; ``None`` leaves a field as it was."""

    user_id: Id
    name: str | None = None
    description: str | None = None
    location: str | None = None
    url: str | None = None
    profile_image_url: str | None = None


class UserDeactivated(Event, frozen=True, kw_only=True):
    """An account was hidden by its owner; it can come back."""

    user_id: Id


class UserReactivated(Event, frozen=True, kw_only=True):
    """A deactivated account is back."""

    user_id: Id


class UserErased(Event, frozen=True, kw_only=True):
    """Everything of a user is to be removed, for good."""

    user_id: Id


class TweetPinned(Event, frozen=True, kw_only=True):
    """A user pinned one of his tweets; it takes the place of the one pinned before."""

    user_id: Id
    tweet_id: Id


class TweetUnpinned(Event, frozen=True, kw_only=True):
    """A user has no pinned tweet any more."""

    user_id: Id


# usernames


class UsernameClaimed(Event, frozen=True, kw_only=True):
    """A user wants a name; the first claim of ``username_key`` in its partition wins."""

    username_key: Name
    username: Name
    user_id: Id


class UsernameReleased(Event, frozen=True, kw_only=True):
    """A user gives a name up; it can be claimed again."""

    username_key: Name
    user_id: Id


# user-activity


class TimelineOpened(Event, frozen=True, kw_only=True):
    """A user opened the home timeline."""

    user_id: Id


class SearchPerformed(Event, frozen=True, kw_only=True):
    """A user searched."""

    user_id: Id
    query: str


class NotificationsRead(Event, frozen=True, kw_only=True):
    """A user has seen the notifications up to ``up_to_id``, that one included."""

    user_id: Id
    up_to_id: Id


class PreferencesChanged(Event, frozen=True, kw_only=True):
    """A user changed switches; those not named stay as they were."""

    user_id: Id
    preferences: dict[str, bool]


# lists


class ListCreated(Event, frozen=True, kw_only=True):
    """A user made a list; the first creation of a list id decides its owner."""

    list_id: Id
    user_id: Id
    name: Name
    description: str
    private: bool


class ListChanged(Event, frozen=True, kw_only=True):
    """The owner edited a list; ``None`` leaves a field as it was."""

    list_id: Id
    user_id: Id
    name: Name | None = None
    description: str | None = None
    private: bool | None = None


class ListDeleted(Event, frozen=True, kw_only=True):
    """The owner deleted a list, for good."""

    list_id: Id
    user_id: Id


class ListMemberAdded(Event, frozen=True, kw_only=True):
    """The owner of a list, ``user_id``, added ``member_id`` to it."""

    list_id: Id
    user_id: Id
    member_id: Id


class ListMemberRemoved(Event, frozen=True, kw_only=True):
    """The owner of a list, ``user_id``, removed ``member_id`` from it."""

    list_id: Id
    user_id: Id
    member_id: Id


# bookmarks


class TweetBookmarked(Event, frozen=True, kw_only=True):
    """A user bookmarked a tweet."""

    user_id: Id
    tweet_id: Id


class TweetUnbookmarked(Event, frozen=True, kw_only=True):
    """A user took a bookmark back."""

    user_id: Id
    tweet_id: Id


# fan-out, redrive, audit


class FanOutChunk(Event, frozen=True, kw_only=True):
    """A tweet is to be delivered to the followers of a range of ids, both ends included.

    Without ``last_follower_id`` the range has no end. ``generation`` is whose chunk it is: each
    generation of the unit cuts its own (None: the first).
    """

    tweet_id: Id
    author_id: Id
    first_follower_id: Id
    last_follower_id: Id | None = None
    generation: Name | None = None


class BackfillChunk(Event, frozen=True, kw_only=True):
    """An author's recent tweets are to be added to the timelines of a range of followers."""

    author_id: Id
    first_follower_id: Id
    last_follower_id: Id | None = None
    generation: Name | None = None


class RedriveRequested(Event, frozen=True, kw_only=True):
    """An operator sends a dead letter back to one unit.

    ``payload``, when given, replaces the original bytes. Of several decisions with one ``attempt``
    the first counts; a higher attempt says that those below it failed.
    """

    unit: Name
    topic: Name
    partition: Int32
    offset: Offset
    payload: bytes | None = None
    attempt: Int32 = 1
    actor: str = ""
    reason: str = ""


class LetterDiscarded(Event, frozen=True, kw_only=True):
    """An operator decides that a unit does without the record of a dead letter."""

    unit: Name
    topic: Name
    partition: Int32
    offset: Offset
    attempt: Int32 = 1
    actor: str = ""
    reason: str = ""


class OperatorActed(Event, frozen=True, kw_only=True):
    """An engineer did something to the running system."""

    actor: Name
    action: Name
    unit: str | None = None
    generation: str | None = None
    detail: str


EVENT_TYPES: Mapping[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
"""Every event type by its name."""

EVENT_TYPES_OF_TOPIC: Mapping[str, tuple[type[Event], ...]] = {
    name: tuple(EVENT_TYPES[event] for event in topic.events)
    for name, topic in catalog.topics().items()
}
"""Event types by the logical topic that may hold them."""

_TOPIC_OF: Mapping[type[Event], str] = {
    kind: name for name, kinds in EVENT_TYPES_OF_TOPIC.items() for kind in kinds
}


def _key_function(kind: type[Event]) -> Callable[[Event], bytes]:
    fields = catalog.topic(_TOPIC_OF[kind]).key
    if len(fields) == 1:
        of_one = attrgetter(fields[0])
        return lambda event: str(of_one(event)).encode()
    of_many = attrgetter(*fields)
    return lambda event: ":".join(map(str, of_many(event))).encode()


_KEY_OF: Mapping[type[Event], Callable[[Event], bytes]] = {
    kind: _key_function(kind) for kind in EVENT_TYPES.values()
}


def topic_of(event: Event) -> str:
    """Logical name of the topic that an event belongs to."""
    return _TOPIC_OF[type(event)]


def key_of(event: Event) -> bytes:
    """The record key of an event: its topic's key fields as text, joined by ``:``."""
    return _KEY_OF[type(event)](event)


def checked_fields(event: Event) -> dict[str, Any]:
    """An event's fields as plain values (nested structs as dicts), each checked for type and range.

    Raises:
        InvalidEvent: A field is not what its schema allows; the error names it.
    """
    kind = type(event)
    try:
        fields: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes,))
        msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _invalid(kind.__name__, error) from error
    except (TypeError, OverflowError) as error:
        raise InvalidEvent(str(error), event_type=kind.__name__, field="") from error
    return fields


def from_object(fields: Mapping[str, Any]) -> Event:
    """Build an event from plain JSON-like fields, its name under ``type``.

    Raises:
        InvalidEvent: The type is unknown, or a field is missing, unknown or ill-typed.
    """
    name = fields.get("type")
    kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidEvent(f"no event type {name!r:.80}", event_type=str(name), field="type")
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _invalid(kind.__name__, error) from error


def _invalid(name: str, error: msgspec.ValidationError) -> InvalidEvent:
    what, _, where = str(error).partition(" - at `$")
    field = where.rstrip("`").removeprefix(".")
    if (
        not field and "`" in what
    ):  # "Object missing required field `x`", "… contains unknown field `x`"
        field = what.rsplit("`", 2)[1]
    return InvalidEvent(what, event_type=name, field=field)
