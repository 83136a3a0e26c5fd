"""Members of one group come, go and die without end: nothing is lost, nothing counted twice.

Every change of members pauses all of them (decision 0020). A member is killed while it joins, while
it leaves and while it works, and slices are handed to others in the middle.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from infra.demo.children import Worker
from infra.settings import Settings
from streams.settings import WorkerSettings
from tests.faults.figures import Figures, record
from tests.faults.recovery import resume_s_max
from tests.faults.world import CONVERGE_S_MAX, World, world

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(500),
]

EVENTS = 6_000
CHANGES = 16
MEMBERS_MAX = 3
PAUSE_S_MAX = 1.5
JOINING_S_MAX = 2 * WorkerSettings.session_timeout_seconds
"""A member that was killed while it joined is missed when the rebalance times out, twice a session;
only then begins what is promised of one crash."""


@pytest.mark.parametrize("unit", ["", "timelines", "engagement"])
async def test_every_home_timeline_is_the_oracles(
    settings: Settings, tmp_path: Path, seed: int, unit: str
) -> None:
    """Without a unit nobody comes or goes: the control."""
    chance = random.Random(seed)
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        reading = asyncio.create_task(here.read())
        traffic = asyncio.create_task(here.traffic(EVENTS // 2, rate=200))
        others: list[Worker] = []
        try:
            began = time.monotonic()
            kills = await storm(here, unit, chance, tmp_path, others) if unit else 0
            lasted = time.monotonic() - began
            seconds = await until_caught_up(here, unit or "timelines")
            await traffic
            await here.converge()
            reading.cancel()
            compared, lines = await here.differences()
            events = await here.events()
        finally:
            await asyncio.gather(*(other.stop() for other in others))
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    name = f"storm of rebalances: {unit}" if unit else "storm of rebalances: control"
    more = f"{CHANGES} changes of members within {lasted:.0f} s, {kills} kills" if unit else ""
    record(Figures(name, seed, seconds, events, compared, more=more))
    assert seconds <= await resume_s_max() + JOINING_S_MAX


async def storm(
    here: World, unit: str, chance: random.Random, folder: Path, others: list[Worker]
) -> int:
    """Has members come, leave and die; the first, which the world started, stays."""
    kills = 0
    for number in range(CHANGES):
        if len(others) < MEMBERS_MAX and (not others or chance.random() < 0.5):
            joining = Worker(unit, folder / f"other{number}", here.env)
            await joining.start()
            others.append(joining)
        else:
            leaving = others.pop(chance.randrange(len(others)))
            if chance.random() < 0.5:
                kills += 1
                await leaving.kill()
            else:
                await leaving.stop()
        await asyncio.sleep(chance.uniform(0.0, PAUSE_S_MAX))
    return kills


async def until_caught_up(here: World, unit: str) -> float:
    """Seconds until a unit has applied what the log holds now."""
    began, ends = time.monotonic(), await here.view.ends()
    while (await here.lag.by_unit(ends))[unit]:
        assert time.monotonic() - began < CONVERGE_S_MAX, f"{unit} stands still"
        await asyncio.sleep(0.1)
    return time.monotonic() - began
