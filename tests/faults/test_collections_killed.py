"""The worker of lists and bookmarks killed with -9 in the middle of slices: all is the oracle's."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, closing
from itertools import count
from pathlib import Path
from random import Random

import pytest

from events.log import Log
from events.types import Event
from infra import compose
from infra.compose import Engines
from infra.demo.children import Worker
from infra.demo.convergence import Lag, open_view
from infra.prepare import prepare_on
from infra.settings import Settings
from projections.keys import Keys
from tests.contracts.case import World
from tests.contracts.collections_case import (
    TWEETS,
    USERS,
    CollectionsCase,
    said_of_bookmarks,
    said_of_list,
)
from tests.faults.figures import Figures, record
from tests.faults.recovery import Ended, ended, resume_s_max, until_applying
from tests.oracle import LogRecord

UNIT = "collections"
EVENTS = 8_000
LISTS = 60
KILLS = 2
TOGETHER = 200
CONVERGE_S_MAX = 90.0


class Running(World):
    """The contract's view of what a real worker built."""

    def __init__(self, on: Engines) -> None:
        super().__init__(on.bus, on.store)
        self._on = on

    def keys(self, unit: str) -> Keys:
        return self._on.keys(unit)


def happenings(chance: Random) -> list[Event]:
    """What is said of lists and bookmarks; some of it twice."""
    base = chance.getrandbits(40) << 20
    ids = count(base + 100_000)
    said: list[Event] = []
    while len(said) < EVENTS:
        if chance.random() < 0.7:
            list_id = base + 1000 + chance.randrange(LISTS)
            event = said_of_list(chance, next(ids), list_id, base)
        else:
            user, tweet = base + chance.randrange(USERS), base + 2000 + chance.randrange(TWEETS)
            event = said_of_bookmarks(chance, next(ids), user, tweet)
        said += [event] * (2 if chance.random() < 0.05 else 1)
    return said


async def append(log: Log, events: list[Event]) -> None:
    """Appends events, many under way at once."""
    for at in range(0, len(events), TOGETHER):
        await asyncio.gather(*(log.append(event) for event in events[at : at + TOGETHER]))


@pytest.mark.engines
@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [0, KILLS], ids=["control", "killed"])
async def test_lists_and_bookmarks_are_the_oracles(
    settings: Settings, tmp_path: Path, seed: int, kills: int
) -> None:
    chance = Random(seed)
    env = {
        "MURMUR_DATA_DIR": str(settings.data_dir),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
    }
    said = happenings(chance)
    async with AsyncExitStack() as ending:
        on = await ending.enter_async_context(compose.engines(settings))
        await prepare_on(on)
        worker = Worker(UNIT, tmp_path, env)
        ending.push_async_callback(worker.stop)
        await worker.start()
        view = ending.enter_context(closing(open_view(on)))
        log = await ending.enter_async_context(compose.open_log(on))
        lag = Lag(on, view, [UNIT])
        part = len(said) // (kills + 1)
        await append(log, said[:part])
        await lag.until_zero(CONVERGE_S_MAX)
        reading = asyncio.create_task(_read(Running(on), said))
        bound, left, seconds = await resume_s_max(), list[Ended](), list[float]()
        for kill in range(1, kills + 1):
            await append(log, said[kill * part : None if kill == kills else (kill + 1) * part])
            at = time.monotonic()
            await worker.kill()
            left.append(await ended(on, UNIT, at))
            await worker.start()
            assert (await lag.by_unit())[UNIT], f"seed {seed}: it was killed without work"
            seconds.append(await until_applying(on, left[-1]))
        began = time.monotonic()
        await lag.until_zero(CONVERGE_S_MAX)
        seconds = seconds or [time.monotonic() - began]
        reading.cancel()
        history = [record async for record in view.records({}, await view.ends())]
        compared = await _compare(Running(on), history, seed)
    name = "worker of lists killed" + ("" if kills else ": control")
    more = f"{kills} kills in mid-slice" if kills else "time is to lag zero"
    again = sum(one.redelivered for one in left)
    record(Figures(name, seed, max(seconds), len(history), compared, again, more=more))
    assert not kills or max(seconds) <= max(bound, await resume_s_max())


async def _read(world: World, said: list[Event]) -> None:
    """Reads lists until cancelled, so that they are cached when a fault hits."""
    reader = CollectionsCase().reader(world)
    lists = sorted({event.list_id for event in said if hasattr(event, "list_id")})
    while True:
        for list_id in lists:
            await reader.lists([list_id])
            await reader.members(list_id)


async def _compare(world: World, history: list[LogRecord], seed: int) -> int:
    case = CollectionsCase()
    seen, expected = await case.seen(world, history), case.expected(history)
    assert len(history) >= EVENTS
    assert expected["lists"] and any(expected["bookmarks"].values())
    assert seen == expected, f"seed {seed}"
    return sum(len(answers) for answers in expected.values())
