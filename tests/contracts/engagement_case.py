"""The engagement unit under the contract, hot and cold membership both."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from msgspec.structs import astuple

from events.types import (
    Event,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
)
from projections.base import Unit
from projections.engagement.layout import KINDS, Limits
from projections.engagement.read import EngagementReader
from projections.engagement.threads import ThreadsReader
from projections.engagement.unit import Engagement
from projections.listing import NEWEST, Page
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord
from tests.oracle_engagement import EngagementOracle, TweetCounts
from tests.posts import post

PARTITIONS = 3
USERS = 9
TWEETS = 5
STEPS = 120
PAGE = 3


class EngagementCase(UnitCase):
    """Likes taken back and given again, views, children deleted before, after, twice, by others.

    ``limits`` make the case run with likers in Redis, or counted from the store, or both in turn.
    """

    name = "engagement"

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def unit(self, world: World) -> Unit:
        return Engagement(world.bus, world.store, world.keys(self.name), self._limits)

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        ids = count(base + 10_000)
        roots = [base + 1000 + n for n in range(TWEETS)]
        children: list[TweetPosted] = []
        for _ in range(STEPS):
            user = base + rng.randrange(USERS)
            if rng.random() < 0.6:
                event = _engagement(rng, next(ids), rng.choice(roots), user)
                partition = _home(event.tweet_id)
                log.append("engagements", partition, event)
                if rng.random() < 0.15:  # a producer's retry
                    log.append("engagements", partition, event)
                continue
            _children(log, rng, ids, rng.choice(roots), user, children)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = EngagementReader(world.bus, world.store, world.keys(self.name))
        tweets, users = _named(history)
        counts = await reader.counts(tweets)
        found: dict[str, Any] = {"children": [astuple(counts[t]) for t in tweets[TWEETS + 1 :]]}
        for tweet in tweets[: TWEETS + 1]:
            now = counts[tweet]
            likers = await _all(lambda b, t=tweet: reader.liked_by(t, b, PAGE))
            found[f"tweet {tweet - tweets[0]}"] = (
                (now.likes, now.views, now.replies, now.retweets, now.quotes),
                [entry.user_id for entry in likers],
                {
                    kind: [
                        (entry.tweet_id, entry.user_id)
                        for entry in await _all(
                            lambda b, t=tweet, k=kind: reader.children(t, k, b, PAGE)
                        )
                    ]
                    for kind in KINDS
                },
            )
        for user in users:
            liked = await _all(lambda b, u=user: reader.likes_of(u, b, PAGE))
            found[f"user {user - users[0]}"] = (
                [entry.tweet_id for entry in liked],
                await reader.liked(user, tweets),
            )
        threads = ThreadsReader(world.store)
        found["answers"] = await threads.replies(tweets, NEWEST, len(history))
        found["answered"] = await threads.answered(tweets)
        return found

    def expected(self, history: list[LogRecord]) -> Any:
        oracle = EngagementOracle(history)
        tweets, users = _named(history)
        about_tweets = {
            f"tweet {tweet - tweets[0]}": (
                tuple(oracle.counts(tweet)),
                oracle.liked_by(tweet),
                {kind: oracle.children(tweet, kind) for kind in KINDS},
            )
            for tweet in tweets[: TWEETS + 1]
        }
        children = [_in_order(oracle.counts(tweet)) for tweet in tweets[TWEETS + 1 :]]
        about_users = {
            f"user {user - users[0]}": (oracle.likes_of(user), set(oracle.likes_of(user)))
            for user in users
        }
        # Deleted or not: what became of a tweet does not change what it answered.
        answered = {post.tweet_id: post.reply_to_id for post in _replies(history)}
        answers = {
            parent: sorted((t for t, to in answered.items() if to == parent), reverse=True)
            for parent in answered.values()
        }
        threads = {"answers": answers, "answered": answered}
        return {"children": children} | about_tweets | about_users | threads

    async def size(self, world: World, history: list[LogRecord]) -> int:
        tweets, users = _named(history)
        total = 0
        for cql, ids in (
            ("SELECT tweet_id FROM {likes} WHERE tweet_id IN ?", tweets),
            ("SELECT tweet_id FROM {liked_by} WHERE tweet_id IN ?", tweets),
            ("SELECT tweet_id FROM {likes_of} WHERE user_id IN ?", users),
            ("SELECT tweet_id FROM {referrals} WHERE tweet_id IN ?", tweets),
            ("SELECT tweet_id FROM {tallies} WHERE tweet_id IN ?", tweets),
        ):
            total += len(await world.store.execute(cql, (ids,)))
        return total

    def size_max(self, history: list[LogRecord]) -> int:
        """Three rows a like, one a child, one a deletion, and the registers."""
        tweets, _ = _named(history)
        return 3 * len(history) + len(tweets) * (PARTITIONS + 1)


class ColdEngagementCase(EngagementCase):
    """The same, with likers looked up in the store as soon as there are three."""

    def __init__(self) -> None:
        super().__init__(Limits(members_hot_max=3, members_load_max=3))


def _in_order(now: TweetCounts) -> tuple[int, ...]:
    return (now.retweets, now.replies, now.likes, now.quotes, now.views)


async def _all(page_of: Any) -> list[Any]:
    """Reads a list to its end, page by page."""
    found: list[Any] = []
    below = NEWEST
    while True:
        page: Page = await page_of(below)
        assert len(page.entries) <= PAGE
        found += page.entries
        if page.below is None:
            return found
        assert page.below < below
        below = page.below


def _named(history: list[LogRecord]) -> tuple[list[int], list[int]]:
    """Returns the tweets and the users that a history names, ascending."""
    events: list[Any] = [record.event for record in history]
    tweets = {event.tweet_id for event in events}
    for event in events:
        if isinstance(event, TweetPosted):
            tweets |= {event.reply_to_id, event.retweet_of_id, event.quote_of_id} - {None}
    return sorted(tweets), sorted({event.user_id for event in events if event.user_id})


def _replies(history: list[LogRecord]) -> list[TweetPosted]:
    posts = [record.event for record in history if isinstance(record.event, TweetPosted)]
    return [post for post in posts if post.reply_to_id is not None]


def _home(tweet_id: int) -> int:
    return tweet_id % PARTITIONS


def _engagement(
    rng: Random, event_id: int, tweet: int, user: int
) -> TweetLiked | TweetUnliked | TweetViewed:
    kind = rng.choices(("like", "unlike", "view"), (6, 3, 3))[0]
    if kind == "view":
        viewer = user if rng.random() < 0.7 else None
        return TweetViewed(event_id=event_id, occurred_at=1, tweet_id=tweet, user_id=viewer)
    made = TweetLiked if kind == "like" else TweetUnliked
    return made(
        event_id=event_id, occurred_at=1, tweet_id=tweet, tweet_author_id=user, user_id=user
    )


def _children(
    log: LogBuilder, rng: Random, ids: count[int], root: int, user: int, known: list[TweetPosted]
) -> None:
    if known and rng.random() < 0.35:
        gone = rng.choice(known)
        who = gone.user_id if rng.random() < 0.8 else user  # somebody else's changes nothing
        for _ in range(rng.choice((1, 1, 2))):
            log.append("new-tweets", _home(who), _deletion(next(ids), gone, who, rng))
        return
    child = _child(rng, next(ids), next(ids), root, user)
    if rng.random() < 0.1:  # a deletion that came first
        log.append("new-tweets", _home(user), _deletion(next(ids), child, user, rng))
    log.append("new-tweets", _home(user), child)
    if rng.random() < 0.15:  # a producer's retry
        log.append("new-tweets", _home(user), child)
    known.append(child)


def _child(rng: Random, event_id: int, tweet_id: int, root: int, user: int) -> TweetPosted:
    kind = rng.choice(("reply", "retweet", "quote", "both", "plain"))
    references: dict[str, Any] = {}
    if kind in {"reply", "both"}:
        references |= {"reply_to_id": root, "reply_to_user_id": user}
    if kind in {"quote", "both"}:
        quoted = root if rng.random() < 0.5 else root + 1
        references |= {"quote_of_id": quoted, "quote_of_user_id": user}
    if kind == "retweet":
        references |= {"retweet_of_id": root, "retweet_of_user_id": user}
    text = "" if kind == "retweet" else "said"
    return post(tweet_id, user, event_id=event_id, text=text, **references)


def _deletion(event_id: int, child: TweetPosted, user: int, rng: Random) -> Event:
    references: dict[str, Any] = {}
    if rng.random() < 0.5:  # the ids are a courtesy to other readers; nothing here rests on them
        references = {"reply_to_id": child.reply_to_id, "retweet_of_id": child.retweet_of_id}
    return TweetDeleted(
        event_id=event_id, occurred_at=1, tweet_id=child.tweet_id, user_id=user, **references
    )
