"""Engines that are away: the worker waits in its place, stops when asked, ends when it hangs."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from events.slices import Slice
from projections.base import RetryableError
from tests.integration.streams.kit import Bench
from tests.integration.streams.toy import ToyUnit
from tests.integration.streams.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def test_a_stop_while_the_store_is_away_ends_in_time(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(100))
    tried = asyncio.Event()

    async def away(piece: Slice) -> None:
        tried.set()
        raise RetryableError("the store is away")

    async with bench.worker(ToyUnit(bench.path, before=away), retry_seconds_max=60) as running:
        await asyncio.wait_for(tried.wait(), 20)
        asked = time.monotonic()
        running.stop.set()
        assert await running.code(10) == 0
        assert time.monotonic() - asked < 5
    assert bench.state.values() == []
    assert bench.committed().get("numbers/0", 0) == 0


async def test_a_stop_while_a_write_hangs_ends_in_time(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(100))
    tried = asyncio.Event()

    async def hang(piece: Slice) -> None:
        tried.set()
        await asyncio.Event().wait()

    async with bench.worker(ToyUnit(bench.path, before=hang), grace_seconds=3) as running:
        await asyncio.wait_for(tried.wait(), 20)
        asked = time.monotonic()
        running.stop.set()
        assert await running.code(10) == 0
        assert time.monotonic() - asked < 4
    assert bench.state.values() == []


async def test_a_stop_while_the_unit_cannot_open_ends_in_time(bench: Bench) -> None:
    bench.create(1)
    unit = ToyUnit(bench.path)
    tried = asyncio.Event()

    async def away() -> None:
        tried.set()
        raise RetryableError("the store is away")

    unit.open = away  # type: ignore[method-assign]
    async with bench.worker(unit, retry_seconds_max=60) as running:
        await asyncio.wait_for(tried.wait(), 20)
        running.stop.set()
        assert await running.code(5) == 0


async def test_an_outage_longer_than_the_session_keeps_the_partitions(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(1_000))
    ends_at = time.monotonic() + 8
    generations: set[int] = set()

    async def away(piece: Slice) -> None:
        if time.monotonic() < ends_at:
            raise RetryableError("the store is away")

    async with bench.worker(ToyUnit(bench.path, before=away), session_timeout_seconds=6):
        await bench.applied(range(1_000))
        generations.add(bench.members())
        await bench.settled()
    assert generations == {1}
    assert len(bench.state.calls()) == 1


async def test_the_watchdog_speaks_when_commits_freeze(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(1_000))

    async def stick(piece: Slice) -> None:
        if piece.start >= 300:
            await asyncio.Event().wait()

    unit = ToyUnit(bench.path, before=stick)
    async with bench.worker(
        unit, stall_seconds=2, slice_records_max=300, grace_seconds=2
    ) as running:
        await until(lambda: running.last_words, 30)
    (word,) = running.last_words
    for part in ("unit toy", f"{bench.prefix}numbers/0", "offset 300", "700 behind", "applying"):
        assert part in word


async def test_the_watchdog_is_quiet_on_an_idle_topic(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(10))
    async with bench.worker(stall_seconds=3) as running:
        await bench.applied(range(10))
        beats = running.unit.beats
        await until(lambda: running.unit.beats > beats + 60)  # six seconds
        assert running.last_words == []


async def test_the_lag_is_of_commits_and_not_of_reads(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(1_000))
    release = asyncio.Event()

    async def hold(piece: Slice) -> None:
        if piece.start >= 250:
            await release.wait()

    labels = {"unit": "toy", "topic": "numbers", "partition": "0"}

    async with bench.worker(ToyUnit(bench.path, before=hold), slice_records_max=250) as running:

        def lag() -> float | None:
            return running.registry.get_sample_value("murmur_committed_lag", labels)

        await until(lambda: lag() == 750)
        release.set()
        await until(lambda: lag() == 0)
        applied = running.registry.get_sample_value("murmur_events_applied_total", labels)
        assert applied == 1_000


async def test_metrics_are_served_and_a_taken_port_is_said(
    bench: Bench, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    bench.create(1)
    bench.produce(range(10))
    async with bench.worker(metrics_port=unused_tcp_port), httpx.AsyncClient() as client:
        await bench.applied(range(10))
        await bench.settled()
        page = (await client.get(f"http://127.0.0.1:{unused_tcp_port}/metrics")).text
        place = '{partition="0",topic="numbers",unit="toy"}'
        assert f"murmur_events_applied_total{place} 10.0" in page
        assert f"murmur_applied_offset{place} 10.0" in page
        async with bench.worker(metrics_port=unused_tcp_port) as second:
            assert await second.code() == 78
    assert f"port {unused_tcp_port}" in caplog.text
