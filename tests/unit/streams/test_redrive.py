"""Decisions and what is sent back, through the loop: once, in place, and never in anyone's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from prometheus_client import CollectorRegistry

from events.codec import Decoded, Failure
from events.errors import MalformedEvent
from events.ranges import Raw
from events.slices import Origin, Slice
from events.types import Event, LetterDiscarded, RedriveRequested
from projections.base import PoisonError
from streams.activity import Activity
from streams.agents import SliceLoop
from streams.dead_letters import VALUE_BYTES_MAX, DeadLetter
from streams.decisions import Decisions
from streams.ledger import RawSlice
from streams.metrics import Metrics
from streams.redrive import Redrives
from streams.retry import Persistence
from streams.settings import WorkerSettings
from tests.integration.streams.toy import Number, ToyDecoder
from tests.unit.streams.records import P0, record, records

SETTINGS = WorkerSettings("nowhere:1", "group", retry_seconds_max=0.01)
REDRIVE = TP("redrive", 0)


class Log:
    """Topics in memory, raw; decisions are kept beside, by the value that stands for them."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Raw]] = {"redrive": [], "dead-letters": [], "numbers": []}
        self.decisions: dict[bytes, Event] = {}
        self.asked = 0
        self.hold: asyncio.Event | None = None

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        self.asked += topic == "redrive"
        found = {0: (0, len(self.topics[topic]))}
        if self.hold is not None:
            await self.hold.wait()  # an answer takes its time
        return found

    async def read(self, topic: str, partition: int, start: int, end: int) -> list[Raw]:
        return self.topics[topic][start:end][:2]  # fewer than were asked for

    async def one(self, topic: str, partition: int, offset: int) -> Raw | None:
        held = self.topics[topic]
        return held[offset] if offset < len(held) else None

    def decide(self, kind: type[Any] = RedriveRequested, unit: str = "toy", **fields: Any) -> None:
        """Appends a decision about a record of partition 0 of ``numbers``."""
        value = b"decision %d" % len(self.decisions)
        asked = {"topic": "numbers", "partition": 0, **fields}
        self.decisions[value] = kind(event_id=1, occurred_at=1, unit=unit, **asked)
        held = self.topics["redrive"]
        held.append(Raw(len(held), 1, b"k", value, []))


