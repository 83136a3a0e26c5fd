"""A worker stopped (SIGSTOP) in mid-slice past its session, another takes over, the first wakes up.

The sleeper is a zombie: what it still writes is of the past, and must change nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.demo.children import Worker
from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.paused import ASLEEP_S, pause_one
from tests.faults.recovery import resume_s_max
from tests.faults.world import world

EVENTS = 6_000


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
