"""Valkey killed with -9 and back empty: every home timeline still is the oracle's.

What Valkey holds is a cache of what Cassandra and the log hold, and positions. So nothing may be
missing afterwards, neither of before nor of after, whoever wrote or read in between.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from pathlib import Path

import pytest

from projections.base import RetryableError
from projections.bus import RedisBus
from tests.faults.figures import Figures, record
from tests.faults.own import Own
from tests.faults.world import World, world

EVENTS = 6_000
BACK_S_MAX = 60.0
SENTINEL = "{fault}:sentinel"


async def lose_valkey(here: World, own: Own) -> None:
    """Kill it and take its files away; the launcher starts it again, with nothing in it."""
    await here.on.bus.call("SET", SENTINEL, "here")
    # Its files first: once it is dead the launcher is quick. Its cluster's slots stay known.
    for path in own.files("valkey").rglob("*"):
        if path.suffix in {".aof", ".rdb", ".manifest"}:
            path.unlink()
    for path in own.files("valkey").glob("appendonlydir"):
        shutil.rmtree(path)
    await own.kill("valkey")
    await _back_and_empty(here.on.bus)


async def _back_and_empty(bus: RedisBus) -> None:
    deadline = time.monotonic() + BACK_S_MAX
    while True:
        try:
            assert await bus.call("GET", SENTINEL) is None
        except RetryableError:
            assert time.monotonic() < deadline, "Valkey does not come back"
            await asyncio.sleep(0.1)
        else:
            return


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long  # a stack of its own
@pytest.mark.timeout(500)
@pytest.mark.parametrize("lost", [pytest.param(False, id="control"), pytest.param(True, id="lost")])
async def test_every_home_timeline_is_the_oracles(
    own: Own, tmp_path: Path, topic_prefix: str, seed: int, lost: bool
) -> None:
    settings = own.settings.model_copy(update={"topic_prefix": topic_prefix})
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        reading = asyncio.create_task(here.read())
        traffic = asyncio.create_task(here.traffic(EVENTS // 2, rate=800))
        await asyncio.sleep(random.Random(seed).uniform(0.5, 2.5))
        began = time.monotonic()
        if lost:
            await lose_valkey(here, own)
        await traffic
        await here.converge()
        seconds = time.monotonic() - began
        reading.cancel()
        compared, lines = await here.differences()
        events = await here.events()
        restarts = sum(worker.restarts for worker in here.workers.values())
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    name = "Valkey killed and emptied" if lost else "Valkey killed and emptied: control"
    more = f"time is to lag zero, traffic included; {restarts} restarts of workers"
    record(Figures(name, seed, seconds, events, compared, more=more))
