"""Every event, as the code sees it: one frozen struct per schema in ``schemas/avro``.

The structs are in :mod:`events.kinds`, and imported from here.

Keeps true: a struct has exactly the fields of its newest schema (a test compares them);
``schemas/topics.yaml`` says which topic an event belongs to and what its key is made of, and this
module reads both from there.

Ids are 64-bit Snowflake integers, times are integer milliseconds since the Unix epoch. A field
that defaults to ``None`` is optional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from events.errors import InvalidEvent
from events.kinds.base import (
    INT64_MAX,
    Event,
    Id,
    Millis,
)
from events.kinds.lists import (
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
)
from events.kinds.operations import (
    BackfillChunk,
    FanOutChunk,
    LetterDiscarded,
    OperatorActed,
    RedriveRequested,
)
from events.kinds.tweets import (
    Coordinates,
    Latitude,
    Longitude,
    Place,
    TweetBookmarked,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnbookmarked,
    TweetUnliked,
    TweetViewed,
)
from events.kinds.users import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    NotificationsRead,
    PreferencesChanged,
    ProfileChanged,
    SearchPerformed,
    TimelineOpened,
    TweetPinned,
    TweetUnpinned,
    UserBlocked,
    UserDeactivated,
    UserErased,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UsernameReleased,
    UserReactivated,
    UserRegistered,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)
from schemas import catalog

__all__ = [
    "EVENT_TYPES",
    "EVENT_TYPES_OF_TOPIC",
    "INT64_MAX",
    "BackfillChunk",
    "Coordinates",
    "DeliveryAddressAdded",
    "DeliveryAddressProposed",
    "DeliveryAddressRemoved",
    "Event",
    "FanOutChunk",
    "Id",
    "Latitude",
    "LetterDiscarded",
    "ListChanged",
    "ListCreated",
    "ListDeleted",
    "ListMemberAdded",
    "ListMemberRemoved",
    "Longitude",
    "Millis",
    "NotificationsRead",
    "OperatorActed",
    "Place",
    "PreferencesChanged",
    "ProfileChanged",
    "RedriveRequested",
    "SearchPerformed",
    "TimelineOpened",
    "TweetBookmarked",
    "TweetDeleted",
    "TweetLiked",
    "TweetPinned",
    "TweetPosted",
    "TweetUnbookmarked",
    "TweetUnliked",
    "TweetUnpinned",
    "TweetViewed",
    "UserBlocked",
    "UserDeactivated",
    "UserErased",
    "UserFollowed",
    "UserMuted",
    "UserReactivated",
    "UserRegistered",
    "UserUnblocked",
    "UserUnfollowed",
    "UserUnmuted",
    "UsernameClaimed",
    "UsernameReleased",
    "checked_fields",
    "from_object",
    "key_of",
    "topic_of",
]

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
