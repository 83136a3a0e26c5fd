"""One slice through the loop: dead letters first, then the effect, and no ack for what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from prometheus_client import CollectorRegistry

from events.errors import OutcomeUnknown, RegistryUnavailable
from events.slices import Slice
from projections.base import PoisonError, RetryableError, StateLost
from streams.activity import Activity
from streams.agents import SliceLoop
from streams.dead_letters import DeadLetter
from streams.errors import Defect, Restart
from streams.ledger import RawSlice
from streams.metrics import Metrics
from streams.retry import Persistence
from streams.settings import WorkerSettings
from tests.integration.streams.toy import ToyDecoder
from tests.integration.streams.waiting import until
from tests.unit.streams.records import P0, P1, record, records

SETTINGS = WorkerSettings("nowhere:1", "group", retry_seconds_max=0.01)


class Scripted:
    """A unit and a dead-letter topic that note what happens, and fail as they are told."""

    name = "toy"
    topics = frozenset({"numbers"})

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.fails: list[BaseException] = []
        self.append_fails: list[BaseException] = []
        self.hold: asyncio.Event | None = None
        self.held: set[int] = set()
        self.calls = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def heartbeat(self) -> None:
        self.log.append("beat")

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        return None

    async def apply(self, piece: Slice) -> None:
        self.calls += 1
        self.held.add(piece.start)
        if self.hold:
            await self.hold.wait()
        if self.fails:
            raise self.fails.pop(0)
        self.log.append((piece.start, piece.end, [r.offset for r in piece.records]))

    async def append(self, letters: Sequence[DeadLetter]) -> None:
        if self.append_fails:
            raise self.append_fails.pop(0)
        self.log.extend(("dead", letter.record.offset, letter.reason) for letter in letters)


class Rig:
    """A loop around one scripted unit."""

    def __init__(self) -> None:
        self.unit = Scripted()
        self.acked: list[RawSlice] = []
        self.decoder = ToyDecoder()
        self.stopping = asyncio.Event()
        self.registry = CollectorRegistry()
        metrics, activity = Metrics("toy", self.registry), Activity()
        persistence = Persistence(self.stopping, metrics, activity, SETTINGS.retry_seconds_max)
        self.loop = SliceLoop(
            self.unit,
            self.decoder,
            self.unit,  # type: ignore[arg-type]  # has append, which is all that is used
            {"numbers": "id-1"},
            SETTINGS,
            persistence,
            metrics,
            activity,
            self.stopping,
        )

    async def take(
        self, found: list[ConsumerRecord[bytes, bytes]], start: int, end: int, tp: TP = P0
    ) -> bool:
        piece = RawSlice(tp, start, end, found)
        task = await self.loop.take(piece, lambda: self.acked.append(piece))
        await asyncio.wait({task}, timeout=10)
        return not task.cancelled() and task.result()

    def ended(self) -> Exception | None:
        return self.loop.ended.result() if self.loop.ended.done() else None


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_a_slice_is_applied_whole_with_its_range(rig: Rig) -> None:
    assert await rig.take(records(3, 5), 2, 9)
    assert rig.unit.log == [(2, 9, [3, 5])]


async def test_tombstones_are_covered_and_not_applied(rig: Rig) -> None:
    assert await rig.take([record(0), record(1, None), record(2)], 0, 3)
    assert rig.unit.log == [(0, 3, [0, 2])]


async def test_an_empty_slice_reaches_the_unit(rig: Rig) -> None:
    assert await rig.take([], 7, 9)
    assert rig.unit.log == [(7, 9, [])]


async def test_what_cannot_be_decoded_is_a_dead_letter_before_the_rest_is_applied(rig: Rig) -> None:
    assert await rig.take([record(0), record(1, b"junk"), record(2)], 0, 3)
    assert rig.unit.log == [("dead", 1, "undecodable"), (0, 3, [0, 2])]
    labels = {"unit": "toy", "topic": "numbers", "partition": "0", "reason": "undecodable"}
    assert rig.registry.get_sample_value("murmur_dead_letters_total", labels) == 1


async def test_nothing_is_applied_while_a_dead_letter_is_not_durable(rig: Rig) -> None:
    rig.unit.append_fails = [OutcomeUnknown("no answer", None)] * 2
    assert await rig.take([record(0), record(1, b"junk")], 0, 2)
    assert rig.unit.log == [("dead", 1, "undecodable"), (0, 2, [0])]


async def test_what_the_unit_refuses_is_a_dead_letter_and_the_rest_is_applied(rig: Rig) -> None:
    rig.unit.fails = [PoisonError(4, "no such thing"), PoisonError(3, "nor that")]
    assert await rig.take(records(3, 4, 5), 3, 6)
    assert rig.unit.log == [("dead", 4, "refused"), ("dead", 3, "refused"), (3, 6, [5])]


async def test_a_refusal_of_an_offset_that_is_not_there_is_a_defect(rig: Rig) -> None:
    rig.unit.fails = [PoisonError(99, "nowhere")]
    assert not await rig.take(records(3), 3, 4)
    assert isinstance(rig.ended(), Defect)
    assert rig.unit.log == []


async def test_an_engine_that_is_away_keeps_the_slice_in_its_place(rig: Rig) -> None:
    rig.unit.fails = [RetryableError("away")] * 4
    assert await rig.take(records(1, 2), 1, 3)
    assert rig.unit.log == [(1, 3, [1, 2])]
    assert rig.ended() is None


async def test_a_registry_that_is_away_makes_no_dead_letter(rig: Rig) -> None:
    decode, fails = rig.decoder.decode_batch, [RegistryUnavailable("away")] * 3

    async def decode_batch(
        values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Any:
        if fails:
            raise fails.pop()
        return await decode(values, topic)

    rig.decoder.decode_batch = decode_batch  # type: ignore[method-assign]
    assert await rig.take(records(1), 1, 2)
    assert rig.unit.log == [(1, 2, [1])]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [(ValueError("a bug"), Defect, 70), (StateLost("bucket 3 went back"), Restart, 75)],
)
async def test_what_no_rule_covers_ends_the_worker_without_an_ack(
    rig: Rig, error: Exception, kind: type[Exception], code: int
) -> None:
    rig.unit.fails = [error]
    assert not await rig.take(records(1), 1, 2)
    end = rig.ended()
    assert type(end) is kind
    assert getattr(end, "exit_code", None) == code
    assert str(error) in str(end)


async def test_a_stop_while_an_engine_is_away_gives_the_slice_up(rig: Rig) -> None:
    rig.unit.fails = [RetryableError("away")] * 10**6
    taking = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: len(rig.unit.fails) < 10**6)
    rig.stopping.set()
    assert not await asyncio.wait_for(taking, 5)
    assert rig.ended() is None


async def test_finish_waits_for_the_slice_in_hand(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    taking = asyncio.create_task(rig.take(records(1), 1, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    finishing = asyncio.create_task(rig.loop.finish(10))
    rig.unit.hold.set()
    await asyncio.wait_for(finishing, 5)
    assert await taking


async def test_finish_gives_up_a_slice_that_hangs(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    taking = asyncio.create_task(rig.take(records(1), 1, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(rig.loop.finish(0.05), 5)
    assert not await taking
    assert rig.unit.log == []


async def test_slices_of_different_partitions_are_applied_at_once(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    first = asyncio.create_task(rig.take(records(1), 1, 2))
    second = asyncio.create_task(rig.take([record(7, tp=P1)], 7, 8, P1))
    await until(lambda: rig.unit.held == {1, 7})
    rig.unit.hold.set()
    assert await first
    assert await second


async def test_slices_of_one_partition_are_applied_one_after_the_other(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    first = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: rig.unit.held == {1})
    second = asyncio.create_task(rig.take(records(2), 2, 3))
    third = asyncio.create_task(rig.take([record(7, tp=P1)], 7, 8, P1))
    await until(lambda: 7 in rig.unit.held)
    assert rig.unit.held == {1, 7}
    rig.unit.hold.set()
    assert all(await asyncio.gather(first, second, third))
    assert [entry for entry in rig.unit.log if entry[0] != 7] == [(1, 2, [1]), (2, 3, [2])]
    assert {piece.start for piece in rig.acked} == {1, 2, 7}


async def test_nothing_is_applied_behind_a_slice_that_failed(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    first = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: rig.unit.held == {1})
    second = asyncio.create_task(rig.take(records(2), 2, 3))
    rig.unit.fails = [ValueError("a bug")]
    rig.unit.hold.set()
    assert not any(await asyncio.gather(first, second))
    assert rig.unit.log == []
    assert rig.acked == []


async def test_what_has_come_meanwhile_is_applied_as_one_slice(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    first = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: rig.unit.held == {1})
    behind = [
        asyncio.create_task(rig.take(found, start, end))
        for found, start, end in ((records(2, 3), 2, 5), ([], 5, 6), (records(6), 6, 7))
    ]
    await until(lambda: len(rig.loop._in_hand) == 4)
    rig.unit.hold.set()
    assert await first
    assert all(await asyncio.gather(*behind))
    assert rig.unit.log == [(1, 2, [1]), (2, 7, [2, 3, 6])]
    assert [(piece.start, piece.end) for piece in rig.acked] == [(1, 2), (2, 5), (5, 6), (6, 7)]


async def test_slices_that_do_not_continue_each_other_are_applied_apart(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    taking = [asyncio.create_task(rig.take(records(1), 1, 2))]
    await until(lambda: rig.unit.held == {1})
    # As after a rebalance, when reading began anew further down.
    for found, start, end in ((records(2), 2, 3), (records(2, 3), 2, 4), (records(4), 4, 5)):
        taking.append(asyncio.create_task(rig.take(found, start, end)))
    await until(lambda: len(rig.loop._in_hand) == 4)
    rig.unit.hold.set()
    assert all(await asyncio.gather(*taking))
    assert rig.unit.log == [(1, 2, [1]), (2, 3, [2]), (2, 5, [2, 3, 4])]


async def test_slices_are_joined_up_to_the_bound(rig: Rig) -> None:
    rig.loop._settings = WorkerSettings("nowhere:1", "g", slice_records_max=2)
    rig.unit.hold = asyncio.Event()
    taking = [asyncio.create_task(rig.take(records(n), n, n + 1)) for n in range(1, 7)]
    await until(lambda: len(rig.loop._in_hand) == 6)
    rig.unit.hold.set()
    assert all(await asyncio.gather(*taking))
    assert [entry[2] for entry in rig.unit.log] == [[1, 2], [3, 4], [5, 6]]


async def test_of_slices_that_failed_together_none_is_acked(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    first = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: rig.unit.held == {1})
    behind = [asyncio.create_task(rig.take(records(n), n, n + 1)) for n in (2, 3)]
    await until(lambda: len(rig.loop._in_hand) == 3)
    held, rig.unit.hold = rig.unit.hold, asyncio.Event()
    held.set()
    assert await first
    await until(lambda: rig.unit.held == {1, 2})
    rig.unit.fails = [ValueError("a bug")]
    rig.unit.hold.set()
    assert not any(await asyncio.gather(*behind))
    assert [piece.start for piece in rig.acked] == [1]


async def test_no_more_slices_are_applied_at_a_time_than_is_said(rig: Rig) -> None:
    rig.unit.hold = asyncio.Event()
    most = SETTINGS.slices_at_once_max
    taking = [
        asyncio.create_task(rig.take([record(1, tp=TP("numbers", n))], 1, 2, TP("numbers", n)))
        for n in range(most + 1)
    ]
    await until(lambda: rig.unit.calls == most)
    for _ in range(10):
        await asyncio.sleep(0)  # whatever could go on has gone on
    assert rig.unit.calls == most
    rig.unit.hold.set()
    assert all(await asyncio.gather(*taking))


async def test_no_more_slices_are_taken_than_there_is_room_for(rig: Rig) -> None:
    rig.loop._settings = WorkerSettings("nowhere:1", "g", slice_records_max=1, slices_at_once_max=1)
    room = rig.loop._settings.records_in_hand_max
    rig.unit.hold = asyncio.Event()
    taking = [asyncio.create_task(rig.take(records(n), n, n + 1)) for n in range(1, room + 2)]
    await until(lambda: len(rig.loop._in_hand) == room)
    for _ in range(10):
        await asyncio.sleep(0)  # whatever could go on has gone on
    assert len(rig.loop._in_hand) == room
    rig.unit.hold.set()
    assert all(await asyncio.gather(*taking))


async def test_a_heartbeat_waits_for_no_slice(rig: Rig) -> None:
    rig.loop._settings = WorkerSettings("nowhere:1", "g", unit_heartbeat_seconds=0.01)
    rig.unit.hold = asyncio.Event()
    taking = asyncio.create_task(rig.take(records(1), 1, 2))
    await until(lambda: rig.unit.held == {1})
    beating = asyncio.create_task(rig.loop.beat())
    await until(lambda: rig.unit.log.count("beat") > 1)
    rig.unit.hold.set()
    assert await taking
    beating.cancel()


async def test_dead_letter_headers_keep_the_original_ones() -> None:
    source = record(7, b"junk", headers=(("ce_id", b"x"),))
    letter = DeadLetter(source, "numbers", "toy", "undecodable", "4 bytes, not 8", 2)
    headers = dict(letter.headers())
    assert headers["ce_id"] == b"x"
    assert headers["dl_topic"] == b"numbers"
    assert headers["dl_partition"] == b"0"
    assert headers["dl_offset"] == b"7"
    assert headers["dl_unit"] == b"toy"
    assert headers["dl_reason"] == b"undecodable"
    assert headers["dl_detail"] == b"4 bytes, not 8"
    assert headers["dl_attempt"] == b"2"
