"""Workers killed with -9 in the middle of slices: every home timeline still is the oracle's."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import pytest

from infra.settings import Settings
from tests.faults.world import world

EVENTS = 6_000
KILLS = 4
logger = logging.getLogger(__name__)


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "kills",
    [pytest.param(0, marks=pytest.mark.long, id="control"), pytest.param(KILLS, id="killed")],
)
async def test_every_home_timeline_is_the_oracles(
    settings: Settings, tmp_path: Path, kills: int
) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    chance = random.Random(seed)
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        reading = asyncio.create_task(here.read())
        behind = 0
        for _ in range(max(kills, 1)):
            traffic = asyncio.create_task(here.traffic(EVENTS // 2 // max(kills, 1)))
            if kills:
                # While events come in, a worker that lags is in the middle of a slice.
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                lagging = [unit for unit, lag in (await here.lag.by_unit()).items() if lag]
                behind += bool(lagging)
                await here.kill(chance.choice(lagging or sorted(here.workers)))
            await traffic
        await here.converge()
        reading.cancel()
        compared, lines = await here.differences()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS
    if kills:
        assert behind > 0, f"seed {seed}: no worker was killed while it had work"
