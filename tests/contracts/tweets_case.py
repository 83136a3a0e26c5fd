"""The tweets unit under the contract."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from events.types import Coordinates, Place, TweetDeleted, TweetPosted
from projections.base import Unit
from projections.tweets.mentions import (
    Addressee,
    MentionsReader,
    addressees,
    of_name,
    of_user,
)
from projections.tweets.read import TweetsReader
from projections.tweets.unit import Tweets
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord

PARTITIONS = 3
AUTHORS = 6
TWEETS = 40
NAMES = 4
SPAN_BITS = 1  # spans of two ids: a reader goes through many
TEXTS = ("plain", "🎉 #tag and @someone", "see https://example.com/a?b=c", "こんにちは", "")


class TweetsCase(UnitCase):
    """Posts, replies, quotes, retweets; deletions before, after and by others; repeated posts."""

    name = "tweets"

    def unit(self, world: World) -> Unit:
        return Tweets(world.bus, world.store, world.keys(self.name), span_bits=SPAN_BITS)

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
                again = tweet.__class__(**{**_fields(tweet), "text": f"twice {_name(base, 0)}"})
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
        found: dict[Any, Any] = {
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
        for sought in _sought(history):
            candidates = await self._candidates(world, sought)
            assert set(candidates) <= set(ids)
            assert candidates == sorted(set(candidates), reverse=True)
            keys = {whom.key for whom in sought}
            found[sought] = [i for i in candidates if i in tweets and addressees(tweets[i]) & keys]
        return found

    async def _candidates(self, world: World, sought: tuple[Addressee, ...]) -> list[int]:
        """All pages of those who speak to any of the addressees."""
        reader = MentionsReader(world.store, span_bits=SPAN_BITS, spans_max=3)
        found: list[int] = []
        below = 2**63 - 1
        while below:
            page = await reader.page(sought, below, 3)
            found += page.ids
            below = page.floor
        return found

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
        standing = {
            tweet_id: post
            for tweet_id, post in posts.items()
            if (tweet_id, post.user_id) not in deleted
        }
        expected: dict[Any, Any] = {
            tweet_id: (
                post.user_id,
                post.reply_to_id or 0,
                post.retweet_of_id or 0,
                post.quote_of_id or 0,
                post.text,
                post.user_id,
            )
            for tweet_id, post in standing.items()
        }
        for sought in _sought(history):
            expected[sought] = sorted(
                (
                    tweet_id
                    for tweet_id, post in standing.items()
                    if any(w.key in _spoken_to(post) and tweet_id > w.above for w in sought)
                ),
                reverse=True,
            )
        return expected

    async def size(self, world: World, history: list[LogRecord]) -> int:
        ids = sorted({record.event.tweet_id for record in history})  # type: ignore[attr-defined]
        rows = await world.store.execute(
            "SELECT tweet_id FROM {tweets} WHERE tweet_id IN ?", (ids,)
        )
        keys = sorted({whom.key for sought in _sought(history) for whom in sought})
        spans = await world.store.execute(
            "SELECT addressee, span FROM {mention_spans} WHERE addressee IN ?", (keys,)
        )
        mentions = await world.store.execute_many(
            "SELECT tweet_id FROM {mentions} WHERE addressee = ? AND span = ?", spans
        )
        return len(rows) + len(spans) + sum(map(len, mentions))

    def size_max(self, history: list[LogRecord]) -> int:
        """A row per tweet and user who said something of it; two per tweet and addressee."""
        events = [record.event for record in history]
        spoken = {
            (event.tweet_id, key)
            for event in events
            if isinstance(event, TweetPosted)
            for key in _spoken_to(event)
        }
        tweets = {(e.tweet_id, e.user_id) for e in events}  # type: ignore[attr-defined]
        return len(tweets) + 2 * len(spoken)


def _name(base: int, number: int) -> str:
    """A name that no other history has; upper and lower case by turns."""
    name = f"@n{number}_{base >> 20:x}"
    return name.upper() if number % 2 else name


def _sought(history: list[LogRecord]) -> list[tuple[Addressee, ...]]:
    """Whom readers look for: names and users, alone and together, from some tweet upwards."""
    posts = [record.event for record in history if isinstance(record.event, TweetPosted)]
    base = posts[0].tweet_id & ~0xFFFFF
    names = [Addressee(of_name(_name(base, number)[1:])) for number in range(NAMES)]
    users = [Addressee(of_user(base + number)) for number in range(AUTHORS)]
    above = Addressee(names[0].key, base + 1000 + TWEETS // 2)
    return [(one,) for one in (*names, *users, above)] + [(users[0], above), (*users, *names)]


def _spoken_to(post: TweetPosted) -> set[str]:
    """What the texts of these histories say, found without the code under test."""
    if post.retweet_of_id is not None:
        return set()
    keys = {word.lower() for word in post.text.split() if word.startswith("@")}
    if post.reply_to_user_id not in (None, post.user_id):
        keys.add(str(post.reply_to_user_id))
    return keys


def _post(rng: Random, base: int, number: int, posted: list[TweetPosted]) -> TweetPosted:
    tweet_id = base + 1000 + number
    author = base + rng.randrange(AUTHORS)
    kind = rng.choice(("plain", "reply", "quote", "retweet")) if posted else "plain"
    other = rng.choice(posted) if posted else None
    fields: dict[str, Any] = {"text": _text(rng, base), "conversation_id": tweet_id}
    if kind == "plain" and rng.random() < 0.5:
        fields |= {
            "media_ids": ["7_1"],
            "coordinates": Coordinates(52.5, 13.4),
            "place": Place(638242, 23424829),
            "lang": "en",
        }
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


def _text(rng: Random, base: int) -> str:
    names = [_name(base, rng.randrange(NAMES)) for _ in range(rng.randrange(3))]
    return " ".join([*names, rng.choice(TEXTS)])


def _fields(tweet: TweetPosted) -> dict[str, Any]:
    return {name: getattr(tweet, name) for name in tweet.__struct_fields__}


def _deletion(tweet: TweetPosted, user_id: int) -> TweetDeleted:
    return TweetDeleted(
        event_id=tweet.event_id + 50_000,
        occurred_at=tweet.occurred_at + 1,
        tweet_id=tweet.tweet_id,
        user_id=user_id,
    )
