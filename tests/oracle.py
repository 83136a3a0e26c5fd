"""The oracle: what readers must see, as plain Python over the records of the log.

This is the executable specification of the read models. Replays, fault tests, property tests and
the demo compare the running system with it at lag zero. It is slow where slow is plainer:
it keeps facts, and works every answer out anew when asked.

What it keeps true
- Order inside a partition is the order of offsets. Facts of different partitions are compared by
  event id only, so the order in which partitions are fed never changes an answer.
- A record that was fed before (same topic, partition and offset) changes nothing.

The sentences
- A follow of B by A is in force when the last of UserFollowed and UserUnfollowed by A about B is a
  follow, newer by event id than every UserBlocked between the two in either direction, lifted since
  or not. Nobody follows, blocks or mutes himself.
- A tweet exists when it was posted and its author never deleted it, whichever came first. Of two
  posts with one id the first counts. (Two authors posting one id is refused by the command side and
  has no meaning here.)
- A user is visible when registered and when the last of UserDeactivated and UserReactivated leaves
  him active; erased is for ever. The first registration of a user id counts.
- A retweet can be seen when its original exists and the original's author is visible.
- A reply is a tweet with ``reply_to_id``.
- What a user pinned last, unless unpinned since or erased, is shown while it is a tweet of his that
  exists and no retweet.
- home(u): see `Oracle.home`. A user timeline: see `Oracle.user_timeline`.
- A username belongs to its first claimant in the partition until the holder releases it.
- Lists and bookmarks: the sentences of `tests/oracle_collections.py`, and `Oracle.list_timeline`.
- Likes, views and what refers to a tweet: the sentences of `tests/oracle_engagement.py`.
- What a user is told of: the sentences of `tests/oracle_notifications.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from events.types import (
    Event,
    ProfileChanged,
    TweetDeleted,
    TweetPinned,
    TweetPosted,
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
from tests.oracle_collections import CollectionsOracle
from tests.oracle_engagement import EngagementOracle, TweetCounts
from tests.oracle_log import LogFed, LogRecord
from tests.oracle_notifications import NotificationFacts

__all__ = ["LogRecord", "Oracle", "Profile", "TweetCounts"]


class Profile(msgspec.Struct, kw_only=True):
    """A registered user's profile; ``status`` is ``active``, ``deactivated`` or ``erased``."""

    user_id: int
    username: str
    name: str
    created_at: int
    description: str
    location: str
    url: str
    profile_image_url: str
    status: str = "active"


