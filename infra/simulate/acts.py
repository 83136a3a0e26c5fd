"""Single acts of simulated users: each returns the event it causes, or None if there is none.

`ACTS` says how often each happens; the figures are guesses at a lively network, with far more
conflict than a real one has, since conflict is what timelines get wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from events.types import (
    Event,
    Place,
    ProfileChanged,
    TweetDeleted,
    TweetLiked,
    TweetPinned,
    TweetPosted,
    TweetUnliked,
    TweetUnpinned,
    TweetViewed,
    UserBlocked,
    UserDeactivated,
    UserErased,
    UserFollowed,
    UserMuted,
    UserReactivated,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)
from infra.simulate.collecting import (
    add_to_list,
    bookmark,
    change_list,
    delete_list,
    make_list,
    remove_from_list,
    unbookmark,
)
from infra.simulate.life import Life
from infra.simulate.words import compose

Act: TypeAlias = Callable[[Life], Event | None]

PLACES = {
    "en": Place(44418, 23424975),
    "de": Place(638242, 23424829),
    "es": Place(766273, 23424950),
    "pt": Place(455827, 23424768),
    "ja": Place(1118370, 23424856),
}
"""The city, with its country, of those of a language who share theirs: one user in three."""

SOURCES = ("Murmur for Web", "Murmur for Phones", "Murmur Deck", "")
INACTIVE_SHARE_MAX = 0.03
ERASED_SHARE_MAX = 0.01
UNPIN_SHARE = 0.2
STRANGER_DELETES = 0.02  # of all deletions; a log must survive what a command would refuse


# --- tweets ---


def _compose(life: Life, user: int) -> str:
    mentions = [life.people[life.popular()].username] if life.random.random() < 0.12 else []
    trend = life.trend if life.random.random() < 0.7 else None
    return compose(life.random, life.people[user].language, mentions, trend)


def _original(life: Life, user: int) -> TweetPosted | None:
    """A tweet to react to that is no retweet, and whose author has not fallen out with the user."""
    return _between_friends(life, user, life.tweets.pick(life.random))


def _between_friends(life: Life, user: int, tweet: TweetPosted | None) -> TweetPosted | None:
    if tweet is None or tweet.retweet_of_id is not None:
        return None
    return None if life.block_between(user, life.index_of[tweet.user_id]) else tweet


def _new_tweet(life: Life, user: int, reply_to: TweetPosted | None) -> TweetPosted:
    tweet_id, stamp = life.new_id(), life.stamp()
    tweet = TweetPosted(
        **stamp,
        tweet_id=tweet_id,
        user_id=life.user_id(user),
        text=_compose(life, user),
        created_at=stamp["occurred_at"],
        lang=life.people[user].language,
        conversation_id=reply_to.conversation_id if reply_to else tweet_id,
        reply_to_id=reply_to.tweet_id if reply_to else None,
        reply_to_user_id=reply_to.user_id if reply_to else None,
        source=SOURCES[int(life.random.random() * len(SOURCES))],
        place=PLACES.get(life.people[user].language) if user % 3 == 0 else None,
    )
    life.tweets.add(life.random, tweet)
    return tweet


def post(life: Life) -> Event | None:
    """A plain tweet."""
    return _new_tweet(life, life.actor(), None)


def reply(life: Life) -> Event | None:
    """An answer to what is talked about."""
    user = life.actor()
    tweet = _original(life, user)
    return _new_tweet(life, user, tweet) if tweet else None


def continue_thread(life: Life) -> Event | None:
    """An author answers himself."""
    tweet = life.tweets.pick(life.random)
    if tweet is None or tweet.retweet_of_id is not None:
        return None
    author = life.index_of[tweet.user_id]
    gone = author in life.erased or author in life.inactive
    return None if gone else _new_tweet(life, author, tweet)


def quote(life: Life) -> Event | None:
    """A tweet about another."""
    user = life.actor()
    quoted = _original(life, user)
    if quoted is None:
        return None
    tweet_id, stamp = life.new_id(), life.stamp()
    tweet = TweetPosted(
        **stamp,
        tweet_id=tweet_id,
        user_id=life.user_id(user),
        text=_compose(life, user),
        created_at=stamp["occurred_at"],
        lang=life.people[user].language,
        conversation_id=tweet_id,
        quote_of_id=quoted.tweet_id,
        quote_of_user_id=quoted.user_id,
    )
    life.tweets.add(life.random, tweet)
    return tweet


def retweet(life: Life) -> Event | None:
    """What is talked about goes on to one's own followers."""
    user = life.actor()
    original = _original(life, user)
    if original is None:
        return None
    tweet_id, stamp = life.new_id(), life.stamp()
    tweet = TweetPosted(
        **stamp,
        tweet_id=tweet_id,
        user_id=life.user_id(user),
        text="",
        created_at=stamp["occurred_at"],
        conversation_id=tweet_id,
        retweet_of_id=original.tweet_id,
        retweet_of_user_id=original.user_id,
    )
    life.tweets.add(life.random, tweet)
    return tweet


