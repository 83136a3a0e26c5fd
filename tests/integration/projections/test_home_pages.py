"""Pages of a home timeline never skip or repeat, whatever happens between two of them.

On the real engines, through ``HomeTimelines``. A seed decides what happens: tweets, replies and
retweets arrive (old ones late, by another partition), tweets are deleted, followees come and go,
the cached timelines and answers are lost or trimmed. The cached timeline holds 20 entries, so most
sessions read past it; one followee is a celebrity. Redis and store are asked anew for every page.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from random import Random
from secrets import randbits
from typing import Any

import pytest

from events.slices import Record, Slice
from events.types import Event, TweetDeleted, TweetPosted, UserFollowed, UserUnfollowed, topic_of
from gateway.queries.home import MISSED_MAX, HomeTimelines
from gateway.queries.view import HomePage
from projections.timelines.authors import NEWEST
from projections.timelines.layout import CELEBRITY, HOME
from projections.timelines.read import TimelinesReader
from projections.timelines.tiers import State, Tiers
from tests.contracts.case import World
from tests.contracts.history import TOPIC_ID
from tests.contracts.timelines_case import (
    TIMELINE_LENGTH,
    HistoryTweet,
    HistoryTweets,
    HistoryUsers,
    TimelinesCase,
    registered,
)
from tests.oracle import LogRecord, Oracle
from tests.posts import post

pytestmark = pytest.mark.engines

AUTHORS = 5
TWEETS_BEFORE = 45
SESSIONS = 3
ACTS_MAX = 3
SEEDS = range(4)

Page = HomePage[HistoryTweet, bool]


class Scene:
    """One reader, those he may follow, and the log of what they did."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.unit = TimelinesCase().unit(world)
        self.keys = world.keys("timelines")
        self.reader = TimelinesReader(
            world.bus, world.store, self.keys, timeline_length=TIMELINE_LENGTH, inactive_days=1
        )
        base = (randbits(40) | 1 << 40) << 20
        self.ids = count(base + 10_000, 2)  # the odd ones between come late
        self.me = base
        self.authors = [base + 1 + number for number in range(AUTHORS)]
        self.star = self.authors[0]
        self.partition = randbits(30)
        self.ends: dict[tuple[str, int], int] = {}
        self.history: list[LogRecord] = []
        people = enumerate((self.me, *self.authors))
        self.oracle_records = [LogRecord("users", 0, at, registered(user)) for at, user in people]
        self.oracle = Oracle(self.oracle_records)
        self.standing: list[TweetPosted] = []

    async def write(self, *events: Event) -> None:
        """Appends and applies events of one topic, each by the partition of its user."""
        for event in events:
            source = (topic_of(event), self.partition + getattr(event, "user_id", 0) % 3)
            offset = self.ends.get(source, 0)
            self.ends[source] = offset + 1
            record = LogRecord(*source, offset, event)
            self.history.append(record)
            self.oracle.feed(record)
            self.oracle_records.append(record)
            piece = [Record(offset, 0, event)]
            await self.unit.apply(Slice(*source, TOPIC_ID, offset, offset + 1, piece))

    def home(self) -> list[int]:
        """What the reader's timeline is by the specification."""
        return self.oracle.home(self.me)

    def home_up_to(self, top: int) -> list[int]:
        """The timeline as if nothing had been posted above ``top``."""
        below = Oracle(
            record
            for record in self.oracle_records
            if not isinstance(record.event, TweetPosted) or record.event.tweet_id <= top
        )
        return below.home(self.me)

    def posted(self, tweet_id: int) -> TweetPosted:
        """The tweet of that id."""
        events = (record.event for record in self.history)
        return next(e for e in events if isinstance(e, TweetPosted) and e.tweet_id == tweet_id)

    async def page(self, below: int | None, size: int, top: int, above: int = 0) -> Page:
        """One page, as a request of its own."""
        return await self._homes().page(self.me, below, size, top=top, above=above)

    async def refresh(self, above: int, size: int) -> Page:
        """What is new above an id."""
        return await self._homes().refresh(self.me, above, size)

    def _homes(self) -> HomeTimelines[HistoryTweet, bool]:
        users = HistoryUsers(self.history)
        users.ids |= {self.me, *self.authors}
        return HomeTimelines(self.reader, HistoryTweets(self.history), users)

    async def follow(self, author: int) -> None:
        event_id = next(self.ids)
        await self.write(
            UserFollowed(event_id=event_id, occurred_at=1, user_id=self.me, target_user_id=author)
        )

    async def drop(self, author: int) -> None:
        event_id = next(self.ids)
        await self.write(
            UserUnfollowed(event_id=event_id, occurred_at=1, user_id=self.me, target_user_id=author)
        )

    async def tweet(self, tweet_id: int = 0) -> None:
        """Somebody posts, answers or retweets; the reader himself now and then."""
        rng = self.rng
        tweet_id = tweet_id or next(self.ids)
        author = rng.choice([self.me, *self.authors * 3])
        more: dict[str, Any] = {}
        older = [t for t in self.standing[-12:] if t.tweet_id < tweet_id]
        if older and rng.random() < 0.5:
            other = rng.choice(older)
            if rng.random() < 0.8:
                more = {"retweet_of_id": other.tweet_id, "retweet_of_user_id": other.user_id}
            else:
                more = {"reply_to_id": other.tweet_id, "reply_to_user_id": other.user_id}
        tweet = post(tweet_id, author, text="" if "retweet_of_id" in more else "t", **more)
        if "retweet_of_id" not in more:
            self.standing.append(tweet)
        await self.write(tweet)

    def _late(self) -> int:
        """An id of a while ago."""
        taken = {r.event.tweet_id for r in self.history if isinstance(r.event, TweetPosted)}
        newest = next(self.ids) - 1
        free = [i for i in range(newest - 60, newest, 2) if i not in taken]
        return self.rng.choice(free)

    async def delete(self) -> None:
        posted = [r.event for r in self.history if isinstance(r.event, TweetPosted)]
        tweet = self.rng.choice(posted[-40:])
        with suppress(ValueError):
            self.standing.remove(tweet)
        await self.write(
            TweetDeleted(
                event_id=next(self.ids),
                occurred_at=1,
                tweet_id=tweet.tweet_id,
                user_id=tweet.user_id,
            )
        )

    async def lose(self) -> None:
        """Redis forgets something."""
        keys = [
            self.keys.of(HOME, self.me),
            self.keys.of(CELEBRITY, self.star),
            self.reader.graph.relations.key(self.me),
        ]
        await self.world.bus.call("DEL", self.rng.choice(keys))

    async def act(self) -> None:
        """Something happens."""
        rng = self.rng
        choice = rng.random()
        if choice < 0.45:
            await self.tweet()
        elif choice < 0.55:
            await self.tweet(self._late())
        elif choice < 0.7:
            await self.delete()
        elif choice < 0.78:
            await self.drop(rng.choice(self.authors))
        elif choice < 0.86:
            await self.follow(rng.choice(self.authors))
        elif choice < 0.94:
            await self.lose()
        else:
            for _ in range(TIMELINE_LENGTH // 2):  # trims the cached timeline
                await self.tweet()


async def opened(world: World, seed: int) -> Scene:
    """A scene with a past."""
    scene = Scene(world, Random(seed))
    await scene.unit.open()
    for author in scene.authors:
        await scene.follow(author)
    await scene.page(None, 3, 0)
    for _ in range(TWEETS_BEFORE):
        await scene.tweet()
    return scene


class Session:
    """The pages that a client read, one after another, and what the timeline was at each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.shown: list[int] = []
        self.at_page: list[tuple[set[int], list[int]]] = []
        self.top = 0

    async def read(self, scene: Scene, above: int = 0) -> None:
        """Reads to the end; things happen between pages."""
        below: int | None = None
        while True:
            page = await scene.page(below, self.size, self.top, above)
            found = [tweet_id for tweet_id, _ in page.tweets]
            assert len(found) <= self.size
            self.top = self.top or (found[0] if found else 0)
            self.at_page.append((set(scene.home_up_to(self.top or NEWEST)), found))
            self.shown += found
            if page.below is None:
                return
            below = page.below
            for _ in range(scene.rng.randrange(ACTS_MAX + 1)):
                await scene.act()

    def check(self, scene: Scene) -> None:
        """Says whether the pages kept the promise of decision 0061."""
        assert self.shown == sorted(set(self.shown), reverse=True), "in order, none twice"
        always = set.intersection(*(home for home, _ in self.at_page))
        assert always <= set(self.shown), "none is missing"
        retweets: dict[int, int] = {}
        for home, found in self.at_page:
            assert home.issuperset(found), "only what can be seen is shown"
            for tweet_id in found:
                original = scene.posted(tweet_id).retweet_of_id
                if original:
                    before = retweets.setdefault(original, tweet_id)
                    assert before == tweet_id or before not in home, "one retweet of a tweet"


@pytest.mark.parametrize("seed", SEEDS)
async def test_pages_neither_skip_nor_repeat_while_the_timeline_changes(
    world: World,
    seed: int,
) -> None:
    scene = await opened(world, seed)
    tiers = Tiers(world.bus, world.store, scene.keys)
    celebrity = await tiers.enter(scene.star, State.CELEBRITY) if seed % 2 else None
    try:
        for _ in range(SESSIONS):
            session = Session(scene.rng.choice((2, 3, 7)))
            await session.read(scene)
            session.check(scene)
            assert len(session.at_page) > 2, "a session has pages"
    finally:
        if celebrity is not None:
            await tiers.leave(celebrity)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_refresh_and_its_gap_are_what_is_new(
    world: World,
    seed: int,
) -> None:
    scene = await opened(world, seed)
    for _ in range(12):
        for _ in range(scene.rng.randrange(ACTS_MAX + 1)):
            await scene.act()
        home = scene.home()
        above = scene.rng.choice([0, *home[:30]])
        new = [i for i in home if i > above]
        size = scene.rng.choice((1, 4, 20))
        page = await scene.refresh(above, size)
        assert [i for i, _ in page.tweets] == new[:size]
        assert (page.missed, page.has_missed_more) == (max(0, len(new) - size), False)
        assert (page.below is None) == (len(new) <= size)
        gap: list[int] = []
        while page.below is not None:
            page = await scene.page(page.below, 5, new[0], above)
            gap += [i for i, _ in page.tweets]
        assert gap == new[size:], "the gap ends where the client was"


async def test_what_is_missed_is_counted_up_to_a_bound(world: World) -> None:
    scene = await opened(world, 1)
    author = scene.authors[1]
    events: Sequence[TweetPosted] = [
        post(i, author, text="many") for i in (next(scene.ids) for _ in range(MISSED_MAX + 300))
    ]
    source = ("new-tweets", scene.partition + 7)
    scene.history += [LogRecord(*source, at, event) for at, event in enumerate(events)]
    records = [Record(at, 0, event) for at, event in enumerate(events)]
    await scene.unit.apply(Slice(*source, TOPIC_ID, 0, len(records), records))
    page = await scene.refresh(events[-801].tweet_id, 10)
    assert (page.missed, page.has_missed_more) == (790, False)
    page = await scene.refresh(0, 10)
    assert page.missed is not None and page.missed >= MISSED_MAX and page.has_missed_more
    assert page.below == events[-10].tweet_id < NEWEST
