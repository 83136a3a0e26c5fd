"""Acts of simulated users about lists and bookmarks; see :mod:`infra.simulate.acts`.

Bounded by: `LISTS_MAX` lists remembered, `REVERSIBLE_MAX` of the rest.
"""

from __future__ import annotations

from random import Random

from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
    TweetBookmarked,
    TweetUnbookmarked,
)
from infra.simulate.life import Life

LISTS_MAX = 300
NAMES = ("Friends", "News", "Football", "Food", "Birds", "ニュース", "Música")
PRIVATE_SHARE = 0.3
STRANGERS = 0.03  # of what is said of lists; a log must survive what a command would refuse

OwnedList = tuple[int, int]
"""A person and a list id."""


def _pick(life: Life) -> OwnedList | None:
    return life.lists[int(life.random.random() * len(life.lists))] if life.lists else None


def _speaker(life: Life, owner: int) -> int:
    """Mostly the owner; rarely somebody to whom the list does not belong."""
    stranger = life.random.random() < STRANGERS
    return life.user_id(life.actor() if stranger else owner)


def make_list(life: Life) -> Event | None:
    """A new list, as long as there are few."""
    if len(life.lists) >= LISTS_MAX:
        return None
    user, list_id = life.actor(), life.new_id()
    life.lists.append((user, list_id))
    return ListCreated(
        **life.stamp(),
        list_id=list_id,
        user_id=life.user_id(user),
        name=_name(life.random),
        description="",
        private=life.random.random() < PRIVATE_SHARE,
    )


def change_list(life: Life) -> Event | None:
    """Another name."""
    found = _pick(life)
    if found is None:
        return None
    speaker = _speaker(life, found[0])
    return ListChanged(**life.stamp(), list_id=found[1], user_id=speaker, name=_name(life.random))


def delete_list(life: Life) -> Event | None:
    """A list is gone, unless it was a stranger who said so; others may go on to speak of it."""
    found = _pick(life)
    if found is None:
        return None
    return ListDeleted(**life.stamp(), list_id=found[1], user_id=_speaker(life, found[0]))


def add_to_list(life: Life) -> Event | None:
    """Somebody popular comes into a list."""
    found = _pick(life)
    if found is None:
        return None
    owner, list_id = found
    member = life.popular()
    if (member, owner) in life.blocks:
        return None
    life.listed.add(life.random, (owner, list_id, member))
    return ListMemberAdded(
        **life.stamp(),
        list_id=list_id,
        user_id=_speaker(life, owner),
        member_id=life.user_id(member),
    )


def remove_from_list(life: Life) -> Event | None:
    """Somebody is taken out of a list."""
    found = life.listed.take(life.random)
    if found is None:
        return None
    owner, list_id, member = found
    return ListMemberRemoved(
        **life.stamp(),
        list_id=list_id,
        user_id=_speaker(life, owner),
        member_id=life.user_id(member),
    )


def bookmark(life: Life) -> Event | None:
    """A tweet to come back to."""
    user = life.actor()
    tweet = life.tweets.pick_seen(life.random)
    if tweet is None or tweet.retweet_of_id is not None:
        return None
    life.bookmarked.add(life.random, (user, tweet.tweet_id))
    return TweetBookmarked(**life.stamp(), user_id=life.user_id(user), tweet_id=tweet.tweet_id)


def unbookmark(life: Life) -> Event | None:
    """A bookmark taken back."""
    found = life.bookmarked.take(life.random)
    if found is None:
        return None
    return TweetUnbookmarked(**life.stamp(), user_id=life.user_id(found[0]), tweet_id=found[1])


def _name(random: Random) -> str:
    return NAMES[int(random.random() * len(NAMES))]
