"""A worker stopped (SIGSTOP) in mid-slice past its session, another takes over, the first wakes up.

The sleeper is a zombie: what it still writes is of the past, and must change nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from infra.demo.children import Worker
from infra.settings import Settings
from streams.settings import WorkerSettings
from tests.faults.figures import Figures, record
from tests.faults.recovery import resume_s_max
from tests.faults.world import CONVERGE_S_MAX, World, world

EVENTS = 6_000
ASLEEP_S = WorkerSettings.session_timeout_seconds * 2


async def pause_one(here: World, unit: str, others_work: int) -> tuple[int, float]:
    """Stop the unit's first worker while it has work, let others do it, and wake it up.

    Returns:
        How far the unit was behind, and the seconds until another applied what it held.
    """
    sleeper = here.workers[unit].pid
    assert sleeper is not None
    await here.traffic(others_work)
    behind = (await here.lag.by_unit())[unit]
    os.kill(sleeper, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        await here.traffic(others_work)
        ends = await here.view.ends()
        while (await here.lag.by_unit(ends))[unit]:
            assert time.monotonic() - stopped < CONVERGE_S_MAX, "nobody takes over"
            await asyncio.sleep(0.1)
        taken_over = time.monotonic() - stopped
        await asyncio.sleep(max(0.0, stopped + ASLEEP_S - time.monotonic()))
    finally:
        os.kill(sleeper, signal.SIGCONT)
    return behind, taken_over


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("unit", ["", "timelines", "engagement"])
async def test_every_home_timeline_is_the_oracles(
    settings: Settings, tmp_path: Path, seed: int, unit: str
) -> None:
    """Without a unit nothing is paused: the control."""
    async with world(settings, tmp_path, seed) as here:
        second = Worker(unit or "timelines", tmp_path / "second", here.env)
        await second.start()
        here.supervisors.append(asyncio.create_task(second.supervise()))
        try:
            await here.traffic(EVENTS // 2)
            await here.converge()
            await here.warm()
            reading = asyncio.create_task(here.read())
            behind, taken_over, bound = 0, 0.0, await resume_s_max()
            if unit:
                behind, taken_over = await pause_one(here, unit, EVENTS // 4)
            else:
                await here.traffic(EVENTS // 2)
            await here.converge()
            reading.cancel()
            compared, lines = await here.differences()
            events = await here.events()
        finally:
            await second.stop()
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    name = f"worker of {unit} paused past its session" if unit else "worker paused: control"
    more = f"{behind} events behind when it was stopped, for {ASLEEP_S:g} s" if unit else ""
    record(Figures(name, seed, taken_over if unit else None, events, compared, more=more))
    assert not unit or behind > 0, f"seed {seed}: the worker was paused without work"
    assert taken_over <= max(bound, await resume_s_max())
