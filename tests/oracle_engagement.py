"""The oracle's part for engagement: counts and lists, as plain Python over the records of the log.

The part of `tests/oracle.py` that answers for likes, views and children; tests of the unit use it
alone. It keeps facts, and works every answer out anew when asked. Order inside a partition is the
order of offsets; a record that was fed before changes nothing; the order in which partitions are
fed never changes an answer.

The sentences
- A user likes a tweet when the last of TweetLiked and TweetUnliked by him about it is a like. (All
  records about one tweet come by one partition.) The event id of that last like orders the lists.
- A tweet was seen as often as there are records of TweetViewed about it.
- A tweet is a reply, retweet or quote of another as the first post of it says. It counts once it
  was posted, unless its author ever deletes it, whichever came first. Whoever else deletes it
  changes nothing. (A repeated post is the same event; a tweet may be a quote and a reply at once.)
- What the tweet counted about is never asked: counts of a deleted or unknown tweet go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from events.types import (
    Event,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
)
from tests.oracle_log import LogFed, LogRecord

REFERENCES = {"reply": "reply_to_id", "retweet": "retweet_of_id", "quote": "quote_of_id"}


class TweetCounts(NamedTuple):
    """What readers see of one tweet."""

    likes: int
    views: int
    replies: int
    retweets: int
    quotes: int


class EngagementOracle(LogFed):
    """Feed it records, each partition in offset order; then ask."""

    def __init__(self, records: Iterable[LogRecord] = ()) -> None:
        self._likes: dict[int, dict[int, int | None]] = defaultdict(dict)  # tweet -> user -> event
        self._views: dict[int, int] = defaultdict(int)
        self._posted: set[tuple[int, int]] = set()  # (author, tweet)
        # (kind, parent) -> (tweet, author): a population's counts are asked for one by one.
        self._children: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self._deleted: set[tuple[int, int]] = set()
        super().__init__(records)

    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
        match event:
            case TweetLiked(tweet_id=tweet, user_id=user):
                self._likes[tweet][user] = event.event_id
            case TweetUnliked(tweet_id=tweet, user_id=user):
                self._likes[tweet][user] = None
            case TweetViewed(tweet_id=tweet):
                self._views[tweet] += 1
            case TweetPosted(tweet_id=tweet, user_id=author):
                if (author, tweet) not in self._posted:
                    self._posted.add((author, tweet))
                    for kind, field in REFERENCES.items():
                        self._children[kind, getattr(event, field)].append((tweet, author))
            case TweetDeleted(tweet_id=tweet, user_id=author):
                self._deleted.add((author, tweet))
            case _:
                pass  # accounts and the graph are no part of these sentences

    def counts(self, tweet: int) -> TweetCounts:
        """The five counts of a tweet."""
        return TweetCounts(
            likes=len(self.liked_by(tweet)),
            views=self._views[tweet],
            replies=len(self.children(tweet, "reply")),
            retweets=len(self.children(tweet, "retweet")),
            quotes=len(self.children(tweet, "quote")),
        )

    def liked_by(self, tweet: int) -> list[int]:
        """Users who like a tweet, the newest like first."""
        likes = [(event, user) for user, event in self._likes[tweet].items() if event is not None]
        return [user for _, user in sorted(likes, reverse=True)]

    def likes_of(self, user: int) -> list[int]:
        """Tweets that a user likes, the newest like first."""
        found = [
            (event, tweet)
            for tweet, likes in self._likes.items()
            if (event := likes.get(user)) is not None
        ]
        return [tweet for _, tweet in sorted(found, reverse=True)]

    def children(self, parent: int, kind: str) -> list[tuple[int, int]]:
        """Replies, retweets or quotes of a tweet with their authors, newest first."""
        found = [
            (tweet, author)
            for tweet, author in self._children.get((kind, parent), ())
            if (author, tweet) not in self._deleted
        ]
        return sorted(found, reverse=True)
