"""Whoever works trends out killed (-9), and the next one paused beyond its lease and woken up.

Two processes feed trends and would work them out. The history that readers see is the oracle's, and
the tokens of its rows say that each window was worked out by one, the one that led by then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest

from infra import trending
from infra.demo.children import Worker
from infra.settings import Settings
from projections.trends.leader import LEASE_MS
from projections.trends.unit import NAME
from tests.faults import trended
from tests.faults.figures import Figures, record
from tests.faults.models import running
from tests.faults.recovery import RESUME_S_MAX, resume_s_max
from tests.faults.world import World

EVENTS = 2_000
RATE = 60
LONG_ENOUGH = 60_000
LEADS_S_MAX = 30.0
POLL_S = 0.2
WINDOWS = "murmur_trends_windows_total"
TAKE_OVER_S = 5.0
"""Beyond the lease, on a quiet machine: the look for it, and the window that was due first."""

_TOKEN = "SELECT fence FROM {trend_leader} WHERE name = ?"


class Leaders:
    """The processes, and who of them leads."""

    def __init__(self, here: World, workers: list[Worker], client: httpx.AsyncClient) -> None:
        self._here = here
        self._workers = workers
        self._client = client
        self._reader = trending.reader(here.on)

    async def token(self) -> int:
        """Under which is led."""
        store, name = self._here.on.store_of(NAME), self._here.on.keys(NAME).unit
        rows = await store.execute(_TOKEN, (name,))
        return int(rows[0][0]) if rows else 0

    async def leading(self) -> Worker:
        """The process that works windows out, once one is."""
        deadline = time.monotonic() + LEADS_S_MAX
        before = await self._windows()
        while True:
            assert time.monotonic() < deadline, "nobody works trends out"
            await asyncio.sleep(POLL_S)
            now = await self._windows()
            for worker, done in now.items():
                if done > before.get(worker, done):
                    return worker
            before = now

    async def _windows(self) -> dict[Worker, float]:
        shown = [await worker.metrics(self._client) for worker in self._workers]
        return {
            worker: metrics[WINDOWS]
            for worker, metrics in zip(self._workers, shown, strict=True)
            if WINDOWS in metrics
        }

    async def next_window(self, token: int, seconds_max: float) -> float:
        """Seconds until a window is worked out under a higher token."""
        began = time.monotonic()
        while await self.token() <= token:
            assert time.monotonic() - began < seconds_max, "nobody takes over"
            await asyncio.sleep(POLL_S)
        done = await self._reader.done()
        while await self._reader.done() <= done:
            assert time.monotonic() - began < seconds_max, "whoever took over works nothing out"
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began


async def take_over_s_max() -> float:
    """The lease, and what a look takes at the pace of this machine now."""
    return LEASE_MS / 1000 + TAKE_OVER_S * await resume_s_max() / RESUME_S_MAX


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("faults", [False, True], ids=["control", "killed and paused"])
async def test_one_works_out_each_window(
    settings: Settings, tmp_path: Path, seed: int, faults: bool
) -> None:
    chance = random.Random(seed)
    seconds: list[float] = []
    async with running(trended.MODEL, settings, tmp_path, seed) as here, httpx.AsyncClient() as web:
        second = Worker(NAME, tmp_path / "second", here.env)
        await second.start()
        here.supervisors.append(asyncio.create_task(second.supervise()))
        leaders = Leaders(here, [here.workers[NAME], second], web)
        try:
            await here.traffic(EVENTS)
            await here.converge()
            stop = asyncio.Event()
            traffic = asyncio.create_task(here.traffic(LONG_ENOUGH, RATE, stop))
            leader = await leaders.leading()
            bound = await take_over_s_max()
            if faults:
                await asyncio.sleep(chance.random())  # at any moment of a turn
                token = await leaders.token()
                await leader.kill()  # whoever supervises starts it again
                seconds.append(await leaders.next_window(token, 2 * bound))
                sleeper = await leaders.leading()
                await asyncio.sleep(chance.random())
                seconds.append(await _paused(leaders, sleeper, 2 * bound))
            await leaders.leading()
            stop.set()
            await traffic
            await here.converge()
            compared, lines = await trended.compare(here, chance)
            events, token = await here.events(), await leaders.token()
        finally:
            await second.stop()
    assert lines == [], f"seed {seed}"
    assert token >= 3 or not faults, f"seed {seed}: who led was not taken over from"
    name = "leader of trends killed, the next paused" if faults else "leader of trends: control"
    more = f"led under {token} tokens in turn; the lease is {LEASE_MS // 1000} s"
    longest = max(seconds, default=None)
    record(Figures(name, seed, longest, events, compared, more=more))
    assert max(seconds, default=0.0) <= max(bound, await take_over_s_max())


async def _paused(leaders: Leaders, sleeper: Worker, seconds_max: float) -> float:
    """Stops who leads until another works windows out; wakes it up and has both go on."""
    token, pid = await leaders.token(), sleeper.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        return await leaders.next_window(token, seconds_max)
    finally:
        os.kill(pid, signal.SIGCONT)
