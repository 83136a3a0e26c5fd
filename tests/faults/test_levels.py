"""Levels of degrading entered by what a gateway measures, under traffic, and left by themselves.

Load is a crowd of readers and a Redis that is late, so that more requests are under way than the
threshold allows. Lag is a worker of the timelines that is stopped while the population goes on.
The same gateway with the same thresholds and its usual clients is the control: it never leaves
level 0.

At a level clients are answered and told so; what is refused says when to try again; nothing
that was acknowledged is lost; when its cause is over the level goes away step by step, and every
home timeline is the oracle's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra import compose
from infra.demo.children import GatewayProcess
from infra.settings import Settings
from tests.faults.clients import READING, Told, of
from tests.faults.figures import Figures, record
from tests.faults.outcomes import check_outcomes, sent_again
from tests.faults.passage import users_who_left
from tests.faults.recovery import RESUME_S_MAX, resume_s_max
from tests.faults.town import Town, taken_for_absent
from tests.faults.town import town as opened

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

NEVER = "1000"
ENV = {
    "MURMUR_DEGRADE_AUTO_MAX": "3",
    "MURMUR_DEGRADE_LOOP_S": NEVER,
    "MURMUR_DEGRADE_REDIS_S": NEVER,
    "MURMUR_DEGRADE_STORE_S": NEVER,
    "MURMUR_DEGRADE_UNDER_WAY": "0.016",
    "MURMUR_DEGRADE_RISE_S": "0.5",
    "MURMUR_DEGRADE_HOLD_S": "1",
}
"""Level 1 from 17 requests under way on, level 2 from twice as many."""
LAG_S = 3.0
"""Level 1 from there on, 2 from twice and 3 from four times; of a machine with nothing else to do.
On one that has, everything lags."""
CROWD = 64
LATE_S = 0.03
HEADER = "x-degradation-level"
READS, POSTS = 40, 6
EVENTS, RATE = 20_000, 50
"""More than there is time for: the population acts until the level was left."""
ENTERED_S_MAX = 180.0
LEAVING_S_MAX = 12.0
"""Three levels, each held for a second in which nothing asks for it, seen once a second."""


@pytest.fixture(scope="module")
async def town(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    lag_s = LAG_S * await resume_s_max() / RESUME_S_MAX

    def measuring(port: int, logs: Path, env: Mapping[str, str]) -> GatewayProcess:
        return GatewayProcess(port, logs, {**env, **ENV, "MURMUR_DEGRADE_LAG_S": str(lag_s)})

    async with opened(stack, tmp_path_factory.mktemp("levels"), measuring) as found:
        await found.clients.homes()
        yield found


@pytest.mark.parametrize(("cause", "level"), [("control", 0), ("load", 2), ("lag", 3)])
async def test_a_level_is_entered_and_left(town: Town, cause: str, level: int) -> None:
    clients, bound = town.clients, await resume_s_max()
    await until_level(town, 0, 0, ENTERED_S_MAX)
    async with clients.running(f"level by {cause}"):
        traffic = asyncio.create_task(town.here.traffic(EVENTS, rate=RATE))
        began = time.monotonic()
        async with causes(town, cause):
            entered = await until_level(town, level, 3, ENTERED_S_MAX)
            await clients.until_told(READS, POSTS, entered)
        over = time.monotonic()
        left = await until_level(town, 0, 0, ENTERED_S_MAX)
        traffic.cancel()
        await asyncio.gather(traffic, return_exceptions=True)
        await until_pushed(town)
        await clients.until_told(READS, POSTS, time.monotonic())
    gone = await users_who_left(town.here)
    told = [one for one in clients.told if one.user not in gone]
    at = [one for one in told if entered <= one.began and one.ended < over]
    check(told, at, level)
    told += await sent_again(town, gone)
    oracle = await town.converged()
    assert taken_for_absent(told, oracle, gone) == []
    compared = await check_outcomes(town, told, oracle)
    events = await town.here.events()
    errors = of(told, *READING, "post", where=lambda one: one.status >= 500 or not one.status)
    levels = sorted({level_of(one) for one in told})
    more = f"level {level} after {entered - began:.1f} s; levels seen: {levels}" if level else ""
    name = f"level of degrading by {cause}" if level else "level of degrading: control"
    seconds = left - over
    record(Figures(name, town.seed, seconds, events, compared, None, len(errors), more))
    if not level:
        assert levels == [0]
    assert seconds <= max(bound, await resume_s_max()) + LEAVING_S_MAX


def level_of(one: Told) -> int:
    return int(one.answer.headers.get(HEADER, "0"))


@asynccontextmanager
async def causes(town: Town, cause: str) -> AsyncIterator[None]:
    """What asks for a level, for as long as the context lasts."""
    if cause == "load":
        town.proxies["redis"].slow(LATE_S)
        try:
            async with asyncio.TaskGroup() as group:
                crowd = [group.create_task(_ask(town, number)) for number in range(CROWD)]
                yield
                for one in crowd:
                    one.cancel()
        finally:
            town.proxies["redis"].heal()
    elif cause == "lag":
        worker = town.here.workers["timelines"].pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)
    else:
        yield


async def _ask(town: Town, number: int) -> None:
    """One of the crowd: reads home timelines, one right after the other, until cancelled."""
    users = town.clients.users
    while True:
        town.clients.told.append(await town.clients.home(users[number % len(users)]))
        number += CROWD


async def until_level(town: Town, lowest: int, highest: int, seconds_max: float) -> float:
    """Waits until the gateway is at one of these levels; returns when that was."""
    deadline = time.monotonic() + seconds_max
    while True:
        answer = await town.clients.client.get("/healthz")
        now = int(answer.headers.get(HEADER, "0"))
        if lowest <= now <= highest:
            return time.monotonic()
        assert time.monotonic() < deadline, f"level {now}, not {lowest} to {highest}"
        await asyncio.sleep(0.1)


async def until_pushed(town: Town) -> None:
    """Waits until the workers push tweets (again)."""
    reader, deadline = compose.timelines_reader(town.here.on), time.monotonic() + ENTERED_S_MAX
    while (await reader._tiers.view()).pull_only:
        assert time.monotonic() < deadline, "nothing is pushed any more"
        await asyncio.sleep(0.1)


def check(told: list[Told], at: list[Told], level: int) -> None:
    """Who is answered at a level is told so; what fails says when to try again."""
    refused = of(told, *READING, "post", where=lambda one: one.status in (503, 504))
    assert {one.status for one in told} <= {200, 201, 404, 503, 504}
    assert not refused if not level else len(refused) < len(told) / 10
    for one in refused:
        assert one.status == 504 or int(one.answer.headers["retry-after"]) >= 1
    assert len(of(at, *READING)) >= READS // 2
    assert max(map(level_of, at)) >= level
    for one in of(at, "home", where=lambda one: one.status == 200):
        assert one.page().meta.stale == ("x-stale" in one.answer.headers)
