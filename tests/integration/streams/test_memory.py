"""A worker far behind stays small; ``memory_behind`` shows it with five million events."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.memory_behind import LIMIT_MIB, measure
from tests.benchmarks.slice_delivery import fill
from tests.integration.streams.kit import Bench

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

EVENTS = 400_000


async def test_a_worker_that_is_far_behind_stays_small(bench: Bench) -> None:
    topic = f"{bench.prefix}behind"
    await asyncio.to_thread(fill, bench.bootstrap, topic, EVENTS, value_bytes=8)
    found = await measure(bench.bootstrap, topic, EVENTS)
    assert found["peak"] < LIMIT_MIB
    # All of it in memory would be well over 200 MiB more.
    assert found["peak"] - found["before"] < 100
