"""The JSON of notifications that clients get, as types; see :mod:`gateway.answers`."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.answers import Included, PageMeta, _Answer
from gateway.bodies import IdText, NotificationPreferences, Time


class BegunTrend(_Answer, frozen=True, kw_only=True):
    """What began to trend: ``query`` finds its tweets, ``author_count`` were they by then."""

    name: str
    query: str
    author_count: int


class Notification(_Answer, frozen=True, kw_only=True):
    """What one or several others did: ``@a, @b and 47,382 others liked your tweet``.

    ``count`` is exact, whoever is active; ``user_ids`` are the newest of them. ``tweet_id`` is the
    tweet that was liked or retweeted, or the one that answers, quotes or mentions. ``latest_id`` is
    what to send as ``up_to_id`` when it was read. One of type ``trend`` names nobody: ``trends``
    are what began to trend worldwide at that time, the highest first.
    """

    id: str
    type: Literal["mention", "reply", "quote", "retweet", "like", "follow", "trend"]
    latest_id: IdText
    created_at: Time
    unread: bool
    count: int
    user_ids: list[IdText]
    tweet_id: IdText | None = None
    trends: list[BegunTrend] = msgspec.field(default_factory=list)


class NotificationMeta(PageMeta, frozen=True, kw_only=True):
    """As of any page; ``read_up_to`` is the id up to which one has read."""

    read_up_to: IdText | None = None


class NotificationPage(_Answer, frozen=True, kw_only=True):
    """A page of notifications, newest first."""

    data: list[Notification]
    includes: Included
    meta: NotificationMeta


class Unread(_Answer, frozen=True, kw_only=True):
    """How many notifications are unread; 100 stands for more."""

    unread_count: int


class UnreadAnswer(_Answer, frozen=True, kw_only=True):
    """The unread count."""

    data: Unread


class UpTo(_Answer, frozen=True, kw_only=True):
    """Up to which id notifications are read."""

    read_up_to: IdText


class ReadUpToAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of saying what was read."""

    data: UpTo


class PreferencesAnswer(_Answer, frozen=True, kw_only=True):
    """Every switch as it stands."""

    data: NotificationPreferences


class Subscribed(_Answer, frozen=True, kw_only=True):
    """Whether the subscription is pushed to."""

    subscribed: bool


class SubscribedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of the commands about subscriptions."""

    data: Subscribed


class PushKey(_Answer, frozen=True, kw_only=True):
    """What a browser subscribes with (``applicationServerKey``), base64url."""

    public_key: str


class PushKeyAnswer(_Answer, frozen=True, kw_only=True):
    """The key that pushes are signed with, its public half."""

    data: PushKey


class Email(_Answer, frozen=True, kw_only=True):
    """Where digests go, empty for nowhere; and the address that waits to be confirmed."""

    address: str
    pending: str = ""


class EmailAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of saying where digests go."""

    data: Email