def delete(life: Life) -> Event | None:
    """An author deletes a tweet; rarely a stranger claims to, which must change nothing."""
    tweet = life.tweets.take(life.random)
    if tweet is None:
        return None
    stranger = life.random.random() < STRANGER_DELETES
    return TweetDeleted(
        **life.stamp(),
        tweet_id=tweet.tweet_id,
        user_id=life.user_id(life.actor()) if stranger else tweet.user_id,
        conversation_id=tweet.conversation_id,
        reply_to_id=tweet.reply_to_id,
        reply_to_user_id=tweet.reply_to_user_id,
        quote_of_id=tweet.quote_of_id,
        quote_of_user_id=tweet.quote_of_user_id,
        retweet_of_id=tweet.retweet_of_id,
        retweet_of_user_id=tweet.retweet_of_user_id,
    )


# --- engagements ---


def like(life: Life) -> Event | None:
    """A like of what is new, or of what others like and look at; now and then a second one."""
    user = life.actor()
    tweet = _between_friends(life, user, life.tweets.pick_seen(life.random))
    if tweet is None:
        return None
    life.liked.add(life.random, (user, tweet.tweet_id, tweet.user_id))
    return TweetLiked(
        **life.stamp(),
        tweet_id=tweet.tweet_id,
        tweet_author_id=tweet.user_id,
        user_id=life.user_id(user),
    )


def unlike(life: Life) -> Event | None:
    """A like taken back."""
    liked = life.liked.take(life.random)
    if liked is None:
        return None
    user, tweet_id, author_id = liked
    return TweetUnliked(
        **life.stamp(), tweet_id=tweet_id, tweet_author_id=author_id, user_id=life.user_id(user)
    )


def view(life: Life) -> Event | None:
    """A tweet seen, half the time by somebody not signed in."""
    tweet = life.tweets.pick_seen(life.random)
    if tweet is None:
        return None
    viewer = life.user_id(life.actor()) if life.random.random() < 0.5 else None
    return TweetViewed(**life.stamp(), tweet_id=tweet.tweet_id, user_id=viewer)


# --- graph ---


def new_follow(life: Life, user: int, target: int) -> Event | None:
    """A follow, unless it is there already, of oneself, or across a block."""
    if user == target or target in life.erased or life.block_between(user, target):
        return None
    if not life.follows.add(user, target):
        return None
    return UserFollowed(
        **life.stamp(), user_id=life.user_id(user), target_user_id=life.user_id(target)
    )


def follow(life: Life) -> Event | None:
    """Somebody popular, or the author of something read."""
    user = life.actor()
    if life.random.random() < 0.6:
        return new_follow(life, user, life.popular())
    tweet = life.tweets.pick(life.random)
    return new_follow(life, user, life.index_of[tweet.user_id]) if tweet else None


def unfollow(life: Life) -> Event | None:
    """One of those followed."""
    user = life.actor()
    target = life.follows.pick(life.random, user)
    if target is None:
        return None
    life.follows.remove(user, target)
    life.unfollowed.add(life.random, (user, target))
    return UserUnfollowed(
        **life.stamp(), user_id=life.user_id(user), target_user_id=life.user_id(target)
    )


def refollow(life: Life) -> Event | None:
    """Second thoughts."""
    pair = life.unfollowed.take(life.random)
    return new_follow(life, pair[0], pair[1]) if pair else None


