"""How a worker comes back: how soon, and what it is handed out again."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from infra.compose import Engines
from infra.demo.convergence import Lag
from projections.base import RetryableError

RESUME_S_MAX = 15.0
"""What the product promises after a crash, of a machine that has nothing else to do: from the kill
until a new worker applies."""
QUIET_START_S = 2.0
"""What a worker takes to import all it needs, on two quiet cores."""
POLL_S = 0.1
WAIT_S_MAX = 90.0
LAGS_S_MAX = 30.0


@dataclass(frozen=True)
class Ended:
    """A unit whose worker has just ended.

    Attributes:
        unit: Which.
        at: When it was ended; monotonic seconds.
        applied: Its positions in the store, added up.
        redelivered: Events that something was written of and the next worker applies again.
    """

    unit: str
    at: float
    applied: int
    redelivered: int


async def ended(on: Engines, unit: str, at: float) -> Ended:
    """Looks at what a unit left; no worker of it may run."""
    keys = on.keys(unit)
    stored = await on.applied(unit).all()
    low, high = dict(stored), dict(stored)
    asked = [("HGETALL", keys.positions(bucket)) for bucket in range(keys.buckets)]
    for reply in await on.bus.calls_strict(asked):
        for source, offset in zip(reply[::2], map(int, reply[1::2]), strict=True):
            name = source.decode()
            low[name] = min(low.get(name, 0), offset)
            high[name] = max(high.get(name, 0), offset)
    again = sum(high[name] - low[name] for name in high)
    return Ended(unit, at, sum(stored.values()), again)


async def until_applying(on: Engines, before: Ended) -> float:
    """Seconds from the end of a unit's worker until another applies; there must be work."""
    applied = on.applied(before.unit)
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            if sum((await applied.all()).values()) > before.applied:
                return time.monotonic() - before.at
        except RetryableError:
            pass  # an engine is away as well: that is part of the time
        assert time.monotonic() < deadline, f"{before.unit} does not resume"
        await asyncio.sleep(POLL_S)


async def crashes(
    on: Engines,
    lag: Lag,
    kill: Callable[[str], Awaitable[Ended]],
    chance: random.Random,
    kills: int,
) -> tuple[list[Ended], list[asyncio.Task[float]]]:
    """Kill workers of different units at about the same moment, each in the middle of a slice.

    Events must come in meanwhile: one that lags while they do is in the middle of a slice. One that
    left nothing to do after all does not count.

    Returns:
        What they left, and the seconds, to be awaited, from each kill until another applied.
    """
    left: list[Ended] = []
    resuming: list[asyncio.Task[float]] = []
    deadline = time.monotonic() + LAGS_S_MAX
    while len(resuming) < kills:
        assert time.monotonic() < deadline, f"only {len(resuming)} workers had work"
        await asyncio.sleep(chance.uniform(0.05, 0.5))
        killed = {one.unit for one in left}
        lagging = [unit for unit, n in (await lag.by_unit()).items() if n and unit not in killed]
        units = chance.sample(lagging, min(len(lagging), kills - len(resuming)))
        some = await asyncio.gather(*map(kill, units))
        lags = await lag.by_unit()
        left += some
        resuming += [asyncio.create_task(until_applying(on, one)) for one in some if lags[one.unit]]
    return left, resuming


async def resume_s_max(at_once: int = 1) -> float:
    """The promise, at the pace of this machine now: a start of processes is the measure.

    Args:
        at_once: How many start together, as those do that replace what was killed.
    """

    async def start() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import infra.worker")
        assert await process.wait() == 0

    began = time.monotonic()
    await asyncio.gather(*(start() for _ in range(at_once)))
    return RESUME_S_MAX * max(1.0, (time.monotonic() - began) / QUIET_START_S)
