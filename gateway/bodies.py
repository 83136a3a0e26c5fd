"""The JSON that clients send, and the JSON that they get, as types.

What is sent is validated against these types and what ``/openapi.json`` says is written from them,
so the two cannot differ. What is answered is spliced from the projections' fragments; tests decode
real answers with the types below, strictly, so that they stay true as well.

Ids are numeric strings, because JavaScript's numbers cannot hold them; times are RFC 3339 in UTC
with milliseconds; names of fields are X's.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from events.types import Latitude, Longitude
from gateway.limits import (
    DESCRIPTION_CODE_POINTS_MAX,
    LIST_DESCRIPTION_CODE_POINTS_MAX,
    LIST_NAME_CODE_POINTS_MAX,
    LOCATION_CODE_POINTS_MAX,
    MEDIA_MAX,
    NAME_CODE_POINTS_MAX,
    URL_CODE_POINTS_MAX,
    VIEWS_MAX,
)

Meta = msgspec.Meta

END = r"(?![\s\S])"
"""The end of the text: what ``$`` means in JSON Schema, but not in Python before a newline."""

IdText: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,18}" + END,
        description="An id, as a numeric string.",
        examples=["20"],
    ),
]
Time: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" + END,
        description="RFC 3339 in UTC with milliseconds.",
    ),
]
Username: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_]{1,15}" + END,
        description="1 to 15 letters, digits and underscores; unique without regard to case.",
    ),
]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=NAME_CODE_POINTS_MAX)]
Description: TypeAlias = Annotated[str, Meta(max_length=DESCRIPTION_CODE_POINTS_MAX)]
ListName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LIST_NAME_CODE_POINTS_MAX)]
ListDescription: TypeAlias = Annotated[str, Meta(max_length=LIST_DESCRIPTION_CODE_POINTS_MAX)]
Location: TypeAlias = Annotated[str, Meta(max_length=LOCATION_CODE_POINTS_MAX)]
Url: TypeAlias = Annotated[
    str,
    Meta(
        max_length=URL_CODE_POINTS_MAX,
        pattern=r"^(https?://[^\s<>\"]+)?" + END,
        description="An http or https URL, or an empty string.",
    ),
]
MediaId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}" + END)]


class _Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients send; a field that we do not know is a mistake that they want to see."""


class NewUser(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/users``."""

    username: Username
    name: Name
    description: Description = ""
    location: Location = ""
    url: Url = ""
    profile_image_url: Url = ""


class ProfileEdit(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """Body of ``PATCH /api/users/me``: the fields to change."""

    name: Name | None = None
    description: Description | None = None
    location: Location | None = None
    url: Url | None = None
    profile_image_url: Url | None = None


class SentPoint(_Sent, frozen=True, kw_only=True):
    """A GeoJSON point: longitude, then latitude."""

    type: Literal["Point"]
    coordinates: tuple[Longitude, Latitude]


class SentGeo(_Sent, frozen=True, kw_only=True):
    """Where a tweet is from: a point, a place by its WOEID (with its country's), or both."""

    coordinates: SentPoint | None = None
    woeid: IdText | None = None
    country_woeid: IdText | None = None


class NewTweet(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/tweets``."""

    text: Annotated[
        str,
        Meta(
            max_length=1120,
            description="At most 280 Unicode code points after NFC; blank only with media.",
        ),
    ] = ""
    media_ids: Annotated[list[MediaId], Meta(max_length=MEDIA_MAX)] = []
    reply_to: IdText | None = None
    quote_tweet_id: IdText | None = None
    geo: SentGeo | None = None


class Target(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/users/{me}/follow``, ``block`` and ``mute``."""

    target_user_id: IdText


class PinnedTweet(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/users/{me}/pinned_tweet``."""

    tweet_id: IdText


class SeenTweets(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/tweets/views``."""

    tweet_ids: Annotated[list[IdText], Meta(min_length=1, max_length=VIEWS_MAX)]


class NewList(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/lists``."""

    name: ListName
    description: ListDescription = ""
    private: bool = False


class ListEdit(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """Body of ``PATCH /api/lists/{id}``: the fields to change."""

    name: ListName | None = None
    description: ListDescription | None = None
    private: bool | None = None


class NewMember(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/lists/{id}/members``."""

    user_id: IdText


class ReadUpTo(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/notifications/read``."""

    up_to_id: IdText


class InAppSwitches(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """What is listed in the app."""

    mention: bool | None = None
    reply: bool | None = None
    quote: bool | None = None
    retweet: bool | None = None
    like: bool | None = None
    follow: bool | None = None
    trend: bool | None = None


class PushSwitches(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """What is pushed."""

    mention: bool | None = None
    reply: bool | None = None
    quote: bool | None = None
    retweet: bool | None = None
    trend: bool | None = None


class EmailSwitches(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """How often a digest of what is unread is mailed."""

    daily: bool | None = None
    weekly: bool | None = None


class NotificationPreferences(_Sent, frozen=True, kw_only=True, omit_defaults=True):
    """Body of ``PUT /api/notifications/preferences``: the switches to change."""

    in_app: InAppSwitches = InAppSwitches()
    push: PushSwitches = PushSwitches()
    email: EmailSwitches = EmailSwitches()


class PushKeys(_Sent, frozen=True, kw_only=True):
    """Keys of a browser's push subscription, base64url."""

    p256dh: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{80,100}={0,2}" + END)]
    auth: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,40}={0,2}" + END)]


class PushSubscription(_Sent, frozen=True, kw_only=True):
    """Body of ``POST /api/notifications/subscriptions``: what a browser gives, as JSON."""

    endpoint: Annotated[str, Meta(pattern=r"^https?://[!-~]+" + END, max_length=1000)]
    keys: PushKeys
    expirationTime: int | None = None  # noqa: N815 - the browser's name for it


class EndedSubscription(_Sent, frozen=True, kw_only=True):
    """Body of ``DELETE /api/notifications/subscriptions``."""

    endpoint: Annotated[str, Meta(min_length=1, max_length=1000)]


class EmailAddress(_Sent, frozen=True, kw_only=True):
    """Body of ``PUT /api/notifications/email``; an empty address ends it."""

    address: Annotated[str, Meta(pattern=r"^([^@\s<>,;]+@[^@\s<>,;]+)?" + END, max_length=254)]
