"""A worker stopped (SIGSTOP) in mid-slice past its session, another takes over, the first wakes up.

The sleeper is a zombie: what it still writes is of the past, and must change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from pathlib import Path

import pytest

from infra.demo.children import Worker
from infra.settings import Settings
from streams.settings import WorkerSettings
from tests.faults.world import World, world

EVENTS = 6_000
UNIT = "timelines"
ASLEEP_S = WorkerSettings.session_timeout_seconds * 2
logger = logging.getLogger(__name__)


async def pause_one(here: World, others_work: int) -> int:
    """Stop the unit's first worker while it has work, let others do it, and wake it up."""
    sleeper = here.workers[UNIT].pid
    assert sleeper is not None
    await here.traffic(others_work)
    behind = (await here.lag.by_unit())[UNIT]
    os.kill(sleeper, signal.SIGSTOP)
    try:
        await here.traffic(others_work)
        await asyncio.sleep(ASLEEP_S)
    finally:
        os.kill(sleeper, signal.SIGCONT)
    return behind


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("paused", [False, True], ids=["control", "paused"])
async def test_every_home_timeline_is_the_oracles(
    settings: Settings, tmp_path: Path, paused: bool
) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    async with world(settings, tmp_path, seed) as here:
        second = Worker(UNIT, tmp_path / "second", here.env)
        await second.start()
        here.supervisors.append(asyncio.create_task(second.supervise()))
        try:
            await here.traffic(EVENTS // 2)
            await here.converge()
            await here.warm()
            reading = asyncio.create_task(here.read())
            behind = 0
            if paused:
                behind = await pause_one(here, EVENTS // 4)
            else:
                await here.traffic(EVENTS // 2)
            await here.converge()
            reading.cancel()
            compared, lines = await here.differences()
        finally:
            await second.stop()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS
    assert not paused or behind > 0, f"seed {seed}: the worker was paused without work"
