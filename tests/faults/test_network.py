"""The network between workers and engines: late, reset over and over, cut, or silent.

All workers reach each engine through a proxy (`proxy.py`). What the gateway does about the same
faults is in `test_degraded.py`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from infra.settings import Settings
from streams.settings import WorkerSettings
from tests.faults.figures import Figures, record
from tests.faults.proxy import Proxy, kafka_port, proxied, redis_port
from tests.faults.recovery import resume_s_max
from tests.faults.world import CONVERGE_S_MAX, World, world

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(500),
]

EVENTS = 3_000
ROUND = 1_500
RATE = 200
LATE_S = 0.04
RESETS = 12
AWAY_S = WorkerSettings.session_timeout_seconds * 1.5
"""Longer than the group waits for a member that is not heard of."""


@dataclass
class Net:
    """A world whose workers stand behind proxies."""

    here: World
    proxies: dict[str, Proxy]
    seed: int


@pytest.fixture(scope="module")
async def net(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Net]:
    seed = random.randrange(1 << 32)
    settings = stack.model_copy(update={"topic_prefix": f"t{seed}-"})
    async with AsyncExitStack() as closing:
        enter = closing.enter_async_context
        proxies = {
            "store": await enter(proxied(settings.cassandra_hosts[0])),
            "redis": await enter(proxied(settings.redis_url.rpartition("/")[2], redis_port)),
            "log": await enter(proxied(settings.kafka_bootstrap, kafka_port)),
        }
        env = {
            "MURMUR_CASSANDRA_HOSTS": proxies["store"].address,
            "MURMUR_REDIS_URL": f"redis://{proxies['redis'].address}",
            "MURMUR_KAFKA_BOOTSTRAP": proxies["log"].address,
        }
        here = await enter(world(settings, tmp_path_factory.mktemp("net"), seed, env=env))
        await here.traffic(EVENTS)
        await here.converge()
        await here.warm()
        yield Net(here, proxies, seed)


async def nothing(_proxies: list[Proxy], _chance: random.Random) -> None:
    """The control."""


async def late(proxies: list[Proxy], _chance: random.Random) -> None:
    for proxy in proxies:
        proxy.slow(LATE_S)
    await asyncio.sleep(AWAY_S)


async def reset(proxies: list[Proxy], chance: random.Random) -> None:
    for _ in range(RESETS):
        chance.choice(proxies).reset()
        await asyncio.sleep(chance.uniform(0.0, 2 * AWAY_S / RESETS))


async def cut(proxies: list[Proxy], _chance: random.Random) -> None:
    for proxy in proxies:
        proxy.cut()
    await asyncio.sleep(AWAY_S)


async def silent(proxies: list[Proxy], _chance: random.Random) -> None:
    for proxy in proxies:
        proxy.silence()
    await asyncio.sleep(AWAY_S)


Harm = Callable[[list[Proxy], random.Random], Awaitable[None]]
EVERY = ("store", "redis", "log")


@pytest.mark.parametrize(
    ("harm", "engines"),
    [
        (nothing, EVERY),
        (late, EVERY),
        (reset, EVERY),
        *((harm, (engine,)) for harm in (cut, silent) for engine in EVERY),
    ],
    ids=lambda value: value.__name__ if callable(value) else "-".join(value),
)
async def test_every_home_timeline_is_the_oracles(
    net: Net, harm: Harm, engines: tuple[str, ...]
) -> None:
    here, chance = net.here, random.Random(f"{net.seed} {harm.__name__} {engines}")
    bound = await resume_s_max()
    before = {unit: worker.restarts for unit, worker in here.workers.items()}
    reading = asyncio.create_task(here.read())
    traffic = asyncio.create_task(here.traffic(ROUND, rate=RATE))
    try:
        await harm([net.proxies[engine] for engine in engines], chance)
    finally:
        for proxy in net.proxies.values():
            proxy.heal()
    healed = time.monotonic()
    ends = await here.view.ends()
    while any((await here.lag.by_unit(ends)).values()):
        assert time.monotonic() - healed < CONVERGE_S_MAX, await here.lag.by_unit(ends)
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - healed
    await traffic
    await here.converge()
    reading.cancel()
    compared, lines = await here.differences()
    restarts = sum(worker.restarts - before[unit] for unit, worker in here.workers.items())
    assert lines == [], f"seed {net.seed}"
    name = f"network of workers {harm.__name__}: {', '.join(engines)}"
    if harm is nothing:
        name = "network of workers: control"
    figures = Figures(
        name, net.seed, seconds, await here.events(), compared, more=f"{restarts} new processes"
    )
    record(figures)
    assert seconds <= max(bound, await resume_s_max())
