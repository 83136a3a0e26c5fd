"""A broker that dies, comes back, or stops to answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from tests.integration.streams.conftest import OwnBroker, Processes
from tests.integration.streams.kit import Bench
from tests.integration.streams.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.fault, pytest.mark.timeout(300)]


async def test_a_broker_that_is_killed_and_comes_back(
    own_broker: OwnBroker, own_bench: Bench, processes: Processes
) -> None:
    own_bench.create(2)
    own_bench.produce(range(5_000))
    process = await processes.start("slow=0.1", "records=200")
    await until(lambda: len(own_bench.state.values()) > 1_000)
    dead = own_broker.pid
    os.kill(dead, signal.SIGKILL)
    await until(lambda: own_broker.pid != dead and own_broker.ready, 90, "a new broker")
    await asyncio.to_thread(own_bench.produce, range(5_000, 8_000))
    await own_bench.applied(range(8_000), 60)
    await own_bench.settled(60)
    assert process.returncode is None
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_sigterm_while_the_broker_does_not_answer_ends_in_time(
    own_broker: OwnBroker, own_bench: Bench, processes: Processes
) -> None:
    own_bench.create(1)
    own_bench.produce(range(1_000))
    process = await processes.start("grace=5", "commit=30")
    await own_bench.applied(range(1_000))
    broker = own_broker.pid
    os.kill(broker, signal.SIGSTOP)
    try:
        asked = time.monotonic()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert time.monotonic() - asked < 8
    finally:
        os.kill(broker, signal.SIGCONT)
    again = await processes.start()  # what could not be committed is known to the state
    own_bench.produce([1_000])
    await own_bench.applied(range(1_001), 60)
    await own_bench.settled(60)
    again.terminate()
    assert await asyncio.wait_for(again.wait(), 15) == 0


async def test_a_broker_that_is_out_of_reach_at_the_start_is_waited_for(
    bench: Bench, processes: Processes
) -> None:
    bench.bootstrap = "127.0.0.1:1"
    process = await processes.start()
    await until(lambda: "is retrying topics" in bench.said(), 60)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_a_topic_that_does_not_exist_yet_is_waited_for(
    bench: Bench, processes: Processes
) -> None:
    await processes.start()
    await until(lambda: f"topic {bench.prefix}numbers does not exist yet" in bench.said(), 60)
    bench.create(1)
    bench.produce(range(10))
    await bench.applied(range(10))
