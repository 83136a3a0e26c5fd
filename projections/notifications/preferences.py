"""What a user can switch, by name, and how it is where he said nothing.

The matrix of what is delivered where (``docs/notifications.md``): mentions, replies, quotes and
retweets are pushed, likes and follows are told in the app only, trends are for those who ask, in
the app and by push.
"""

from __future__ import annotations

from collections.abc import Mapping

from projections.notifications.layout import (
    FOLLOW,
    LIKE,
    MENTION,
    QUOTE,
    REPLY,
    RETWEET,
    TREND,
)

IN_APP, PUSH, EMAIL = CHANNELS = ("in_app", "push", "email")

DEFAULTS: Mapping[str, Mapping[str, bool]] = {
    IN_APP: dict.fromkeys((MENTION, REPLY, QUOTE, RETWEET, LIKE, FOLLOW), True) | {TREND: False},
    PUSH: dict.fromkeys((MENTION, REPLY, QUOTE, RETWEET), True) | {TREND: False},
    EMAIL: dict.fromkeys(("daily", "weekly"), False),
}
"""Switches by channel; what is not here cannot be switched and is not delivered."""


def name_of(channel: str, switch: str) -> str:
    """Returns the name of a switch as events have it."""
    return f"{channel}.{switch}"


def is_on(preferences: Mapping[str, bool], channel: str, switch: str) -> bool:
    """Whether something is to be delivered.

    Args:
        preferences: What the user said, by name.
        channel: One of ``CHANNELS``.
        switch: A kind of notification; of e-mail how often.
    """
    default = DEFAULTS[channel].get(switch, False)
    return preferences.get(name_of(channel, switch), default)


def all_of(preferences: Mapping[str, bool]) -> dict[str, dict[str, bool]]:
    """Returns every switch by channel as it stands."""
    return {
        channel: {switch: is_on(preferences, channel, switch) for switch in switches}
        for channel, switches in DEFAULTS.items()
    }
