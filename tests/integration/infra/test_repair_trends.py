"""Uses that nobody made, and one that is lost: mended with the windows worked out of them, while
tweets come and a leader works out the windows after them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from events.types import TweetPosted
from infra import trending
from infra.repair.history import History
from infra.repair.service import targets
from infra.repair.uses import Uses
from infra.settings import Settings
from projections.trends.layout import DAY_MS, WORLDWIDE
from tests.integration.infra.generations import Fed, Town, running, town
from tests.integration.infra.repair_scene import differing, mended

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

TERM = "#planted"
PEOPLE = 8
NOBODIES = 20
WAIT_S = 60.0
PAUSE_S = 0.3


async def test_uses_and_the_windows_that_were_worked_out_of_them(stack: Settings) -> None:
    async with town(stack, events=100, seed=7) as here:
        made = await here.built("trends", "r")
        await say(here)
        await made.feed()
        slot = await plant(made)
        upto = (slot + 11) * trending.shape(made.on.settings).slot_ms
        async with going_on(here, made):
            await worked_out(made, upto)
            target = await anext(targets(made.on, "trends", "#Planted"))
            assert isinstance(target, Uses)
            dry = await mended(here, made, target, is_dry=True)
            assert len(dry.outcome.changes) > NOBODIES and not dry.told
            outcome, _ = await mended(here, made, target)
            assert outcome.was_wrong and outcome.is_right, outcome
            told: list[str] = []

            async def tell(words: str) -> None:
                told.append(words)

            history = await History(made.on, target, tell).mend()
            assert history.was_wrong and history.is_right, history
            assert told
        await made.feed()
        again = await mended(here, made, target)
        assert (again.outcome.changes, again.told) == ([], [])
        assert not (await History(made.on, target, tell).mend()).was_wrong
        await is_the_oracles(here, made, target)


async def say(here: Town) -> None:
    """Some people use the term now."""
    for user in here.users[:PEOPLE]:
        tweet = await here.minter.mint()
        now = time.time_ns() // 1_000_000
        about = {"text": "#Planted here", "created_at": now, "conversation_id": tweet}
        await here.append(TweetPosted, tweet_id=tweet, user_id=user, **about)


@asynccontextmanager
async def going_on(here: Town, made: Fed) -> AsyncIterator[None]:
    """People go on, and what they say is applied."""

    async def go() -> None:
        while True:
            await say(here)
            await made.feed()
            await asyncio.sleep(PAUSE_S)

    async with running(go()):
        yield


async def plant(made: Fed) -> int:
    """Takes a use away, and makes others of people who said nothing; returns their slot."""
    execute = made.on.store_of("trends").execute
    rows = await execute("SELECT scope, slot, shard, term, author_id, tweet_id FROM {trend_uses}")
    scope, slot, shard, term, author, tweet = next(row for row in rows if row[3] == TERM)
    await execute(
        "DELETE FROM {trend_uses} USING TIMESTAMP 1 WHERE scope = ? AND slot = ? AND shard = ?"
        " AND term = ? AND author_id = ? AND tweet_id = ?",
        (scope, slot, shard, term, author, tweet),
    )
    for nobody in range(1, NOBODIES + 1):
        await execute(
            "INSERT INTO {trend_uses} (scope, slot, shard, term, author_id, tweet_id, print, tags,"
            " written, woeid, country) VALUES (?, ?, ?, ?, ?, 9, 0, 1, '#planted', 0, 0)"
            " USING TIMESTAMP -1 AND TTL 7200",
            (scope, slot, shard, term, nobody),
        )
    return int(slot)


async def worked_out(made: Fed, upto: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while await trending.reader(made.on).done() < upto:
        assert time.monotonic() < deadline, "no leader works out what trends"
        await asyncio.sleep(0.1)


async def is_the_oracles(here: Town, made: Fed, target: Uses) -> None:
    store = made.on.store_of("trends")
    slots = await store.execute("SELECT scope, slot, shard, term FROM {trend_uses}")
    uses = {("uses", (scope, slot, shard)) for scope, slot, shard, term in slots if term == TERM}
    days = {slot * trending.shape(made.on.settings).slot_ms // DAY_MS for _, (_, slot, _) in uses}
    scope = made.on.keys("trends").unit
    target.questions = [*uses, *(("trends", (scope, WORLDWIDE, day)) for day in days)]
    assert len(uses) > 1
    assert await differing(here, made, target) == []
