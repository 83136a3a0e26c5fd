"""What the generator remembers: who follows whom, and tweets that one could answer.

Bounded: ties by the number of follows alive, tweets by `TWEETS_MAX` and `ATTENTION_MAX`, acts
that can be taken back by `REVERSIBLE_MAX`.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Generic, TypeVar

from events.types import TweetPosted

TWEETS_MAX = 20_000
HOT_MAX = 200
ATTENTION_MAX = 5_000
NEW_SHARE = 0.2
NEWEST_MEAN = 30.0
REVERSIBLE_MAX = 2_000

T = TypeVar("T")


class Ties:
    """Directed ties between people, by index: random picks and removals in O(1)."""

    def __init__(self) -> None:
        self._targets: dict[int, list[int]] = defaultdict(list)
        self._place: dict[tuple[int, int], int] = {}

    def __contains__(self, tie: tuple[int, int]) -> bool:
        return tie in self._place

    def add(self, user: int, target: int) -> bool:
        """Add a tie; false when it was there."""
        if (user, target) in self._place:
            return False
        targets = self._targets[user]
        self._place[user, target] = len(targets)
        targets.append(target)
        return True

    def remove(self, user: int, target: int) -> bool:
        """Remove a tie; false when there was none."""
        place = self._place.pop((user, target), None)
        if place is None:
            return False
        targets = self._targets[user]
        last = targets.pop()
        if last != target:
            targets[place] = last
            self._place[user, last] = place
        return True

    def pick(self, random: Random, user: int) -> int | None:
        """Somebody this user is tied to."""
        targets = self._targets[user]
        return targets[int(random.random() * len(targets))] if targets else None


class Reversible(Generic[T]):
    """Acts that may be taken back later: unfollows, blocks, mutes, likes."""

    def __init__(self) -> None:
        self._acts: list[T] = []

    def add(self, random: Random, act: T) -> None:
        """Remember an act; a full memory forgets a random one."""
        if len(self._acts) < REVERSIBLE_MAX:
            self._acts.append(act)
        else:
            self._acts[int(random.random() * REVERSIBLE_MAX)] = act

    def take(self, random: Random) -> T | None:
        """Forget a random act and return it."""
        return _take(random, self._acts)


class Tweets:
    """A sample of the tweets so far, and those that are talked about right now."""

    def __init__(self) -> None:
        self._sample: list[TweetPosted] = []
        self._hot: list[TweetPosted] = []
        self._attention: list[TweetPosted] = []

    def add(self, random: Random, tweet: TweetPosted) -> None:
        """Remember a tweet; a full sample forgets a random one."""
        if len(self._sample) < TWEETS_MAX:
            self._sample.append(tweet)
        else:
            self._sample[int(random.random() * TWEETS_MAX)] = tweet

    def pick(self, random: Random) -> TweetPosted | None:
        """A tweet to react to; reacting to one makes it hot, and so more often picked."""
        if not self._sample:
            return None
        if self._hot and random.random() < 0.6:
            return self._hot[int(random.random() * len(self._hot))]
        tweet = self._sample[int(random.random() * len(self._sample))]
        if len(self._hot) < HOT_MAX:
            self._hot.append(tweet)
        else:
            self._hot[int(random.random() * HOT_MAX)] = tweet
        return tweet

    def pick_seen(self, random: Random) -> TweetPosted | None:
        """A tweet to like or look at: a new one, or one that others looked at.

        Of those looked at, each is as likely as it was looked at lately (H. A. Simon's process), so
        that attention falls with rank as a power: a few tweets get most of it.
        """
        if not self._sample:
            return None
        if self._attention and random.random() >= NEW_SHARE:
            tweet = self._attention[int(random.random() * len(self._attention))]
        else:
            age = min(int(random.expovariate(1 / NEWEST_MEAN)), len(self._sample) - 1)
            tweet = self._sample[-1 - age]
        if len(self._attention) < ATTENTION_MAX:
            self._attention.append(tweet)
        else:
            self._attention[int(random.random() * ATTENTION_MAX)] = tweet
        return tweet

    def take(self, random: Random) -> TweetPosted | None:
        """Forget a random tweet of the sample and return it, for its author to delete."""
        return _take(random, self._sample)


def _take(random: Random, bag: list[T]) -> T | None:
    """Remove a random element in O(1)."""
    if not bag:
        return None
    place = int(random.random() * len(bag))
    bag[place], bag[-1] = bag[-1], bag[place]
    return bag.pop()
