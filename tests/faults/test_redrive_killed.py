"""Workers killed with -9 while they apply what was sent back: every count and timeline is exact.

Views make it hard: nothing but a register's position says whether one was counted. Good records of
the same tweets come in meanwhile, and each letter is sent back twice with two bodies.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from events.letters import LetterId
from events.position import Position
from events.types import (
    Event,
    RedriveRequested,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
    UserRegistered,
)
from infra import compose
from infra.demo.children import Worker
from infra.demo.convergence import Lag
from infra.settings import Settings
from streams.settings import WorkerSettings
from tests.faults.figures import Figures, record
from tests.faults.recovery import Ended, ended, resume_s_max
from tests.integration.infra.letters_town import Town, town
from tests.oracle_engagement import TweetCounts

UNITS = ("accounts", "tweets", "timelines", "engagement")
READERS = {"engagements": ("engagement",), "new-tweets": ("tweets", "timelines", "engagement")}
USERS, TWEETS, STEPS = 6, 4, 160
KILLS = 4
LAG_S_MAX = 120.0
JOINING_S_MAX = 2 * WorkerSettings.session_timeout_seconds
"""One may be killed again while it joins, and is missed when the rebalance times out."""
logger = logging.getLogger(__name__)


class Hurt:
    """A town whose good and bad records are made by chance."""

    def __init__(self, here: Town, chance: random.Random) -> None:
        self._here = here
        self._chance = chance
        self.users = [here.id() for _ in range(USERS)]
        self.tweets = [here.id() for _ in range(TWEETS)]
        self.meant: dict[Position, Event] = {}

    async def begin(self) -> None:
        """Accounts and the tweets that everything is about."""
        for user in self.users:
            name = f"u{user}"[-15:]
            await self._here.good(
                self._here.say(UserRegistered, user_id=user, username=name, name="x", created_at=1)
            )
        for tweet, user in zip(self.tweets, self.users, strict=False):
            await self._here.good(self._post(tweet, user))

    async def steps(self, number: int, poison: float) -> None:
        """Likes, unlikes, views and replies, some of which nobody can read."""
        for _ in range(number):
            event = self._event()
            if self._chance.random() < poison:
                at = await self._here.poison(event, b"\xff" + event.event_id.to_bytes(8))
                self.meant[at] = event
            else:
                await self._here.good(event)

    async def send_back(self, part: int, parts: int) -> None:
        """Redrives every letter of a part, and at once a second time with other bytes."""
        asked: list[Event] = []
        for at, event in list(self.meant.items())[part::parts]:
            for unit in READERS[at.topic]:
                name = LetterId(unit, at.topic, at.partition, at.offset)
                for said in (event, self._event(type(event))):
                    body = self._here.codec.encode(said)
                    asked.append(self._here.say(RedriveRequested, **name._asdict(), payload=body))
        await self._here.log.append_many(asked)

    def _event(self, kind: type[Event] | None = None) -> Event:
        kinds = (TweetLiked, TweetUnliked, TweetViewed, TweetPosted)
        kind = kind or self._chance.choices(kinds, (4, 2, 4, 3))[0]
        tweet, user = self._chance.choice(self.tweets), self._chance.choice(self.users)
        if kind is TweetPosted:
            return self._post(self._here.id(), user, tweet)
        if kind is TweetViewed:
            return self._here.say(TweetViewed, tweet_id=tweet, user_id=user)
        return self._here.say(kind, tweet_id=tweet, tweet_author_id=self.users[0], user_id=user)

    def _post(self, tweet: int, user: int, parent: int | None = None) -> Event:
        return self._here.say(
            TweetPosted,
            tweet_id=tweet,
            user_id=user,
            text="said",
            created_at=1,
            conversation_id=parent or tweet,
            reply_to_id=parent,
            reply_to_user_id=user if parent else None,
        )


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kills", [pytest.param(0, id="control"), pytest.param(KILLS, id="killed")])
async def test_what_is_sent_back_is_applied_once(
    settings: Settings, tmp_path: Path, kills: int
) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    chance = random.Random(seed)
    async with town(settings) as here, AsyncExitStack() as closing:
        workers = await _workers(here, tmp_path, closing)
        hurt = Hurt(here, chance)
        await hurt.begin()
        await hurt.steps(STEPS, poison=0.5)
        lag = Lag(here.on, here.view, UNITS)
        await lag.until_zero(LAG_S_MAX)
        await _seen(here, hurt)  # counts and timelines are cached from here on
        bound = await resume_s_max()
        traffic = asyncio.create_task(hurt.steps(STEPS // 4, poison=0.0))

        async def kill(unit: str) -> Ended:
            at = time.monotonic()
            await workers[unit].kill()
            left = await ended(here.on, unit, at)
            await workers[unit].start()
            return left

        left, behind = list[Ended](), 0
        for part in range(parts := max(kills, 1)):
            await hurt.send_back(part, parts)
            if kills:
                lagging = [unit for unit, n in (await lag.by_unit()).items() if n]
                behind += bool(lagging)
                left.append(await kill(chance.choice(lagging or ["engagement"])))
            await asyncio.sleep(chance.uniform(0.1, 0.6))
        await traffic
        began = time.monotonic()
        await lag.until_zero(LAG_S_MAX)
        seconds = time.monotonic() - began
        oracle = await here.oracle()
        counts, homes = await _seen(here, hurt)
        assert counts == {t: oracle.counts(t) for t in hurt.tweets}, f"seed {seed}"
        assert homes == {u: oracle.home(u) for u in hurt.users}, f"seed {seed}"
        states = await here.states()
        readers = sum(len(READERS[at.topic]) for at in hurt.meant)
        assert (len(states), set(states.values())) == (readers, {"applied"}), f"seed {seed}"
    name = "workers killed while letters are sent back" + ("" if kills else ": control")
    more = f"{readers} letters, each sent back twice; {behind} of {kills} killed with work"
    again, entries = (
        sum(one.redelivered for one in left),
        len(counts) + sum(map(len, homes.values())),
    )
    record(Figures(name, seed, seconds, None, entries, again, more=more if kills else ""))
    assert behind or not kills, f"seed {seed}: no worker was killed while it had work"
    assert seconds <= max(bound, await resume_s_max()) + JOINING_S_MAX


async def _workers(here: Town, logs: Path, closing: AsyncExitStack) -> dict[str, Worker]:
    chosen = here.on.settings
    env = {
        "MURMUR_DATA_DIR": str(chosen.data_dir),
        "MURMUR_TOPIC_PREFIX": chosen.topic_prefix,
        "MURMUR_GENERATION": chosen.generation,
    }
    workers = {unit: Worker(unit, logs, env) for unit in UNITS}
    for worker in workers.values():
        closing.push_async_callback(worker.stop)
        await worker.start()
    return workers


async def _seen(here: Town, hurt: Hurt) -> tuple[dict[int, TweetCounts], dict[int, list[int]]]:
    found = await compose.engagement_reader(here.on).counts(hurt.tweets)
    counts = {
        tweet: TweetCounts(c.likes, c.views, c.replies, c.retweets, c.quotes)
        for tweet, c in found.items()
    }
    homes = here.homes(here.on)
    timelines = {
        user: [tweet for tweet, _ in (await homes.page(user, None, 500)).tweets]
        for user in hurt.users
    }
    return counts, timelines