class Oracle(LogFed):
    """Feed it records, each partition in offset order; then ask."""

    def __init__(self, records: Iterable[LogRecord] = ()) -> None:
        self._posted: dict[int, TweetPosted] = {}
        self._deleted: set[tuple[int, int]] = set()  # (author, tweet)
        self._tweets_by: dict[int, list[int]] = defaultdict(list)
        self._profiles: dict[int, Profile] = {}
        self._pinned: dict[int, int] = {}
        self._inactive: dict[int, str] = {}  # user -> "deactivated" | "erased"
        # Both directions, for both lists: the event id of the follow, or None once unfollowed.
        self._follows: dict[int, dict[int, int | None]] = defaultdict(dict)
        self._followed: dict[int, set[int]] = defaultdict(set)
        self._last_block: dict[tuple[int, int], int] = {}  # (smaller id, larger id) -> event id
        self._blocking: dict[int, set[int]] = defaultdict(set)
        self._muting: dict[int, set[int]] = defaultdict(set)
        self._holders: dict[str, tuple[int, int]] = {}  # name -> user, event id of the claim
        self._engagement = EngagementOracle()
        self.collections = CollectionsOracle()
        self.notifications = NotificationFacts()
        super().__init__(records)

    # --- facts ---

    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
        self._engagement.apply(event)
        self.collections.apply(event)
        self.notifications.apply(event)
        match event:
            case TweetPosted():
                if event.tweet_id not in self._posted:
                    self._posted[event.tweet_id] = event
                    self._tweets_by[event.user_id].append(event.tweet_id)
            case TweetDeleted():
                self._deleted.add((event.user_id, event.tweet_id))
            case UsernameClaimed(username_key=key, user_id=user):
                self._holders.setdefault(key, (user, event.event_id))
            case UsernameReleased(username_key=key, user_id=user):
                if self.holder(key) == user:
                    del self._holders[key]
            case _:
                self._apply_graph(event)

    def _apply_graph(self, event: Event) -> None:
        if getattr(event, "target_user_id", None) == getattr(event, "user_id", 0):
            return
        match event:
            case UserFollowed(user_id=user, target_user_id=target):
                self._follows[user][target] = event.event_id
                self._followed[target].add(user)
            case UserUnfollowed(user_id=user, target_user_id=target):
                self._follows[user][target] = None
            case UserBlocked(user_id=user, target_user_id=target):
                self._blocking[user].add(target)
                pair = (min(user, target), max(user, target))
                self._last_block[pair] = max(self._last_block.get(pair, 0), event.event_id)
            case UserUnblocked(user_id=user, target_user_id=target):
                self._blocking[user].discard(target)
            case UserMuted(user_id=user, target_user_id=target):
                self._muting[user].add(target)
            case UserUnmuted(user_id=user, target_user_id=target):
                self._muting[user].discard(target)
            case _:
                self._apply_account(event)

    def _apply_account(self, event: Event) -> None:
        match event:
            case UserRegistered():
                self._profiles.setdefault(event.user_id, _registered(event))
            case ProfileChanged(user_id=user) if user in self._profiles:
                for field in ("name", "description", "location", "url", "profile_image_url"):
                    value = getattr(event, field)
                    if value is not None:
                        setattr(self._profiles[user], field, value)
            case UserDeactivated(user_id=user):
                self._inactive.setdefault(user, "deactivated")
            case UserReactivated(user_id=user):
                if self._inactive.get(user) == "deactivated":
                    del self._inactive[user]
            case UserErased(user_id=user):
                self._inactive[user] = "erased"
            case TweetPinned(user_id=user):
                self._pinned[user] = event.tweet_id
            case TweetUnpinned(user_id=user):
                self._pinned[user] = 0
            case _:
                pass  # activity is no part of these sentences; likes and views are taken in beside

    # --- engagement ---

    def counts(self, tweet: int) -> TweetCounts:
        """Likes, views, replies, retweets and quotes of a tweet, whoever may see it."""
        return self._engagement.counts(tweet)

    def liked_by(self, tweet: int) -> list[int]:
        """Users who like a tweet, the newest like first."""
        return self._engagement.liked_by(tweet)

    def likes_of(self, user: int) -> list[int]:
        """Tweets that a user likes, the newest like first."""
        return self._engagement.likes_of(user)

    def children(self, parent: int, kind: str) -> list[tuple[int, int]]:
        """Replies, retweets or quotes of a tweet with their authors, newest first."""
        return self._engagement.children(parent, kind)

    # --- accounts ---

    def users(self) -> list[int]:
        """Every user id that registered, ascending."""
        return sorted(self._profiles)

    def profile(self, user: int) -> Profile | None:
        """The profile, with its status; None when the user never registered."""
        profile = self._profiles.get(user)
        if profile is None:
            return None
        return msgspec.structs.replace(profile, status=self._inactive.get(user, "active"))

    def visible(self, user: int) -> bool:
        """Whether the account is registered and active."""
        return user in self._profiles and user not in self._inactive

    def pin(self, user: int) -> int:
        """The id that the user pinned last, whatever it is of; 0 for none."""
        return 0 if self._inactive.get(user) == "erased" else self._pinned.get(user, 0)

    def pinned(self, user: int) -> int | None:
        """The pinned tweet that a visible user shows, if any."""
        tweet = self.tweet(self.pin(user))
        if tweet is None or tweet.user_id != user or tweet.retweet_of_id is not None:
            return None
        return tweet.tweet_id

    def holder(self, username: str) -> int | None:
        """The user who holds this name, compared without case."""
        return self._holders.get(username.casefold(), (None, 0))[0]

    # --- graph ---

    def is_following(self, user: int, target: int) -> bool:
        """Whether the follow is in force."""
        follow_id = self._follows[user].get(target)
        pair = (min(user, target), max(user, target))
        return (
            user != target and follow_id is not None and follow_id > self._last_block.get(pair, 0)
        )

    def is_blocking(self, user: int, target: int) -> bool:
        """Whether ``user`` blocks ``target``."""
        return target in self._blocking[user]

    def is_muting(self, user: int, target: int) -> bool:
        """Whether ``user`` mutes ``target``."""
        return target in self._muting[user]

    def following(self, user: int) -> list[int]:
        """Visible accounts that ``user`` follows, ascending."""
        return list(filter(self.visible, self.followees(user)))

    def followees(self, user: int) -> list[int]:
        """Accounts that ``user`` follows, inactive ones included, ascending."""
        return sorted(self._following(user))

    def followers(self, user: int) -> list[int]:
        """Visible accounts that follow ``user``, ascending."""
        return sorted(filter(self.visible, self._followers(user)))

    def following_count(self, user: int) -> int:
        """Follows by ``user`` in force, inactive accounts included."""
        return sum(1 for _ in self._following(user))

    def followers_count(self, user: int) -> int:
        """Follows of ``user`` in force, inactive accounts included."""
        return sum(1 for _ in self._followers(user))

    def _following(self, user: int) -> Iterator[int]:
        return (other for other in self._follows[user] if self.is_following(user, other))

    def _followers(self, user: int) -> Iterator[int]:
        return (other for other in self._followed[user] if self.is_following(other, user))

    # --- tweets and timelines ---

    def tweet(self, tweet_id: int) -> TweetPosted | None:
        """The tweet if anybody may see it; a retweet needs its original to be seen too."""
        tweet = self._existing(tweet_id)
        if tweet is None or tweet.retweet_of_id is None:
            return tweet
        return tweet if self._existing(tweet.retweet_of_id) is not None else None

    def posted(self) -> list[int]:
        """Every tweet id that was ever posted, seen or not."""
        return list(self._posted)

    def _existing(self, tweet_id: int) -> TweetPosted | None:
        tweet = self._posted.get(tweet_id)
        if tweet is None or (tweet.user_id, tweet_id) in self._deleted:
            return None
        return tweet if self.visible(tweet.user_id) else None

    def _tweets_of(self, user: int) -> Iterator[TweetPosted]:
        for tweet_id in self._tweets_by[user]:
            tweet = self.tweet(tweet_id)
            if tweet is not None:
                yield tweet

    def user_timeline(
        self, user: int, replies: bool = False, limit: int | None = None
    ) -> list[int]:
        """Ids of the user's own tweets and retweets, newest first, the same for every viewer.

        Replies to others are left out unless ``replies``; replies to oneself stay.
        """
        found = [
            tweet.tweet_id
            for tweet in self._tweets_of(user)
            if replies or tweet.reply_to_id is None or tweet.reply_to_user_id == user
        ]
        return sorted(found, reverse=True)[:limit]

    def home(self, user: int, limit: int | None = None) -> list[int]:
        """Ids of the home timeline, newest first.

        Tweets by the user and by those he follows, minus what nobody may see (deleted, inactive
        author, and retweets of such), minus authors and retweeted authors blocked in either
        direction or muted; a reply only if the one replied to is the user, its author, or followed
        by the user; of several retweets that remain of one tweet the newest.
        """
        return self.merged(user, {user, *self._following(user)})[:limit]

    def merged(self, user: int, authors: set[int]) -> list[int]:
        """Ids of what a user sees of the tweets of several authors, newest first.

        A reply only if the one replied to is the user, its author, or one of ``authors``; of
        several retweets that remain of one tweet the newest.
        """
        candidates = [
            tweet
            for author in authors
            for tweet in self._tweets_of(author)
            if self._shows(user, tweet, authors)
        ]
        newest_first = sorted(candidates, key=lambda tweet: tweet.tweet_id, reverse=True)
        found: list[int] = []
        retweeted: set[int] = set()
        for tweet in newest_first:
            if tweet.retweet_of_id is not None:
                if tweet.retweet_of_id in retweeted:
                    continue
                retweeted.add(tweet.retweet_of_id)
            found.append(tweet.tweet_id)
        return found

    def list_timeline(self, list_id: int, reader: int) -> list[int]:
        """Ids of a list's tweets as a reader sees them, newest first.

        Tweets and retweets by the members, with every filter of the reader's home timeline; a
        reply only if the one replied to is the reader, its author, or a member.
        """
        return self.merged(reader, set(self.collections.members(list_id)))

    def _shows(self, user: int, tweet: TweetPosted, heard: set[int]) -> bool:
        """Whether the viewer's own filters let a visible tweet through."""
        authors = {tweet.user_id}
        if tweet.retweet_of_id is not None:
            authors.add(self._posted[tweet.retweet_of_id].user_id)
        if any(self.hidden_from(user, author) for author in authors):
            return False
        if tweet.reply_to_id is None:
            return True
        replied_to = tweet.reply_to_user_id
        if replied_to is None:
            return False
        return replied_to in (user, tweet.user_id) or replied_to in heard

    def hidden_from(self, user: int, author: int) -> bool:
        """Whether a block in either direction, or a mute of the user's, hides an author."""
        return (
            self.is_blocking(user, author)
            or self.is_blocking(author, user)
            or self.is_muting(user, author)
        )


def _registered(event: UserRegistered) -> Profile:
    return Profile(
        user_id=event.user_id,
        username=event.username,
        name=event.name,
        created_at=event.created_at,
        description=event.description,
        location=event.location,
        url=event.url,
        profile_image_url=event.profile_image_url,
    )
