"""The tweets unit under the contract."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from events.types import Geo, TweetDeleted, TweetPosted
from projections.base import Unit
from projections.tweets.read import TweetsReader
from projections.tweets.unit import Tweets
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord

PARTITIONS = 3
AUTHORS = 6
TWEETS = 40
TEXTS = ("plain", "🎉 #tag and @someone", "see https://example.com/a?b=c", "こんにちは", "")


class TweetsCase(UnitCase):
    """Posts, replies, quotes, retweets; deletions before, after and by others; repeated posts."""

    name = "tweets"

    def unit(self, world: World) -> Unit:
        return Tweets(world.bus, world.store, world.keys(self.name))

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        posted: list[TweetPosted] = []
        for number in range(TWEETS):
            tweet = _post(rng, base, number, posted)
            partition = tweet.user_id % PARTITIONS
            if rng.random() < 0.1:  # a deletion that came first
                log.append("new-tweets", partition, _deletion(tweet, tweet.user_id))
            posted.append(tweet)
            log.append("new-tweets", partition, tweet)
            if rng.random() < 0.2:  # the same id once more: the first counts
                again = tweet.__class__(**{**_fields(tweet), "text": "said twice"})
                log.append("new-tweets", partition, again)
            if rng.random() < 0.3:
                gone = rng.choice(posted)
                log.append("new-tweets", gone.user_id % PARTITIONS, _deletion(gone, gone.user_id))
            if rng.random() < 0.3:  # by somebody else: changes nothing
                kept = rng.choice(posted)
                other = kept.user_id + 1
                log.append("new-tweets", other % PARTITIONS, _deletion(kept, other))
            if rng.random() < 0.2:  # a producer's retry
                log.append("new-tweets", partition, tweet)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = TweetsReader(world.bus, world.store, world.keys(self.name))
        ids = sorted({record.event.tweet_id for record in history})  # type: ignore[attr-defined]
        tweets = await reader.get(ids)
        authors = await reader.author_of(ids)
        return {
            tweet_id: (
                tweet.author_id,
                tweet.reply_to_id,
                tweet.retweet_of_id,
                tweet.quote_of_id,
                json.loads(tweet.body + b"}")["text"],
                authors[tweet_id],
            )
            for tweet_id, tweet in tweets.items()
        }

    def expected(self, history: list[LogRecord]) -> Any:
        posts: dict[int, TweetPosted] = {}
        for record in history:
            if isinstance(record.event, TweetPosted):
                posts.setdefault(record.event.tweet_id, record.event)
        deleted = {
            (record.event.tweet_id, record.event.user_id)
            for record in history
            if isinstance(record.event, TweetDeleted)
        }
        return {
            tweet_id: (
                post.user_id,
                post.reply_to_id or 0,
                post.retweet_of_id or 0,
                post.quote_of_id or 0,
                post.text,
                post.user_id,
            )
            for tweet_id, post in posts.items()
            if (tweet_id, post.user_id) not in deleted
        }

    async def size(self, world: World, history: list[LogRecord]) -> int:
        ids = sorted({record.event.tweet_id for record in history})  # type: ignore[attr-defined]
        rows = await world.store.execute(
            "SELECT tweet_id FROM {tweets} WHERE tweet_id IN ?", (ids,)
        )
        return len(rows)

    def size_max(self, history: list[LogRecord]) -> int:
        """A row per tweet and user who said something of it."""
        events = [record.event for record in history]
        return len({(e.tweet_id, e.user_id) for e in events})  # type: ignore[attr-defined]


def _post(rng: Random, base: int, number: int, posted: list[TweetPosted]) -> TweetPosted:
    tweet_id = base + 1000 + number
    author = base + rng.randrange(AUTHORS)
    kind = rng.choice(("plain", "reply", "quote", "retweet")) if posted else "plain"
    other = rng.choice(posted) if posted else None
    fields: dict[str, Any] = {"text": rng.choice(TEXTS), "conversation_id": tweet_id}
    if kind == "plain" and rng.random() < 0.5:
        fields |= {"media_ids": ["7_1"], "geo": Geo(52.5, 13.4), "lang": "en"}
    if kind == "reply" and other is not None:
        fields |= {
            "reply_to_id": other.tweet_id,
            "reply_to_user_id": other.user_id,
            "conversation_id": other.conversation_id,
        }
    if kind == "quote" and other is not None:
        fields |= {"quote_of_id": other.tweet_id, "quote_of_user_id": other.user_id}
    if kind == "retweet" and other is not None:
        fields |= {
            "text": "",
            "retweet_of_id": other.tweet_id,
            "retweet_of_user_id": other.user_id,
        }
    return TweetPosted(
        event_id=base + 10_000 + number,
        occurred_at=1_700_000_000_000 + number,
        tweet_id=tweet_id,
        user_id=author,
        created_at=1_700_000_000_000 + number,
        **fields,
    )


def _fields(tweet: TweetPosted) -> dict[str, Any]:
    return {name: getattr(tweet, name) for name in tweet.__struct_fields__}


def _deletion(tweet: TweetPosted, user_id: int) -> TweetDeleted:
    return TweetDeleted(
        event_id=tweet.event_id + 50_000,
        occurred_at=tweet.occurred_at + 1,
        tweet_id=tweet.tweet_id,
        user_id=user_id,
    )
