"""Workers killed with -9 in the middle of slices: every home timeline still is the oracle's."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.recovery import RESUME_S_MAX, Ended, resume_s_max, until_applying
from tests.faults.world import world

EVENTS = 6_000
KILLS = 3


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
    chance = random.Random(seed)
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        reading = asyncio.create_task(here.read())
        behind, bound, left = 0, RESUME_S_MAX, list[Ended]()
        seconds: list[float] = []
        for _ in range(max(kills, 1)):
            bound = max(bound, await resume_s_max())
            traffic = asyncio.create_task(here.traffic(EVENTS // 2 // max(kills, 1)))
            if kills:
                # While events come in, a worker that lags is in the middle of a slice.
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                lagging = [unit for unit, lag in (await here.lag.by_unit()).items() if lag]
                behind += bool(lagging)
                left.append(await here.kill(chance.choice(lagging or sorted(here.workers))))
                if lagging:
                    seconds.append(await until_applying(here.on, left[-1]))
            await traffic
        began = time.monotonic()
        await here.converge()
        seconds = seconds or [time.monotonic() - began]
        reading.cancel()
        compared, lines = await here.differences()
        events = await here.events()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS
    name = "worker killed" if kills else "worker killed: control"
    again = sum(one.redelivered for one in left)
    more = f"{len(left)} kills, {behind} in mid-slice; a control's time is to lag zero"
    record(Figures(name, seed, max(seconds), events, compared, again, more=more))
    if kills:
        assert behind > 0, f"seed {seed}: no worker was killed while it had work"
        assert max(seconds) <= max(bound, await resume_s_max())
