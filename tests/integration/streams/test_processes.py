"""Real processes, killed, stopped and joined by others; nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.integration.streams.conftest import Processes
from tests.integration.streams.kit import Bench
from tests.integration.streams.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]


async def ended(process: asyncio.subprocess.Process, seconds: float) -> int:
    return await asyncio.wait_for(process.wait(), seconds)


@pytest.mark.fault
async def test_kill_9_between_the_write_and_the_commit(bench: Bench, processes: Processes) -> None:
    bench.create(1)
    bench.produce(range(5_000))
    first = await processes.start("pause-after-write", "records=1000")
    await until(lambda: len(bench.state.values()) == 1000)
    first.kill()
    await first.wait()
    assert bench.committed().get("numbers/0", 0) == 0  # the write is not known to the group
    second = await processes.start("name=second")
    await bench.applied(range(5_000))
    await bench.settled()
    second.terminate()
    assert await ended(second, 10) == 0


@pytest.mark.fault
async def test_kill_9_again_and_again(bench: Bench, processes: Processes) -> None:
    bench.create(2)
    bench.produce(range(4_000))
    for _ in range(3):
        before = len(bench.state.values())
        process = await processes.start("slow=0.1", "records=200")
        await until(lambda done=before: len(bench.state.values()) >= done + 600)  # type: ignore[misc]
        process.kill()
        await process.wait()
    await processes.start()
    await bench.applied(range(4_000))
    await bench.settled()


async def test_sigterm_under_load_finishes_commits_and_leaves(
    bench: Bench, processes: Processes
) -> None:
    bench.create(1)
    bench.produce(range(20_000))
    process = await processes.start("slow=0.2", "records=500")
    await until(lambda: len(bench.state.calls()) >= 3)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await ended(process, 10) == 0
    assert time.monotonic() - asked < 5
    assert bench.committed() == bench.state.positions()
    assert bench.members() == 0  # it left: nobody waits for its session to time out
    calls = len(bench.state.calls())
    await processes.start()
    await bench.applied(range(20_000), 60)
    assert bench.state.calls()[calls][0] == bench.state.calls()[calls - 1][1]


async def test_workers_join_and_leave(bench: Bench, processes: Processes) -> None:
    bench.create(4)
    total = 0

    def more() -> None:
        nonlocal total
        bench.produce(range(total, total + 4_000))
        total += 4_000

    def works(worker: str) -> bool:
        """Whether it has applied something; until it has, there is always something to do."""
        if total - len(bench.state.values()) < 2_000:
            more()
        return worker in bench.state.workers()

    await processes.start("name=one", "slow=0.2", "records=100")
    await until(lambda: works("one"))
    two = await processes.start("name=two", "slow=0.2", "records=100")
    await until(lambda: works("two"))
    two.terminate()
    assert await ended(two, 10) == 0
    three = await processes.start("name=three", "slow=0.2", "records=100")
    await until(lambda: works("three"))
    three.kill()
    await three.wait()
    await bench.applied(range(total), 90)
    await bench.settled()
