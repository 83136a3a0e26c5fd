"""Valkey killed with -9 and back empty: every home timeline still is the oracle's.

What Valkey holds is a cache of what Cassandra and the log hold, and positions. So nothing may be
missing afterwards, neither of before nor of after, whoever wrote or read in between.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.demo.children import start_stack
from infra.settings import Settings, load
from infra.stack import state
from projections.base import RetryableError
from projections.bus import RedisBus
from tests.faults.world import World, world

EVENTS = 6_000
STACK_READY_S = 180.0
STACK_STOP_S = 60.0
BACK_S_MAX = 60.0
SENTINEL = "{fault}:sentinel"
logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    """A stack for this module alone: nobody else's Valkey is killed."""
    folder = tmp_path_factory.mktemp("valkey-lost")
    env = {"MURMUR_STACK_USUAL_PORTS": "false"}
    stack = await start_stack(folder, STACK_READY_S, folder / "launcher.log", env)
    try:
        yield load(environ={}, data_dir=folder).settings
    finally:
        await stack.stop(STACK_STOP_S)


async def lose_valkey(here: World) -> None:
    """Kill it and take its files away; the launcher starts it again, with nothing in it."""
    data_dir = here.on.settings.data_dir
    before = state.read(data_dir)
    assert before is not None
    engine = before.engines["valkey"].identity()
    assert engine is not None
    await here.on.bus.call("SET", SENTINEL, "here")
    # Its files first: once it is dead the launcher is quick. Its cluster's slots stay known.
    for path in (data_dir / "data" / "valkey").rglob("*"):
        if path.suffix in {".aof", ".rdb", ".manifest"}:
            path.unlink()
    for path in (data_dir / "data" / "valkey").glob("appendonlydir"):
        shutil.rmtree(path)
    engine.signal(signal.SIGKILL)
    assert await engine.gone(10.0)
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
@pytest.mark.timeout(500)
@pytest.mark.parametrize(
    "lost",
    [pytest.param(False, id="control", marks=pytest.mark.long), pytest.param(True, id="lost")],
)
async def test_every_home_timeline_is_the_oracles(
    own: Settings, tmp_path: Path, topic_prefix: str, lost: bool
) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    settings = own.model_copy(update={"topic_prefix": topic_prefix})
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        reading = asyncio.create_task(here.read())
        traffic = asyncio.create_task(here.traffic(EVENTS // 2, rate=800))
        await asyncio.sleep(random.Random(seed).uniform(0.5, 2.5))
        if lost:
            await lose_valkey(here)
        await traffic
        await here.converge()
        reading.cancel()
        compared, lines = await here.differences()
        restarts = {unit: worker.restarts for unit, worker in here.workers.items()}
        logger.warning("restarts %s", restarts)
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS
