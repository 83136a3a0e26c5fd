"""At least once, in order, to the end of the log: the transport against a real broker."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from events.slices import Slice
from projections.base import PoisonError, RetryableError, StateLost
from tests.integration.streams.kit import Bench
from tests.integration.streams.toy import ToyUnit
from tests.integration.streams.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def test_everything_is_applied_once_and_committed_to_the_end(bench: Bench) -> None:
    bench.create(4)
    bench.produce(range(20_000))
    async with bench.worker() as running:
        await bench.applied(range(20_000))
        await bench.settled()
        assert not running.task.done()
    assert await running.code() == 0
    assert running.unit.opened
    assert running.unit.closed
    assert running.unit.beats > 0
    assert bench.state.positions() == bench.ends() == bench.committed()
    assert len(bench.state.calls()) < 200  # slices, not records


async def test_slices_of_a_partition_join_end_to_start(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(5_000))
    async with bench.worker(slice_records_max=700):
        await bench.applied(range(5_000))
    calls = bench.state.calls()
    assert calls[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(calls))
    assert max(end - start for start, end in calls) <= 700


async def test_tombstones_are_covered(bench: Bench) -> None:
    bench.create(1)
    bench.produce([1, None, 2, None, None])
    async with bench.worker():
        await bench.applied([1, 2])
        await bench.settled()


async def test_an_empty_topic_is_committed_at_its_end(bench: Bench) -> None:
    bench.create(2)
    async with bench.worker():
        await bench.settled()


async def test_transaction_markers_and_aborted_records_do_not_stall_commits(bench: Bench) -> None:
    bench.create(1)
    producer = bench.producer(**{"transactional.id": bench.prefix})
    producer.init_transactions(30)
    for block, keep in enumerate([True, False, True, False, False]):
        producer.begin_transaction()
        bench.produce(range(block * 100, block * 100 + 100), producer=producer)
        producer.flush(30)  # an abort would drop what is not in the log yet
        (producer.commit_transaction if keep else producer.abort_transaction)(30)
    async with bench.worker():
        await bench.applied([*range(100), *range(200, 300)])
        await bench.settled()  # the tail is two aborted transactions: no record to ack
        producer.begin_transaction()
        bench.produce([7777], producer=producer)
        producer.commit_transaction(30)
        await bench.applied([*range(100), *range(200, 300), 7777])
        await bench.settled()
    assert bench.ends() == {"numbers/0": 507}  # 501 records and 6 markers


async def test_an_open_transaction_is_not_read(bench: Bench) -> None:
    bench.create(1)
    producer = bench.producer(**{"transactional.id": bench.prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    bench.produce([1], producer=producer)
    producer.flush(10)
    bench.produce([2])
    async with bench.worker() as running:
        await until(lambda: running.unit.beats > 10)
        assert bench.state.values() == []
        producer.commit_transaction(30)
        await bench.applied([1, 2])
        await bench.settled()


async def test_compaction_leaves_gaps_that_do_not_stall_commits(bench: Bench) -> None:
    bench.create(
        1,
        **{
            "cleanup.policy": "compact",
            "segment.ms": "50",
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "100",
        },
    )
    for _ in range(4):
        bench.produce(range(1000), key=lambda index: str(index % 10))
        await asyncio.sleep(0.1)  # the next append rolls the segment, so that it can be compacted
    seen: set[int] = set()

    def compacted() -> bool:
        seen.clear()
        messages = bench.read("numbers")
        seen.update(int.from_bytes(found.value() or b"") for found in messages)
        return len(messages) < 3000

    await until(compacted, 60, "the broker compacts")
    async with bench.worker():
        await bench.settled()
    assert set(bench.state.values()) == seen
    assert bench.state.positions() == {"numbers/0": 4000}


async def test_a_slow_first_slice_of_a_fresh_group_is_not_committed_past(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(3_000))
    release = asyncio.Event()

    async def hold_the_first(piece: Slice) -> None:
        if piece.start == 0:
            await release.wait()

    unit = ToyUnit(bench.path, before=hold_the_first)
    async with bench.worker(unit, slice_records_max=500, queue_slices_max=4) as running:
        await until(lambda: bench.committed() == {"numbers/0": 0})
        for _ in range(10):  # ten commit intervals
            await asyncio.sleep(0.2)
            assert bench.committed() == {"numbers/0": 0}
        release.set()
        await bench.applied(range(3_000))
        await bench.settled()
    assert await running.code() == 0


async def test_a_bad_record_becomes_a_dead_letter_and_the_partition_goes_on(bench: Bench) -> None:
    bench.create(1)
    bench.produce([1, b"junk", 2], headers={"ce_id": b"abc"})
    async with bench.worker():
        await bench.applied([1, 2])
        await bench.settled()
    (letter,) = bench.read("dead-letters")
    assert (letter.key(), letter.value()) == (b"1", b"junk")
    headers = dict(letter.headers() or [])
    assert headers["ce_id"] == b"abc"
    assert headers["dl_topic"] == b"numbers"
    assert headers["dl_offset"] == b"1"
    assert headers["dl_unit"] == b"toy"
    assert b"4 bytes, not 8" in headers["dl_detail"]


async def test_a_record_that_the_unit_refuses_becomes_a_dead_letter(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(100))

    async def refuse(piece: Slice) -> None:
        for record in piece.records:
            if record.event.event_id in (13, 77):
                raise PoisonError(record.offset, "an unlucky number")

    async with bench.worker(ToyUnit(bench.path, before=refuse)):
        await bench.applied(sorted(set(range(100)) - {13, 77}))
        await bench.settled()
    letters = [dict(found.headers() or []) for found in bench.read("dead-letters")]
    assert [(found["dl_offset"], found["dl_reason"]) for found in letters] == [
        (b"13", b"refused"),
        (b"77", b"refused"),
    ]


async def test_a_failed_write_is_retried_in_its_place(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(2_000))
    fails = 6

    async def flaky(piece: Slice) -> None:
        nonlocal fails
        if piece.start >= 500 and fails:
            fails -= 1
            raise RetryableError("the store is away")

    async with bench.worker(ToyUnit(bench.path, before=flaky), slice_records_max=500) as running:
        await bench.applied(range(2_000))
        await bench.settled()
    labels = {"unit": "toy", "what": "apply"}
    assert running.registry.get_sample_value("murmur_retries_total", labels) == 6
    starts = [start for start, _ in bench.state.calls()]
    assert starts == sorted(starts)


async def test_an_exception_in_the_agent_loses_nothing(bench: Bench) -> None:
    bench.create(1)
    bench.produce(range(3_000))

    async def bug(piece: Slice) -> None:
        if piece.start >= 1000:
            raise ZeroDivisionError("a bug")

    async with bench.worker(ToyUnit(bench.path, before=bug), slice_records_max=500) as running:
        assert await running.code() == 70
    assert bench.state.values() == list(range(1000))
    assert bench.committed() == {"numbers/0": 1000}
    async with bench.worker():
        await bench.applied(range(3_000))


async def test_a_heartbeat_that_finds_state_lost_ends_the_worker(bench: Bench) -> None:
    bench.create(1)

    async def lost() -> None:
        raise StateLost("bucket 3 went back")

    unit = ToyUnit(bench.path)
    unit.beat = lost
    async with bench.worker(unit) as running:
        assert await running.code() == 75
