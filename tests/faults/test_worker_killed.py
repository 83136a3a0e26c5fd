"""Workers killed with -9 in the middle of slices: every home timeline still is the oracle's."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.recovery import crashes, resume_s_max
from tests.faults.world import world

EVENTS = 5_000
KILLS = 3
RATE = 300
"""So that events come in while workers are looked for that lag."""
LONG_ENOUGH = 60_000
"""Events that traffic may come to until the last worker is killed."""


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "kills",
    [pytest.param(0, marks=pytest.mark.long, id="control"), pytest.param(KILLS, id="killed")],
)
async def test_every_home_timeline_is_the_oracles(
    settings: Settings, tmp_path: Path, seed: int, kills: int
) -> None:
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        bound = await resume_s_max(max(kills, 1))
        reading = asyncio.create_task(here.read())
        stop = asyncio.Event()
        acting = here.traffic(LONG_ENOUGH, RATE, stop) if kills else here.traffic(EVENTS // 2)
        traffic = asyncio.create_task(acting)
        left, resuming = await crashes(here.on, here.lag, here.kill, random.Random(seed), kills)
        if kills:
            stop.set()
        await traffic
        seconds = await asyncio.gather(*resuming)
        began = time.monotonic()
        await here.converge()
        seconds = seconds or [time.monotonic() - began]
        reading.cancel()
        compared, lines = await here.differences()
        events = await here.events()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    name = "worker killed" if kills else "worker killed: control"
    again = sum(one.redelivered for one in left)
    units = ", ".join(one.unit for one in left)
    more = f"in mid-slice: {units}" if kills else "time is to lag zero"
    record(Figures(name, seed, max(seconds), events, compared, again, more=more))
    assert not kills or max(seconds) <= max(bound, await resume_s_max(max(kills, 1)))
