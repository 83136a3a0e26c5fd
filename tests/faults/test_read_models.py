"""Workers of search, notifications and trends killed and paused: readers see what the oracle says.

One unit's workers run, on a log of a whole population's events. Killed (-9) is one in the middle of
a slice, while events come in. Paused (SIGSTOP) is one of two, past its session: the other takes
over, and what the sleeper still writes when it wakes up is of the past.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from infra.demo.children import Worker
from infra.settings import Settings
from infra.tasks import cancelled
from projections.base import RetryableError
from tests.faults import searched, told, trended
from tests.faults.figures import Figures, record
from tests.faults.models import Model, running
from tests.faults.paused import ASLEEP_S, pause_one
from tests.faults.recovery import Ended, crashes, resume_s_max
from tests.faults.world import World

MODELS = (searched.MODEL, told.MODEL, trended.MODEL)
EVENTS = 4_000
KILLS = 2
RATE = 150
"""So that events come in while the worker is looked for in a slice."""
LONG_ENOUGH = 60_000
LOOK_S = 0.05


async def look(here: World, model: Model) -> None:
    """Reads again and again, until cancelled; an engine may be busy."""
    while True:
        try:
            await model.look(here)
        except RetryableError:
            await asyncio.sleep(1.0)
        await asyncio.sleep(LOOK_S)


async def kill_some(here: World, model: Model, chance: random.Random) -> tuple[list[Ended], float]:
    """Kill the worker some times in the middle of a slice; what it left, and the longest gap."""
    stop = asyncio.Event()
    traffic = asyncio.create_task(here.traffic(LONG_ENOUGH, RATE, stop))
    left, longest = list[Ended](), 0.0
    for _ in range(KILLS):
        more, resuming = await crashes(here.on, here.lag, here.kill, chance, 1)
        await model.say(here, chance)
        left += more
        longest = max(longest, *await asyncio.gather(*resuming))
    stop.set()
    await traffic
    return left, longest


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("fault", ["control", "killed", "paused"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.unit)
async def test_readers_see_what_the_oracle_says(
    settings: Settings, tmp_path: Path, seed: int, model: Model, fault: str
) -> None:
    chance = random.Random(seed)
    async with running(model, settings, tmp_path, seed) as here:
        second = Worker(model.unit, tmp_path / "second", here.env)
        if fault == "paused":
            await second.start()
            here.supervisors.append(asyncio.create_task(second.supervise()))
        try:
            await here.traffic(EVENTS // 2)
            await model.say(here, chance)
            await here.converge()
            looking = asyncio.create_task(look(here, model))
            bound, left, more = await resume_s_max(), list[Ended](), "time is to lag zero"
            if fault == "killed":
                left, seconds = await kill_some(here, model, chance)
                more = f"{len(left)} kills in mid-slice"
            elif fault == "paused":
                behind, seconds = await pause_one(here, model.unit, EVENTS // 4)
                more = f"{behind} events behind when it was stopped, for {ASLEEP_S:g} s"
                assert behind > 0, f"seed {seed}: the worker was paused without work"
            else:
                began = time.monotonic()
                await here.traffic(EVENTS // 2, RATE)
            await model.say(here, chance)
            await here.converge()
            if fault == "control":
                seconds = time.monotonic() - began
            await cancelled(looking)
            compared, lines = await model.compare(here, chance)
            events = await here.events()
        finally:
            await second.stop()
    assert lines == [], f"seed {seed}"
    name = (
        f"worker of {model.unit} "
        + {
            "control": "killed or paused: control",
            "killed": "killed",
            "paused": "paused past its session",
        }[fault]
    )
    again = sum(one.redelivered for one in left) if left else None
    record(Figures(name, seed, seconds, events, compared, again, more=more))
    assert fault == "control" or seconds <= max(bound, await resume_s_max())
