"""The timelines unit under the contract: home timelines, author timelines and the graph.

Tweets and accounts are served from the history itself, at its end: other units keep them, and this
one must be right whatever they have come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from random import Random
from secrets import randbits
from typing import Any

from events.slices import Record, Slice
from events.types import (
    Event,
    TweetDeleted,
    TweetPosted,
    UserBlocked,
    UserFollowed,
    UserMuted,
    UserRegistered,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)
from gateway.queries.home import HomeTimelines
from projections.base import Unit
from projections.timelines.authors import NEWEST
from projections.timelines.fan_out import FanOut
from projections.timelines.graph import GraphEvent
from projections.timelines.layout import HOME
from projections.timelines.marked import MARKER_BYTES
from projections.timelines.read import TimelinesReader
from projections.timelines.unit import Timelines
from tests.contracts.case import UnitCase, World
from tests.contracts.history import TOPIC_ID, LogBuilder
from tests.oracle import LogRecord, Oracle
from tests.posts import post

PARTITIONS = 3
USERS = 9
STEPS = 160
POPULAR_THRESHOLD = 4  # some of nine users cross it, and go by chunks
TIMELINE_LENGTH = 20  # so that trimming and reading past the cache happen
PAGES = (3, 20)

GRAPH_EVENTS = (
    (UserFollowed, 12),
    (UserUnfollowed, 3),
    (UserBlocked, 1),
    (UserUnblocked, 1),
    (UserMuted, 1),
    (UserUnmuted, 1),
)


class NoChunks:
    """The log of a fan-out in which no chunk ever grows."""

    async def append(self, chunks: Sequence[Event]) -> None:
        assert not chunks

    async def close(self) -> None: ...


class DeliveredAtOnce:
    """A log of chunks that are delivered when they are appended, in partitions of their own.

    What is cut off in between is appended again by the timelines unit, as after any lost answer.
    """

    def __init__(self, unit: FanOut) -> None:
        self._unit = unit

    async def append(self, chunks: Sequence[Event]) -> None:
        records = [Record(offset, 0, chunk) for offset, chunk in enumerate(chunks)]
        await self._unit.open()
        await self._unit.apply(Slice("fan-out", randbits(31), TOPIC_ID, 0, len(records), records))

    async def close(self) -> None: ...


class TimelinesCase(UnitCase):
    """Tweets, replies, retweets and deletions among users who follow, block and mute each other."""

    name = "timelines"

    def unit(self, world: World) -> Unit:
        return Timelines(
            world.bus,
            world.store,
            world.keys(self.name),
            chunk_log=DeliveredAtOnce(
                FanOut(
                    world.bus,
                    world.store,
                    world.keys("fan-out"),
                    timelines=world.keys(self.name),
                    chunk_log=NoChunks(),
                    timeline_length=TIMELINE_LENGTH,
                )
            ),
            popular_threshold=POPULAR_THRESHOLD,
            timeline_length=TIMELINE_LENGTH,
            inactive_days=1,
        )

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        # Ids one after another: those of one millisecond share a score.
        ids = count(base + 10_000)
        posted: list[tuple[int, int]] = []
        for step in range(STEPS):
            actor = base + rng.randrange(USERS)
            if step % 3:
                event: TweetPosted | TweetDeleted | GraphEvent = _tweet(rng, ids, actor, posted)
                topic = "new-tweets"
            else:
                event = _graph(rng, next(ids), actor, base + rng.randrange(USERS))
                topic = "social-graph"
            for _ in range(2 if rng.random() < 0.1 else 1):
                log.append(topic, event.user_id % PARTITIONS, event)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = TimelinesReader(
            world.bus,
            world.store,
            world.keys(self.name),
            timeline_length=TIMELINE_LENGTH,
            inactive_days=1,
        )
        tweets, users = HistoryTweets(history), HistoryUsers(history)
        homes = HomeTimelines(reader, tweets, users)
        people = sorted(users.ids)
        return {
            user: {
                "home": [await read_home(homes, user, size) for size in PAGES],
                "posted": await _posted(reader, user),
                "following": sorted(await reader.graph.following_page(user, NEWEST, 100)),
                "followers": sorted(await reader.graph.follower_page(user, NEWEST, 100)),
                "counts": (await reader.graph.counts([user]))[user],
            }
            for user in people
        }

    def expected(self, history: list[LogRecord]) -> Any:
        users = HistoryUsers(history).ids
        oracle = Oracle(history)
        for offset, user in enumerate(sorted(users)):
            oracle.feed(LogRecord("users", 0, offset, registered(user)))
        return {
            user: {
                "home": [oracle.home(user)] * len(PAGES),
                "posted": sorted(_standing(history, user), reverse=True),
                "following": oracle.following(user),
                "followers": oracle.followers(user),
                "counts": (oracle.followers_count(user), oracle.following_count(user)),
            }
            for user in sorted(users)
        }

    async def size(self, world: World, history: list[LogRecord]) -> int:
        users = sorted(HistoryUsers(history).ids)
        counts = [
            len(await world.store.execute(cql, (users,)))
            for cql in (
                "SELECT user_id FROM {graph_out} WHERE user_id IN ?",
                "SELECT user_id FROM {graph_in} WHERE user_id IN ?",
                "SELECT tweet_id FROM {author_tweets} WHERE author_id IN ?",
            )
        ]
        keys = world.keys(self.name)
        lengths = await world.bus.calls_strict([("STRLEN", keys.of(HOME, user)) for user in users])
        # Trimmed when a quarter more has come; one slice adds at most nine here.
        assert all(length <= MARKER_BYTES + 8 * (TIMELINE_LENGTH * 1.25 + 9) for length in lengths)
        return sum(counts)

    def size_max(self, history: list[LogRecord]) -> int:
        """A row each way per pair of users, and one per tweet."""
        users = len(HistoryUsers(history).ids)
        return 2 * users * users + len(history)


class HistoryTweet:
    """What the filters need of a tweet."""

    def __init__(self, event: TweetPosted) -> None:
        self.author_id = event.user_id
        self.reply_to_user_id = event.reply_to_user_id or 0
        self.reply_to_id = event.reply_to_id or 0
        self.retweet_of_id = event.retweet_of_id or 0


class HistoryTweets:
    """The tweets that stand at the end of a history."""

    def __init__(self, history: list[LogRecord]) -> None:
        events = [record.event for record in history if isinstance(record.event, TweetPosted)]
        deleted = _deleted(history)
        self._tweets = {
            event.tweet_id: HistoryTweet(event)
            for event in events
            if (event.user_id, event.tweet_id) not in deleted
        }

    async def get(self, ids: Iterable[int]) -> dict[int, HistoryTweet]:
        return {i: self._tweets[i] for i in ids if i in self._tweets}


class HistoryUsers:
    """Everybody whom a history names, all active."""

    def __init__(self, history: list[LogRecord]) -> None:
        self.ids: set[int] = set()
        for record in history:
            self.ids.add(record.event.user_id)  # type: ignore[attr-defined]
            if isinstance(record.event, UserFollowed | UserBlocked | UserMuted):
                self.ids.add(record.event.target_user_id)

    async def get(self, ids: Iterable[int]) -> dict[int, bool]:
        return {i: True for i in ids if i in self.ids}


def _deleted(history: list[LogRecord]) -> set[tuple[int, int]]:
    events = [record.event for record in history]
    return {(event.user_id, event.tweet_id) for event in events if isinstance(event, TweetDeleted)}


def _standing(history: list[LogRecord], user: int) -> set[int]:
    deleted = _deleted(history)
    return {
        record.event.tweet_id
        for record in history
        if isinstance(record.event, TweetPosted)
        and record.event.user_id == user
        and (user, record.event.tweet_id) not in deleted
    }


async def read_home(
    homes: HomeTimelines[HistoryTweet, bool], user: int, page_size: int
) -> list[int]:
    found: list[int] = []
    below: int | None = None
    while True:
        page = await homes.page(user, below, page_size)
        assert len(page.tweets) <= page_size
        found += [tweet_id for tweet_id, _ in page.tweets]
        if page.below is None:
            return found
        below = page.below


async def _posted(reader: TimelinesReader, user: int) -> list[int]:
    found: list[int] = []
    below = NEWEST
    while below:
        page = await reader.authors.page(user, below, 7)
        found += [entry.tweet_id for entry in page.entries]
        below = page.floor
    return found


def registered(user: int) -> UserRegistered:
    return UserRegistered(
        event_id=user, occurred_at=1, user_id=user, username=f"u{user}", name="", created_at=1
    )


def _tweet(
    rng: Random, ids: count[int], actor: int, posted: list[tuple[int, int]]
) -> TweetPosted | TweetDeleted:
    if posted and rng.random() < 0.12:
        tweet_id, author = rng.choice(posted)
        # One in ten deletions is by somebody else, and must change nothing.
        who = author if rng.random() < 0.9 else actor
        return TweetDeleted(event_id=next(ids), occurred_at=1, tweet_id=tweet_id, user_id=who)
    tweet_id = next(ids)
    references: dict[str, Any] = {}
    if posted and rng.random() < 0.5:
        target, author = rng.choice(posted)
        if rng.random() < 0.5:
            references = {"retweet_of_id": target, "retweet_of_user_id": author}
        else:
            references = {"reply_to_id": target, "reply_to_user_id": author}
    if "retweet_of_id" not in references:
        posted.append((tweet_id, actor))
    text = "" if "retweet_of_id" in references else "hello"
    return post(tweet_id, actor, event_id=next(ids), text=text, **references)


def _graph(rng: Random, event_id: int, actor: int, target: int) -> GraphEvent:
    kinds, weights = zip(*GRAPH_EVENTS, strict=True)
    kind = rng.choices(kinds, weights)[0]
    event: GraphEvent = kind(event_id=event_id, occurred_at=1, user_id=actor, target_user_id=target)
    return event
