"""Counts and notifications that are repaired while every slice speaks of the key: the oracle's at
the end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from events.types import Event, TweetLiked, TweetPosted, TweetUnliked, TweetViewed
from infra import compose
from infra.repair.counts import Counts
from infra.repair.mend import Mender, Outcome
from infra.repair.notices import Notifications
from infra.settings import Settings
from projections.engagement.layout import COUNTS
from projections.notifications.layout import LIKE, Group
from tests.integration.infra.letters_town import Town, town, workers
from tests.oracle_engagement import TweetCounts

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

UNIT = "engagement"
NOTICES = "notifications"
USERS = 50
BATCH = 5
PAUSE_S = 0.03
"""Between two batches: so much that the worker stays at the log's end, where it is hard to beat."""
WRONG = 100_000


class Traffic:
    """Likes, unlikes, views and replies of one tweet, one batch after the other."""

    def __init__(self, here: Town) -> None:
        self._here = here
        self.tweet_id, self.author = here.id(), here.id()
        self._users = [here.id() for _ in range(USERS)]
        self.appended = 0

    async def append(self) -> None:
        await self._here.log.append_many([self._event() for _ in range(BATCH)])
        self.appended += BATCH

    def _event(self) -> Event:
        kind = random.choice((TweetLiked, TweetUnliked, TweetViewed, TweetPosted))
        user = random.choice(self._users)
        if kind is TweetPosted:
            fields = {"reply_to_id": self.tweet_id, "reply_to_user_id": self.author, "text": "yes"}
            child = self._here.id()
            fields |= {"tweet_id": child, "conversation_id": self.tweet_id, "created_at": 1}
            return self._here.say(TweetPosted, user_id=user, **fields)
        fields = {} if kind is TweetViewed else {"tweet_author_id": self.author}
        return self._here.say(kind, tweet_id=self.tweet_id, user_id=user, **fields)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """One batch after the other, until the end."""
        stop = asyncio.Event()

        async def go() -> None:
            while not stop.is_set():
                await self.append()
                await asyncio.sleep(PAUSE_S)

        task = asyncio.create_task(go())
        try:
            yield
        finally:
            stop.set()
            await task


async def plant(here: Town, tweet_id: int) -> None:
    """Registers that are too high, each at its own position, and nothing of them in Redis."""
    store = here.on.store_of(UNIT)
    rows = await store.execute(
        "SELECT source, position, likes FROM {tallies} WHERE tweet_id = ?", (tweet_id,)
    )
    assert len(rows) > 1
    for source, position, likes in rows:
        columns = "likes = ?, views = ?" if likes is not None else "replies = ?, quotes = ?"
        await store.execute(
            f"UPDATE {{tallies}} USING TIMESTAMP ? SET {columns} WHERE tweet_id = ? AND source = ?",
            (position, WRONG, WRONG, tweet_id, source),
        )
    key = here.on.keys(UNIT).of(COUNTS, tweet_id)
    await here.on.bus.call("DEL", key, key + b":likers", key + b":sources", key + b":lease")


async def test_counts_that_every_slice_speaks_of_are_repaired_meanwhile(
    settings: Settings,
) -> None:
    async with town(settings) as here, workers(here.on, (UNIT,)):
        traffic = Traffic(here)
        for _ in range(20):
            await traffic.append()
        await here.settled(units=(UNIT,))
        await plant(here, traffic.tweet_id)
        assert (await counts(here, traffic)).likes == WRONG

        async with traffic.going_on():
            before = traffic.appended
            outcome = await mended(here, traffic)
            assert traffic.appended - before > 10 * BATCH
        assert outcome.was_wrong and outcome.is_right, outcome
        await here.settled(units=(UNIT,))
        assert await counts(here, traffic) == (await here.oracle()).counts(traffic.tweet_id)


async def counts(here: Town, traffic: Traffic) -> TweetCounts:
    found = await compose.engagement_reader(here.on).counts([traffic.tweet_id])
    c = found[traffic.tweet_id]
    return TweetCounts(c.likes, c.views, c.replies, c.retweets, c.quotes)


async def mended(here: Town, traffic: Traffic) -> Outcome:
    async def tell(words: str) -> None:
        assert str(WRONG // 1000) in words

    mender = Mender(here.on, here.on, here.view, UNIT, tell=tell)
    return await mender.mend(Counts(traffic.tweet_id))


async def test_notifications_that_every_slice_speaks_of_are_repaired_meanwhile(
    settings: Settings,
) -> None:
    async with town(settings) as here, workers(here.on, (NOTICES, "tweets")):
        traffic = Traffic(here)
        for _ in range(20):
            await traffic.append()
        await here.settled(units=(NOTICES,))
        group = Group(LIKE, traffic.author, traffic.tweet_id)
        await plant_acts(here, group)
        reader = compose.notifications_reader(here.on)
        assert (await reader.counts([group], []))[group] == WRONG

        async def tell(words: str) -> None:
            assert str(WRONG // 1000) in words

        async with traffic.going_on():
            before = traffic.appended
            mender = Mender(here.on, here.on, here.view, NOTICES, tell=tell)
            outcome = await mender.mend(Notifications(traffic.author))
            assert traffic.appended - before > 10 * BATCH
        assert outcome.was_wrong and outcome.is_right, outcome
        await here.settled(units=(NOTICES,))
        likes = (await here.oracle()).counts(traffic.tweet_id).likes
        assert (await reader.counts([group], []))[group] == likes


async def plant_acts(here: Town, group: Group) -> None:
    """A register that is too high, at its own position."""
    store = here.on.store_of(NOTICES)
    ((source, position),) = await store.execute(
        "SELECT source, position FROM {act_counts} WHERE act_group = ?", (group.name,)
    )
    await store.execute(
        "UPDATE {act_counts} USING TIMESTAMP ? SET acts = ? WHERE act_group = ? AND source = ?",
        (position, WRONG, group.name, source),
    )
