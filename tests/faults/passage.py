"""A running system that something is done to: what its clients were told, and that all is right.

All of it runs: workers, a gateway, readers and writers over HTTP, and a population that writes into
the log besides. Whatever the harm: what was acknowledged is in the log once, what was refused is
not, nothing that exists was said not to, workers and gateway are back soon, and in the end every
home timeline, count and list is the oracle's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from events.types import UserDeactivated, UserErased
from infra.demo.convergence import NotConverged, Offsets
from projections.base import RetryableError
from tests.faults.clients import READING, Told, median, of
from tests.faults.figures import Figures, record
from tests.faults.outcomes import check_outcomes, sent_again, until_well
from tests.faults.recovery import resume_s_max
from tests.faults.town import Town, taken_for_absent
from tests.faults.world import CONVERGE_S_MAX, World

EVENTS = 2_000
RATE = 200
READS, POSTS = 40, 6
LEAVING = (UserDeactivated, UserErased)


@dataclass(frozen=True)
class Passage:
    """What clients were told who were not deactivated by the population.

    Attributes:
        during: What was asked while the harm lasted.
        after: What was asked from when on nothing failed any more.
        usual: Half of the reads before took no longer; seconds.
    """

    during: list[Told]
    after: list[Told]
    usual: float


async def passage(town: Town, name: str, harm: Callable[[], Awaitable[str]]) -> Passage:
    """Does harm under traffic, and checks what must hold whatever it was.

    Args:
        town: The system.
        name: Of the row in the table.
        harm: Returns when its cause is gone, with words for the table.
    """
    here, clients = town.here, town.clients
    chance, bound = random.Random(f"{town.seed} {name}"), await resume_s_max()
    async with clients.running(name):
        await clients.until_told(READS, POSTS, time.monotonic())
        traffic = asyncio.create_task(here.traffic(EVENTS, rate=RATE))
        reading = asyncio.create_task(here.read())
        await _until_appended(town, chance.randrange(100, EVENTS // 3))
        began = time.monotonic()
        words = await harm()
        over = time.monotonic()
        ends = await here.view.ends()
        well, applied = await asyncio.gather(until_well(town), _until_applied(town, ends))
        await traffic
        undisturbed = await clients.until_none_fails(READS, POSTS, well)
    reading.cancel()
    left = await users_who_left(here)
    told = [*clients.told, *await sent_again(town, left)]
    oracle = await town.converged()
    absent = taken_for_absent(told, oracle, left)
    assert not absent, absent
    compared = await check_outcomes(town, told, oracle)
    entries, lines = await here.differences()
    assert not lines, (town.seed, lines)
    errors = of(told, *READING, "post", where=lambda one: one.failed)
    restarts = sum(worker.restarts for worker in here.workers.values())
    more = (
        f"{words}; gateway well {well - over:.1f} s, workers caught up {applied - over:.1f} s "
        f"after; workers ended {restarts} times so far"
    )
    figures = Figures(
        name,
        town.seed,
        max(well, applied) - over,
        await here.events(),
        compared + entries,
        errors_5xx=len(errors),
        more=more,
    )
    record(figures)
    assert max(well, applied) - over <= max(bound, await resume_s_max()), figures
    before = [one for one in of(clients.told, *READING) if one.ended < began]
    seen = [one for one in clients.told if one.user not in left]
    return Passage(
        [one for one in seen if began <= one.began < over],
        [one for one in seen if one.began >= undisturbed],
        median(before),
    )


async def users_who_left(here: World) -> set[int]:
    """Accounts that the population deactivated; what they are told is no harm's doing."""
    records = here.view.records({}, await here.view.ends(["users"]))
    return {one.event.user_id async for one in records if isinstance(one.event, LEAVING)}


async def _until_appended(town: Town, events: int) -> None:
    """Waits until the population has said so much more."""
    wanted, deadline = town.here.appender.appended + events, time.monotonic() + CONVERGE_S_MAX
    while town.here.appender.appended < wanted:
        assert time.monotonic() < deadline, "the log takes nothing"
        await asyncio.sleep(0.01)


async def _until_applied(town: Town, ends: Offsets) -> float:
    """Waits until every unit has applied what the log held; returns when that was."""
    deadline = time.monotonic() + CONVERGE_S_MAX
    while True:
        try:
            lag = await town.here.lag.by_unit(ends)
        except RetryableError:
            lag = {"an engine that does not answer": 1}
        if not any(lag.values()):
            return time.monotonic()
        if time.monotonic() > deadline:
            raise NotConverged(str(lag))
        await asyncio.sleep(0.1)


def check_after(after: list[Told]) -> None:
    """All is well again: nothing fails any more."""
    assert {one.status for one in of(after, *READING)} <= {200, 404}
    assert {one.status for one in of(after, "post")} == {201}