def block(life: Life) -> Event | None:
    """Half the time somebody followed, else the author of something read."""
    user = life.actor()
    target = life.follows.pick(life.random, user) if life.random.random() < 0.5 else None
    if target is None:
        tweet = life.tweets.pick(life.random)
        target = life.index_of[tweet.user_id] if tweet else user
    if target == user or not life.blocks.add(user, target):
        return None
    if life.follows.remove(user, target):
        life.unfollowed.add(life.random, (user, target))
    life.follows.remove(target, user)
    life.blocked.add(life.random, (user, target))
    return UserBlocked(
        **life.stamp(), user_id=life.user_id(user), target_user_id=life.user_id(target)
    )


def unblock(life: Life) -> Event | None:
    """Peace; follows stay severed until somebody follows again."""
    pair = life.blocked.take(life.random)
    if pair is None:
        return None
    life.blocks.remove(pair[0], pair[1])
    return UserUnblocked(
        **life.stamp(), user_id=life.user_id(pair[0]), target_user_id=life.user_id(pair[1])
    )


def mute(life: Life) -> Event | None:
    """Mostly somebody followed."""
    user = life.actor()
    target = life.follows.pick(life.random, user) or life.popular()
    if target == user:
        return None
    life.muted.add(life.random, (user, target))
    return UserMuted(
        **life.stamp(), user_id=life.user_id(user), target_user_id=life.user_id(target)
    )


def unmute(life: Life) -> Event | None:
    """Curiosity."""
    pair = life.muted.take(life.random)
    if pair is None:
        return None
    return UserUnmuted(
        **life.stamp(), user_id=life.user_id(pair[0]), target_user_id=life.user_id(pair[1])
    )


# --- accounts ---


def change_profile(life: Life) -> Event | None:
    """A new name or place."""
    user = life.actor()
    person = life.people[user]
    if life.random.random() < 0.5:
        name = f"{person.name} {life.random.choice('★☀☂♫')}"
        return ProfileChanged(**life.stamp(), user_id=person.user_id, name=name)
    location = life.random.choice(("", "Ulm", "São Paulo", "東京", "Oaxaca"))
    return ProfileChanged(**life.stamp(), user_id=person.user_id, location=location)


def pin(life: Life) -> Event | None:
    """An author pins a tweet, most often; or unpins what is pinned, if anything."""
    tweet = life.tweets.pick(life.random)
    if tweet is None or tweet.retweet_of_id is not None:
        return None
    if life.index_of[tweet.user_id] in life.erased:
        return None
    if life.random.random() < UNPIN_SHARE:
        return TweetUnpinned(**life.stamp(), user_id=tweet.user_id)
    return TweetPinned(**life.stamp(), user_id=tweet.user_id, tweet_id=tweet.tweet_id)


def deactivate(life: Life) -> Event | None:
    """A user leaves, for now."""
    if len(life.inactive) >= INACTIVE_SHARE_MAX * len(life.people):
        return None
    user = life.actor()
    life.inactive.append(user)
    return UserDeactivated(**life.stamp(), user_id=life.user_id(user))


def reactivate(life: Life) -> Event | None:
    """The one who left first comes back."""
    if not life.inactive:
        return None
    return UserReactivated(**life.stamp(), user_id=life.user_id(life.inactive.pop(0)))


def erase(life: Life) -> Event | None:
    """A user leaves for good."""
    if len(life.erased) >= ERASED_SHARE_MAX * len(life.people):
        return None
    user = life.actor()
    life.erased.add(user)
    return UserErased(**life.stamp(), user_id=life.user_id(user))


ACTS: tuple[tuple[float, Act], ...] = (
    (34.0, post),
    (12.0, reply),
    (3.0, continue_thread),
    (14.0, retweet),
    (3.0, quote),
    (3.0, delete),
    (16.0, like),
    (2.0, unlike),
    (8.0, view),
    (8.0, follow),
    (3.0, unfollow),
    (1.5, refollow),
    (1.0, block),
    (0.6, unblock),
    (1.0, mute),
    (0.6, unmute),
    (0.4, change_profile),
    (0.2, pin),
    (0.3, deactivate),
    (0.15, reactivate),
    (0.03, erase),
    (0.3, make_list),
    (0.1, change_list),
    (0.05, delete_list),
    (1.5, add_to_list),
    (0.5, remove_from_list),
    (1.0, bookmark),
    (0.3, unbookmark),
)
"""Relative frequency of each act."""