class Decoder(ToyDecoder):
    """Decodes decisions, and numbers of 8 bytes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Decoded:
        if topic != "redrive":
            return await super().decode_batch(values, topic, anew=anew)
        events = [self._log.decisions.get(value or b"") for value in values]
        bad = [
            Failure(at, MalformedEvent("no decision"))
            for at, (value, event) in enumerate(zip(values, events, strict=True))
            if event is None and value is not None
        ]
        return Decoded(events, bad)


class Rig:
    """A loop around a unit that notes what it is given."""

    name = "toy"
    topics = frozenset({"numbers", "redrive"})

    def __init__(self) -> None:
        self.log = Log()
        self.applied: list[tuple[str, int, list[tuple[int, int]], Origin | None]] = []
        self.letters: list[DeadLetter] = []
        self.refuses: list[PoisonError] = []
        self.start()

    def start(self) -> None:
        """A new worker."""
        stopping, metrics, activity = (
            asyncio.Event(),
            Metrics("toy", CollectorRegistry()),
            Activity(),
        )
        decoder = Decoder(self.log)
        decisions = Decisions("toy", SETTINGS, self.log, decoder)
        self.loop = SliceLoop(
            self,  # type: ignore[arg-type]  # has apply, which is all that is used
            decoder,
            self,  # type: ignore[arg-type]  # has append
            {"numbers": "id-1", "redrive": "id-2"},
            SETTINGS,
            Persistence(stopping, metrics, activity, SETTINGS.retry_seconds_max),
            metrics,
            activity,
            stopping,
            Redrives("toy", self.topics, decisions, self.log, decoder, SETTINGS),
        )

    async def apply(self, piece: Slice) -> None:
        if self.refuses:
            raise self.refuses.pop(0)
        said = [
            (one.offset, one.event.value) for one in piece.records if isinstance(one.event, Number)
        ]
        self.applied.append((piece.about, piece.end, said, piece.origin))

    async def append(self, letters: Sequence[DeadLetter]) -> None:
        self.letters += letters

    async def numbers(self, found: list[ConsumerRecord[bytes, bytes]], start: int = 0) -> None:
        raw = RawSlice(P0, start, found[-1].offset + 1, found)
        await self._take(raw)

    async def redrive(self, start: int = 0) -> None:
        """Hands the unit all of ``redrive`` from an offset on."""
        held = self.log.topics["redrive"]
        found = [record(raw.offset, raw.value, tp=REDRIVE) for raw in held[start:]]
        await self._take(RawSlice(REDRIVE, start, len(held), found))

    async def _take(self, raw: RawSlice) -> None:
        assert await asyncio.wait_for(await self.loop.take(raw, lambda: None), 10)

    def said(self) -> list[tuple[int, int]]:
        """Everything that the unit applied."""
        return [pair for _, _, pairs, _ in self.applied for pair in pairs]


@pytest.fixture
async def rig() -> Rig:
    return Rig()


FROM = Origin("numbers", 0)


async def test_an_edited_record_is_applied_in_its_place_and_fenced_by_the_request(
    rig: Rig,
) -> None:
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    rig.log.decide(unit="other", offset=2, payload=(78).to_bytes(8))
    await rig.redrive()
    assert rig.applied == [("numbers", 1, [(1, 77)], FROM), ("redrive", 2, [], None)]
    assert rig.letters == []


async def test_without_a_body_the_original_bytes_are_read_from_the_log(rig: Rig) -> None:
    rig.log.topics["numbers"] = [Raw(0, 9, b"k", (5).to_bytes(8), [])]
    rig.log.decide(offset=0)
    await rig.redrive()
    assert rig.said() == [(0, 5)]


async def test_a_record_that_is_gone_is_a_letter_again_and_holds_nobody_up(rig: Rig) -> None:
    rig.log.decide(offset=3)
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    await rig.redrive()
    assert [(one.reason, one.attempt, one.record.offset) for one in rig.letters] == [
        ("missing", 2, 3)
    ]
    assert rig.said() == [(1, 77)]


async def test_what_fails_again_is_a_letter_with_one_more_attempt(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=b"junk", attempt=3)
    await rig.redrive()
    (letter,) = rig.letters
    assert (letter.reason, letter.attempt, letter.topic) == ("undecodable", 4, "numbers")
    assert (letter.record.offset, letter.record.value, letter.group) == (1, b"junk", "group")
    assert rig.said() == []


async def test_what_the_unit_refuses_again_is_a_letter_too(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    rig.refuses = [PoisonError(1, "still not")]
    await rig.redrive()
    assert [(one.reason, one.attempt) for one in rig.letters] == [("refused", 2)]
    assert rig.applied == [("numbers", 1, [], FROM)]


async def test_of_two_bodies_the_first_in_the_log_wins(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    rig.log.decide(offset=1, payload=(78).to_bytes(8))
    await rig.redrive()
    assert rig.said() == [(1, 77)]


async def test_a_rebuild_leaves_out_what_failed_before(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    rig.log.decide(offset=1, payload=(78).to_bytes(8), attempt=2)
    await rig.redrive()
    assert rig.said() == [(1, 78)]


async def test_live_the_second_attempt_is_applied_after_the_first_failed(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=b"junk")
    await rig.redrive()
    rig.log.decide(offset=1, payload=(78).to_bytes(8), attempt=2)
    await rig.redrive(start=1)
    assert rig.said() == [(1, 78)]


async def test_what_is_decided_upon_is_not_applied_from_its_own_topic(rig: Rig) -> None:
    rig.log.decide(offset=1, payload=(77).to_bytes(8))
    rig.log.decide(LetterDiscarded, offset=2)
    rig.log.decide(LetterDiscarded, unit="other", offset=3)
    found = [record(0), record(1, b"junk"), *records(2, 3)]
    await rig.numbers(found)
    assert [offset for offset, _ in rig.said()] == [0, 3]
    assert rig.letters == []


async def test_fresh_records_are_not_looked_up_once_the_decisions_are_read(rig: Rig) -> None:
    def now(offset: int) -> ConsumerRecord[bytes, bytes]:
        old = record(offset)
        fields = {name: getattr(old, name) for name in old.__dataclass_fields__}
        return ConsumerRecord(**{**fields, "timestamp": int(time.time() * 1000)})

    await rig.numbers([now(0)])
    asked = rig.log.asked
    await rig.numbers([now(1)], 1)
    assert rig.log.asked == asked
    await rig.numbers([record(2)], 2)
    assert rig.log.asked == asked + 1


async def test_slices_that_ask_together_share_a_reading_that_begins_after_they_asked(
    rig: Rig,
) -> None:
    decisions = Decisions("toy", SETTINGS, rig.log, Decoder(rig.log))
    await decisions.about("numbers", 0, 0)
    rig.log.asked, rig.log.hold = 0, asyncio.Event()
    first = asyncio.create_task(decisions.about("numbers", 0, 0))
    await asyncio.sleep(0)  # it reads
    rig.log.decide(offset=7, attempt=1)
    others = [asyncio.create_task(decisions.about("numbers", 0, 0)) for _ in range(3)]
    await asyncio.sleep(0)  # they ask
    rig.log.hold.set()
    await first
    assert all(7 in known for known in await asyncio.gather(*others))
    assert rig.log.asked == 2


async def test_a_decision_is_known_before_an_old_record_is_met(rig: Rig) -> None:
    await rig.numbers([record(0)])
    rig.log.decide(LetterDiscarded, offset=1)
    await rig.numbers([record(1)], 1)
    assert [offset for offset, _ in rig.said()] == [0]


async def test_a_letter_stands_though_its_worker_died_before_its_position_moved(rig: Rig) -> None:
    headers = {"dl_unit": "toy", "dl_group": "group", "dl_topic": "numbers", "dl_partition": "0"}
    raws = [
        Raw(0, 1, b"k", b"", [(n, v.encode()) for n, v in {**headers, "dl_offset": "1"}.items()]),
        Raw(1, 1, b"k", b"", [("dl_unit", b"toy"), ("dl_group", b"an older one")]),
        Raw(2, 1, b"k", b"", [("dl_unit", b"toy"), ("dl_group", b"group")]),  # by hand
    ]
    rig.log.topics["dead-letters"] = raws
    rig.start()
    await rig.numbers(records(0, 1, 2))
    assert [offset for offset, _ in rig.said()] == [0, 2]
    assert rig.letters == []


async def test_a_broken_decision_is_a_letter_itself(rig: Rig) -> None:
    rig.log.topics["redrive"] = [Raw(0, 1, b"k", b"what", [])]
    await rig.redrive()
    assert [(one.topic, one.reason) for one in rig.letters] == [("redrive", "undecodable")]
    assert rig.applied == [("redrive", 1, [], None)]


def test_a_record_too_large_for_a_letter_stays_where_it_is() -> None:
    size = VALUE_BYTES_MAX + 1
    letter = DeadLetter(record(7, b"x" * size), "numbers", "toy", "undecodable", "too large")
    assert not letter.whole
    assert dict(letter.headers())["dl_left_out_bytes"] == b"%d" % size
    assert DeadLetter(record(7), "numbers", "toy", "undecodable", "junk").whole
