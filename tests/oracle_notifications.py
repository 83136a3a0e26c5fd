"""The oracle's part for notifications, as plain Python over the records of the log.

The sentences
- A user is told of what others do, never of his own acts.
- *Like*: of one tweet one notification, whoever likes it. Who likes it is the last of TweetLiked
  and TweetUnliked by each about it that names the user as its author, and whose it is.
- *Retweet*: of one tweet one notification. A retweet stands unless its author ever deletes it,
  whichever came first; of two posts of one id the first counts. It says whose tweet it retweets.
- *Follow*: of each stretch of ids (``2^period_bits``, about 19 hours) one notification. Whoever
  follows him by the last of UserFollowed and UserUnfollowed is in the stretch of that event. (A
  block hides, it takes nothing back.)
- *Reply, quote, mention*: of one tweet one notification, and of one kind: a reply if it answers the
  user, else a quote if it quotes him, else a mention if it speaks to him by the name that he holds
  since before (``tests/oracle_talk.py``). A retweet speaks to nobody.
- A notification has acts: the id of each is the event's (like, follow) or the tweet's. An act
  counts unless between its actor and the user there is a block, or the user mutes him. Who is not
  active counts and is not named. A notification that can name nobody is not shown, nor is one about
  a tweet that nobody may see, nor one of a type that the user turned off.
- *Trend*: for those who turned it on, one notification for each window in which anything began to
  trend worldwide that is told (``tests/oracle_trends.py``); its acts are the terms.
- Newest first, by the newest act of somebody who is named. Names: the newest act first, each once.
- An address is there after the last that was said of it; with the keys of then. What was proposed
  last waits to be confirmed, unless an address of its channel was added or removed since.
- What was read is all up to the highest id that NotificationsRead ever named; what is newer is
  unread. Preferences: of each name the last that was said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from events.types import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    Event,
    NotificationsRead,
    PreferencesChanged,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from projections.text.entities import parse
from tests.oracle_log import LogFed, LogRecord

if TYPE_CHECKING:
    from tests.oracle import Oracle

PERIOD_BITS = 48
NAMES_PER_TWEET = 10


class Act(NamedTuple):
    """What somebody did, by the id that orders it."""

    at: int
    user_id: int


class Told(NamedTuple):
    """A notification: what it is, and who did it."""

    kind: str
    subject: int
    at: int
    acts: int
    users: list[int]


class NotificationFacts(LogFed):
    """What the log says, before anybody's filters. Feed it records, each partition in order."""

    def __init__(self, records: Iterable[LogRecord] = ()) -> None:
        # By whom it concerns and what: of each actor the id of the act, None once taken back.
        self.likes: dict[tuple[int, int], dict[int, int | None]] = defaultdict(dict)
        self.follows: dict[int, dict[int, int | None]] = defaultdict(dict)
        self.posted: dict[tuple[int, int], TweetPosted] = {}  # (tweet, author)
        self.deleted: set[tuple[int, int]] = set()
        self.read: dict[int, int] = defaultdict(int)
        self.preferences: dict[int, dict[str, bool]] = defaultdict(dict)
        # By user, channel and address the keys.
        self.addresses: dict[tuple[int, str, str], tuple[str, str]] = {}
        # By user and channel: the event, and the address.
        self.proposals: dict[tuple[int, str], tuple[int, str]] = {}
        super().__init__(records)

    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
        match event:
            case TweetLiked(tweet_id=tweet, tweet_author_id=author, user_id=user):
                self.likes[author, tweet][user] = event.event_id
            case TweetUnliked(tweet_id=tweet, tweet_author_id=author, user_id=user):
                self.likes[author, tweet][user] = None
            case UserFollowed(user_id=user, target_user_id=target):
                self.follows[target][user] = event.event_id
            case UserUnfollowed(user_id=user, target_user_id=target):
                self.follows[target][user] = None
            case TweetPosted(tweet_id=tweet, user_id=author):
                self.posted.setdefault((tweet, author), event)
            case NotificationsRead(user_id=user, up_to_id=up_to):
                self.read[user] = max(self.read[user], up_to)
            case PreferencesChanged(user_id=user, preferences=preferences):
                self.preferences[user] |= preferences
            case DeliveryAddressAdded(user_id=user, channel=channel, address=address):
                self.addresses[user, channel, address] = (event.p256dh, event.auth)
                self.proposals.pop((user, channel), None)
            case DeliveryAddressProposed(user_id=user, channel=channel, address=address):
                self.proposals[user, channel] = (event.event_id, address)
            case DeliveryAddressRemoved(user_id=user, channel=channel, address=address):
                self.addresses.pop((user, channel, address), None)
                self.proposals.pop((user, channel), None)
            case TweetDeleted(tweet_id=tweet, user_id=author):
                self.deleted.add((tweet, author))
            case _:
                pass  # accounts and the rest of the graph are no part of these facts

    def groups(self, user: int, period_bits: int = PERIOD_BITS) -> dict[tuple[str, int], list[Act]]:
        """The acts by others of what is told together, newest first."""
        found: dict[tuple[str, int], list[Act]] = defaultdict(list)
        for (author, tweet), likes in self.likes.items():
            if author == user:
                found["like", tweet] += _acts(likes)
        for act in _acts(self.follows[user]):
            found["follow", act.at >> period_bits << period_bits].append(act)
        for (tweet, author), post in self.posted.items():
            if post.retweet_of_user_id == user and (tweet, author) not in self.deleted:
                found["retweet", post.retweet_of_id or 0].append(Act(tweet, author))
        return {
            key: others
            for key, acts in found.items()
            if (others := sorted((act for act in acts if act.user_id != user), reverse=True))
        }

    def addressed(self, user: int, channel: str) -> list[tuple[str, str, str]]:
        """Where a user is to be reached, with the keys."""
        return sorted(
            (address, *keys)
            for (whose, how, address), keys in self.addresses.items()
            if (whose, how) == (user, channel)
        )

    def speaking(self, user: int, name: str = "") -> list[int]:
        """Tweets by others that answer or quote a user, or speak to a name, newest first."""
        return sorted(
            (
                tweet
                for (tweet, author), post in self.posted.items()
                if author != user
                and post.retweet_of_id is None
                and (user in (post.reply_to_user_id, post.quote_of_user_id) or name in _names(post))
            ),
            reverse=True,
        )


