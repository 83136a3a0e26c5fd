"""The machine of a lone broker loses power: what it had not written back is gone, though promised.

The broker is killed and partitions of the test's topics are cut at a random place above their
recovery point (decision 0130). Then: what lies below the recovery point is there; no worker goes
on over the hole, each ends and says so; and new generations of all units, built and promoted as
an operator does, are what the oracle says of what the log holds.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from infra import compose, generations
from infra.demo.children import ChildFailed
from infra.demo.convergence import Offsets
from infra.settings import Settings
from streams.errors import OperatorNeeded
from tests.faults.figures import Figures, record
from tests.faults.own import Own
from tests.faults.world import World, world
from tests.integration.stack.test_worker_command import Cli

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(500),
]

EVENTS = 4_000
END_S_MAX = 90.0
CHECKPOINT = "recovery-point-offset-checkpoint"
REBUILD_S_MAX = 180.0


@pytest.mark.parametrize("lost", [False, True], ids=["control", "lost"])
async def test_nobody_goes_on_over_a_hole(
    own: Own, tmp_path: Path, topic_prefix: str, seed: int, lost: bool
) -> None:
    settings = own.settings.model_copy(update={"topic_prefix": topic_prefix})
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS)
        await here.converge()
        topics = [topic.name for topic in here.on.topics]
        before = await here.view.ends(topics)
        await put_down(here)
        began = time.monotonic()
        restarts = await own.kill("kafka")
        safe = cut(own, here, random.Random(seed)) if lost else {}
        await own.until_back("kafka", restarts)
        after = await here.view.ends(topics)
        gone = {place for place in before if after[place] < before[place]}
        assert bool(gone) == lost
        for place in gone:
            assert after[place] >= safe[place]
        units = await end_of_workers(here, gone)
        if lost:
            await rebuilt(settings, tmp_path)
    async with world(settings, tmp_path / "after", seed) as here:
        await here.converge()
        seconds = time.monotonic() - began
        compared, lines = await here.differences()
        events = await here.events()
    assert lines == [], f"seed {seed}"
    assert compared > 0
    held = sum(before.values())
    more = (
        f"{held - sum(after.values())} of {held} acknowledged records gone; {units} units ended "
        f"with status 78; time is to a whole new generation"
        if lost
        else f"nothing of {held} events gone"
    )
    name = "power of a lone broker lost" if lost else "power of a lone broker lost: control"
    record(Figures(name, seed, seconds, events, compared, more=more))


async def put_down(here: World) -> None:
    """Stops all workers; from here on this test looks after them."""
    for supervisor in here.supervisors:
        supervisor.cancel()
    here.supervisors.clear()
    for worker in here.workers.values():
        assert await worker.stop(), f"{worker.name} did not end by itself"


def cut(own: Own, here: World, chance: random.Random) -> Offsets:
    """Cuts some partitions where nothing vouches for them; returns their recovery points."""
    data, safe = own.files("kafka"), Offsets()
    vouched = recovery_points(data / CHECKPOINT)
    for topic in here.on.topics:
        for partition in range(topic.partitions.local):
            folder = data / f"{here.on.topics.name(topic.name)}-{partition}"
            segment = max(folder.glob("*.log"))
            safe[topic.name, partition] = vouched.get(folder.name, 0)
            if safe[topic.name, partition] == 0 and chance.random() < 0.7:
                os.truncate(segment, chance.randrange(segment.stat().st_size + 1))
    return safe


def recovery_points(checkpoint: Path) -> dict[str, int]:
    """By folder; a partition that is not named has 0."""
    _, _, *entries = checkpoint.read_text().splitlines()
    return {
        f"{topic}-{partition}": int(offset)
        for topic, partition, offset in (entry.rsplit(" ", 2) for entry in entries)
    }


async def end_of_workers(here: World, gone: set[tuple[str, int]]) -> int:
    """Starts all workers; those that had applied what is gone must end and say so.

    Returns:
        How many did.
    """
    hit = {
        unit
        for unit, make in compose.UNITS.items()
        if {topic for topic, _ in gone} & make(here.on).topics
    }
    watching = {}
    for unit, worker in here.workers.items():
        await worker.start()
        watching[unit] = asyncio.create_task(worker.supervise())
    if hit:
        await asyncio.wait([watching[unit] for unit in hit], timeout=END_S_MAX)
    else:
        await here.converge()
    for unit, watch in watching.items():
        if unit in hit:
            assert watch.done(), f"{unit} goes on"
            words = str(watch.exception())
            assert isinstance(watch.exception(), ChildFailed)
            assert f"exit status {OperatorNeeded.exit_code}" in words
            assert "the log was truncated" in words
        else:
            assert not watch.done()
            watch.cancel()
    return len(hit)


async def rebuilt(settings: Settings, folder: Path) -> None:
    """What an operator does next: builds every unit from the log as it is, and promotes it."""
    cli, units = Cli(settings, folder), generations.states()

    async def done(unit: str, *words: str) -> None:
        log = folder / f"{words[0]}-{unit}.log"
        process = await asyncio.to_thread(cli.begin, log, words[0], unit, *words[1:])
        status = await asyncio.to_thread(process.wait, REBUILD_S_MAX)
        assert status == 0, log.read_text()

    await asyncio.gather(*(done(unit, "replay") for unit in units))
    await asyncio.gather(*(done(unit, "promote", "--waive", "power loss") for unit in units))
