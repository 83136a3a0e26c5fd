"""A worker reads on from what its unit's state has applied, and from nowhere else."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import TopicPartition

from streams.resume import topic_ids
from tests.integration.streams.kit import TOPIC, Bench
from tests.integration.streams.toy import ToyUnit
from tests.integration.streams.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def topic_id(bench: Bench) -> str:
    return await topic_ids(bench.bootstrap)(bench.prefix + TOPIC)


async def test_the_state_wins_over_the_committed_offset(bench: Bench) -> None:
    """As after a failover that lost acknowledged writes: the log refills them."""
    bench.create(1)
    bench.produce(range(100))
    async with bench.worker():
        await bench.applied(range(100))
        await bench.settled()
    bench.state.db.execute("DELETE FROM seen WHERE offset >= 40")
    bench.state.set_position("numbers/0", await topic_id(bench), 40)
    async with bench.worker():
        await bench.applied(range(100))
        await bench.settled()
    assert bench.state.calls()[-1] == (40, 100)


async def test_a_state_ahead_of_the_group_is_committed_without_a_new_record(bench: Bench) -> None:
    """As after a kill -9 between the write and the commit, on a topic that is idle since."""
    bench.create(1)
    bench.produce(range(100))
    bench.state.set_position("numbers/0", await topic_id(bench), 100)
    async with bench.worker():
        await bench.settled()
    assert bench.state.calls() == []


@pytest.mark.parametrize(("at", "words"), [(150, "ends at 100"), (20, "starts at 50")])
async def test_a_position_outside_the_log_stops_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture, at: int, words: str
) -> None:
    bench.create(1)
    bench.produce(range(100))
    place = TopicPartition(bench.prefix + TOPIC, 0, 50)
    for done in bench.admin.delete_records([place]).values():
        done.result()
    bench.state.set_position("numbers/0", await topic_id(bench), at)
    async with bench.worker() as running:
        assert await running.code() == 78
    last = caplog.records[-1].getMessage()
    for part in ("unit toy", "numbers/0", str(at), words):
        assert part in last
    assert bench.state.calls() == []


async def test_a_topic_made_anew_stops_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.create(1)
    bench.produce(range(100))
    bench.state.set_position("numbers/0", "another-topic", 20)
    async with bench.worker() as running:
        assert await running.code() == 78
    last = caplog.records[-1].getMessage()
    for part in ("numbers/0", "another-topic", await topic_id(bench)):
        assert part in last


async def test_a_log_that_is_cut_under_a_running_worker_stops_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The records between were deleted before they were read: never a silent jump."""
    bench.create(1)
    bench.produce(range(5))
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(piece: object) -> None:
        held.set()
        await release.wait()

    # One tiny slice in hand and one queued stop the polls; the rest is deleted meanwhile.
    unit = ToyUnit(bench.path, before=hold)
    async with bench.worker(
        unit, slice_records_max=1, queue_slices_max=1, fetch_bytes_max=1024
    ) as running:
        await asyncio.wait_for(held.wait(), 20)
        bench.produce(range(100, 1100))
        place = TopicPartition(bench.prefix + TOPIC, 0, 1000)
        for done in bench.admin.delete_records([place]).values():
            done.result()
        release.set()
        assert await running.code() == 78
    assert "no longer holds" in caplog.records[-1].getMessage()
    await until(lambda: max(bench.state.values()) < 1000)
