"""Authors promoted and demoted under traffic while workers are killed: timelines are the oracle's.

Real workers, real log. The accounts with the most followers change tier over and over, in both
directions; workers that push and workers that deliver chunks are killed with -9 meanwhile, in the
middle of slices and of chunks, and readers keep timelines warm.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from pathlib import Path

import pytest

from infra import compose
from infra.settings import Settings
from projections.base import RetryableError
from tests.faults.figures import Figures, record
from tests.faults.recovery import Ended
from tests.faults.world import World, world

EVENTS = 5_000
ROUNDS = 4
AUTHORS = 12
KILLED = ("fan-out", "timelines")
logger = logging.getLogger(__name__)


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kills", [False, True], ids=["control", "killed"])
async def test_every_timeline_is_the_oracles_across_changes_of_tier(
    settings: Settings, tmp_path: Path, seed: int, kills: bool
) -> None:
    chance = random.Random(seed)
    async with world(settings, tmp_path, seed, keeps_tiers=False) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        tasks = [asyncio.create_task(here.read())]
        changing = asyncio.create_task(_change_tiers(here))
        chunks, left = await _chunks(here), list[Ended]()
        for _ in range(ROUNDS):
            await here.traffic(EVENTS // 2 // ROUNDS)
            if kills:
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                left.append(await here.kill(chance.choice(KILLED)))
        changes = await changing
        began = time.monotonic()
        await here.converge()
        seconds = time.monotonic() - began
        for task in tasks:
            task.cancel()
        compared, lines = await here.differences()
        chunks, events = await _chunks(here) - chunks, await here.events()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    assert changes == 2 * 2 * AUTHORS, "every author went up and down twice"
    assert chunks > 4 * AUTHORS, f"seed {seed}: {chunks} chunks"
    name = "workers killed while tiers change" + ("" if kills else ": control")
    again = sum(one.redelivered for one in left)
    more = f"{changes} changes, {chunks} chunks, {len(left)} kills; time is to lag zero"
    record(Figures(name, seed, seconds, events, compared, again, more=more))


async def _chunks(here: World) -> int:
    """How many chunks have been appended so far."""
    ends = await here.view.ends(["fan-out"])
    return sum(ends.values())


async def _change_tiers(here: World) -> int:
    """Promotes and demotes the accounts with the most followers; returns how many changes."""
    keeper = compose.tier_keeper(here.on)
    graph = compose.timelines_reader(here.on).graph
    people = [person.user_id for person in here.appender.simulation.people]
    counts = await graph.counts(people)
    authors = sorted(people, key=lambda person: counts[person], reverse=True)[:AUTHORS]
    changes = 0
    for change in (keeper.promote, keeper.demote, keeper.promote, keeper.demote):
        while True:
            try:
                await change(authors)
            except RetryableError as error:
                logger.warning("again: %s", error)
                continue
            break
        changes += len(authors)
    await keeper.close()
    return changes
