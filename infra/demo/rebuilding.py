"""The end of the demo: one projection is rebuilt from the log and put into service, during traffic.

Steps, while a small population of its own goes on acting:
1. drop the generations that earlier demos left: nobody feeds them;
2. build the next generation of the unit from the log, and feed it from then on;
3. compare it with the one in service, as readers see them, and promote it;
4. wait until the gateway says that it reads it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import msgspec

from infra import compose
from infra.audit import Audit, audit
from infra.compose import Engines
from infra.demo.children import ChildFailed, Worker
from infra.diff.compare import compare
from infra.replay import lifecycle
from infra.replay.rebuild import Rebuild, begin
from infra.simulate.appender import Appender
from infra.simulate.generator import Plan
from projections.engagement.unit import NAME as UNIT

TRAFFIC_USERS = 50
TRAFFIC_RATE = 100.0
SAMPLE = 100
CHANGED_S_MAX = 20.0
POLL_S = 0.2


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it.

    Attributes:
        unit: The unit.
        generation: What serves now.
        events: Events applied to build it.
        seconds: Until it had reached the live end.
        keys_compared: Keys that were read in both generations.
        keys_different: How many of them differ; with any, nothing is promoted.
    """

    unit: str
    generation: str
    events: int
    seconds: float
    keys_compared: int
    keys_different: int

    def words(self) -> str:
        """One line."""
        told = (
            f"{self.keys_different} of {self.keys_compared} keys DIFFER, not promoted"
            if self.keys_different
            else f"{self.keys_compared} keys equal in both, promoted to {self.generation}"
        )
        return (
            f"{self.unit} rebuilt from the log during traffic: {self.events:,} events in "
            f"{self.seconds:.1f} s; {told}"
        )


async def rebuild(on: Engines, logs: Path, gateway_url: str, seed: int) -> Rebuilt:
    """Does all steps; the next generation's worker ends with it.

    Raises:
        ChildFailed, GenerationError, EventsError, RetryableError: It cannot go on.
    """
    async with AsyncExitStack() as closing:
        log = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        tell = partial(audit, log, minter)
        for one in await on.generations.of(UNIT):  # 1
            if one.name != on.generation(UNIT):
                await lifecycle.drop(on, UNIT, one.name, tell)
        plan = Plan(users=TRAFFIC_USERS, seed=seed, follows_mean=5.0)
        people = await Appender.open(log, minter, plan)
        enough = asyncio.Event()
        acting = asyncio.create_task(people.run(rate=TRAFFIC_RATE, events=None, stop=enough))
        try:
            return await _rebuild(on, logs, gateway_url, seed, tell)
        finally:
            enough.set()
            await acting


async def _rebuild(on: Engines, logs: Path, gateway_url: str, seed: int, tell: Audit) -> Rebuilt:
    one = await begin(on, UNIT)  # 2
    began = time.monotonic()
    reached = await Rebuild(on, one, log_dir=logs).run()
    seconds = time.monotonic() - began
    worker = Worker(UNIT, logs, {}, generation=one.name)
    await worker.start()
    try:
        names = (on.generation(UNIT), one.name)
        there = on.at({UNIT: one.name})
        report = await compare(  # 3
            on, there, UNIT, names=names, sample=SAMPLE, seed=seed
        )
        different = sum(total.different + total.unsettled for total in report.totals)
        if not different:
            to = await lifecycle.candidate(on, UNIT, one.name)
            await lifecycle.promote(on, UNIT, to, tell, compare=None, detail="compared, and equal")
            await _changed_over(gateway_url, one.name)  # 4
    finally:
        await worker.stop()
    return Rebuilt(
        unit=UNIT,
        generation=one.name,
        events=reached.total,
        seconds=round(seconds, 3),
        keys_compared=report.compared,
        keys_different=different,
    )


async def _changed_over(gateway_url: str, name: str) -> None:
    deadline = time.monotonic() + CHANGED_S_MAX
    async with httpx.AsyncClient() as client:
        while True:
            checks = (await client.get(f"{gateway_url}/readyz")).json()["checks"]
            told = str(checks[UNIT]["detail"])
            if told.startswith(f"{name},"):
                return
            if time.monotonic() > deadline:
                raise ChildFailed(f"the gateway does not read {name} of {UNIT}: {told}")
            await asyncio.sleep(POLL_S)