class NotificationsOracle:
    """Asks an oracle that was fed.

    Args:
        oracle: The oracle.
        trends: What began to trend: the window's end, the id it is told under, how many terms.
    """

    def __init__(self, oracle: Oracle, trends: Iterable[tuple[int, int, int]] = ()) -> None:
        self._oracle = oracle
        self._trends = [Told("trend", end, at, number, []) for end, at, number in trends]
        self._facts = oracle.notifications

    def list(self, user: int) -> list[Told]:
        """What a user is told, newest first."""
        off = self._facts.preferences[user]
        found = [
            told
            for told in (*self._grouped(user), *self._single(user), *self._trends)
            if off.get(f"in_app.{told.kind}", told.kind != "trend")
        ]
        return sorted(found, key=lambda told: told.at, reverse=True)

    def unread(self, user: int) -> int:
        """How many of these are newer than what was read."""
        return sum(told.at > self._facts.read[user] for told in self.list(user))

    def _grouped(self, user: int) -> Iterator[Told]:
        oracle = self._oracle
        for (kind, subject), acts in self._facts.groups(user).items():
            if kind != "follow":
                tweet = oracle.tweet(subject)
                if tweet is None or tweet.user_id != user:
                    continue
            counted = [act for act in acts if not oracle.hidden_from(user, act.user_id)]
            named = [act for act in counted if oracle.visible(act.user_id)]
            if named:
                users = list(dict.fromkeys(act.user_id for act in named))
                yield Told(kind, subject, named[0].at, len(counted), users)

    def _single(self, user: int) -> Iterator[Told]:
        oracle = self._oracle
        profile = oracle.profile(user)
        name = profile.username.casefold() if profile else ""
        holder, claim = oracle._holders.get(name, (None, 0))
        for tweet_id, post in oracle._posted.items():
            author = post.user_id
            if author == user or post.retweet_of_id is not None or oracle.tweet(tweet_id) is None:
                continue
            if oracle.hidden_from(user, author):
                continue
            if post.reply_to_user_id == user:
                kind = "reply"
            elif post.quote_of_user_id == user:
                kind = "quote"
            elif holder == user and tweet_id > claim and name in _names(post):
                kind = "mention"
            else:
                continue
            yield Told(kind, tweet_id, tweet_id, 1, [author])


def _acts(by_actor: dict[int, int | None]) -> list[Act]:
    return [Act(at, user) for user, at in by_actor.items() if at is not None]


def _names(post: TweetPosted) -> list[str]:
    names = [mention.username.casefold() for mention in parse(post.text).mentions]
    return list(dict.fromkeys(names))[:NAMES_PER_TWEET]
