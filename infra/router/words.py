"""What a notification says to a person, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from projections.notifications.layout import FOLLOW, LIKE, MENTION, QUOTE, REPLY, RETWEET

_DID = {
    MENTION: "mentioned you",
    REPLY: "replied to you",
    QUOTE: "quoted your tweet",
    RETWEET: "retweeted your tweet",
    LIKE: "liked your tweet",
    FOLLOW: "followed you",
}


def sentence(kind: str, names: Sequence[str], count: int) -> str:
    """Returns such as ``@a, @b and 47,382 others liked your tweet``.

    Args:
        kind: One of ``projections.notifications.layout.KINDS`` that names people.
        names: The newest first; one at least.
        count: How many it were.
    """
    shown = [f"@{name}" for name in names[:2]] if count > 2 else [f"@{name}" for name in names]
    others = count - len(shown)
    if others > 0:
        who = f"{', '.join(shown)} and {others:,} other{'s' if others > 1 else ''}"
    else:
        who = " and ".join(shown)
    return f"{who} {_DID[kind]}"


def trending(names: Sequence[str]) -> str:
    """Returns such as ``#derby, #storm and 2 others are trending``.

    Args:
        names: The highest first; one at least.
    """
    others = len(names) - 2
    if others > 0:
        return f"{', '.join(names[:2])} and {others} other{'s' if others > 1 else ''} are trending"
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} trending"
