"""Users, their names, whom they follow, what they do: topics ``users``, ``usernames``,
``social-graph`` and ``user-activity``.
"""

from __future__ import annotations

from events.kinds.base import Event, Id, Millis, Name

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


class DeliveryAddressProposed(Event, frozen=True, kw_only=True):
    """A user says that he is reached there; whoever reads there is to confirm it first.

    The last one counts, until an address of its channel is added or removed.
    """

    user_id: Id
    channel: Name
    address: Name


class DeliveryAddressAdded(Event, frozen=True, kw_only=True):
    """A user wants to be reached there; an address that is there already gets these keys.

    ``channel`` is ``web-push``, with the endpoint of a subscription and its keys, or ``email``.
    """

    user_id: Id
    channel: Name
    address: Name
    p256dh: str = ""
    auth: str = ""


class DeliveryAddressRemoved(Event, frozen=True, kw_only=True):
    """A user is not to be reached there any more."""

    user_id: Id
    channel: Name
    address: Name


class PreferencesChanged(Event, frozen=True, kw_only=True):
    """A user changed switches; those not named stay as they were."""

    user_id: Id
    preferences: dict[str, bool]
