"""Records that no producer of ours writes: malformed, unknown, tombstones, oversized, repeated.

Every topic gets some of each while a population acts. What can never be read is a dead letter of
every unit that reads the topic, once; nothing stands still behind it, and all that readers see is
the oracle's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from events.log import Log
from events.position import Position
from events.types import Event, TweetViewed
from infra import compose
from infra.demo.convergence import SOURCE_TOPICS
from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.world import World, world

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

EVENTS = 3_000
BROKER_BYTES_MAX = 1_048_588
UNKNOWN_SCHEMA = (2**31 - 1).to_bytes(4)
Place = tuple[str, int, int]  # topic, partition, offset


class Repeating:
    """A log whose producer says some things twice, one right after the other."""

    def __init__(self, log: Log, chance: random.Random) -> None:
        self._log = log
        self._chance = chance
        self.repeated = 0

    async def append(self, event: Event) -> Position:
        # A view has no identity but its record: said twice, it is two views.
        if isinstance(event, TweetViewed) or self._chance.random() < 0.7:
            return await self._log.append(event)
        self.repeated += 1
        first, _ = await asyncio.gather(self._log.append(event), self._log.append(event))
        return first


@pytest.mark.parametrize("harm", [pytest.param("", id="control"), "poison"])
async def test_what_cannot_be_read(
    settings: Settings, tmp_path: Path, seed: int, harm: str
) -> None:
    chance = random.Random(seed)
    async with world(settings, tmp_path, seed) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        good = await asyncio.to_thread(samples, here)
        poison = await asyncio.to_thread(append_poison, here, chance, good) if harm else {}
        await here.traffic(EVENTS // 2)
        began = time.monotonic()
        await here.converge()
        seconds = time.monotonic() - began
        compared, lines = await here.differences()
        events, letters = await here.events(), await asyncio.to_thread(dead_letters, here)
        reads = {unit: make(here.on).topics for unit, make in compose.UNITS.items()}
        restarts = sum(worker.restarts for worker in here.workers.values())
    expected = {
        (place, unit): 1
        for place, kind in poison.items()
        if kind != "tombstone"
        for unit, topics in reads.items()
        if place[0] in topics
    }
    assert lines == [], f"seed {seed}"
    assert compared > EVENTS // 2
    assert letters == expected, f"seed {seed}"
    assert restarts == 0
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(poison.values()).items()))
    name = "records nobody can read" + ("" if harm else ": control")
    more = f"{kinds}; {len(letters)} dead letters, each once" if harm else ""
    record(Figures(name, seed, seconds, events, compared, more=more))


async def test_a_producer_that_repeats(settings: Settings, tmp_path: Path, seed: int) -> None:
    """The control is the oracle: it is fed with each event once."""
    repeating: list[Repeating] = []

    def through(log: Log) -> Repeating:
        repeating.append(Repeating(log, random.Random(seed)))
        return repeating[0]

    async with world(settings, tmp_path, seed, through=through) as here:
        await here.traffic(EVENTS // 2)
        await here.converge()
        await here.warm()
        await here.traffic(EVENTS // 2)
        began = time.monotonic()
        await here.converge()
        seconds = time.monotonic() - began
        compared, lines = await here.differences(distinct=True)
        events, sent = await here.events(), here.appender
    assert lines == [], f"seed {seed}, {sent.retried} retried, {sent.unknown} unknown"
    assert compared > EVENTS // 2
    assert repeating[0].repeated > EVENTS // 10
    more = f"{repeating[0].repeated} events twice in the log, counted once"
    record(Figures("a producer that repeats", seed, seconds, events, compared, more=more))


def samples(here: World) -> dict[str, bytes]:
    """A readable value of each topic that has one."""
    found: dict[str, bytes] = {}
    for message in read(here, SOURCE_TOPICS):
        value = message.value()
        if value is not None:
            found.setdefault(here.on.topics.logical(str(message.topic())), value)
    return found


def append_poison(here: World, chance: random.Random, good: dict[str, bytes]) -> dict[Place, str]:
    """One of each kind into a partition of every topic; returns where, and what it is."""
    appended: dict[Place, str] = {}
    producer = opened(here)
    for topic in SOURCE_TOPICS:
        own = good.get(topic, good["new-tweets"])
        other = good["users" if topic != "users" else "new-tweets"]
        kinds: dict[str, bytes | None] = {
            "empty": b"",
            "noise": b"\x01" + chance.randbytes(200),
            "cut": own[: chance.randrange(6, len(own) - 1)],
            "unknown schema": b"\0" + UNKNOWN_SCHEMA + chance.randbytes(50),
            "another topic's": other,
            "tombstone": None,
            "huge": b"\x01" + chance.randbytes(BROKER_BYTES_MAX - 1_000),
        }
        for kind in chance.sample(sorted(kinds), len(kinds)):
            place = appended_at(producer, here, topic, chance, kinds[kind])
            appended[place] = kind
        too_large = chance.randbytes(BROKER_BYTES_MAX)
        with pytest.raises(KafkaException):
            appended_at(producer, here, topic, chance, too_large)
    return appended


def appended_at(
    producer: Producer, here: World, topic: str, chance: random.Random, value: bytes | None
) -> Place:
    """Appends one record.

    Raises:
        KafkaException: The broker says that it is too large.
    """
    partition = chance.randrange(here.on.topics.partitions(topic))
    outcome: list[int | KafkaError] = []
    producer.produce(
        here.on.topics.name(topic),
        value,
        str(chance.getrandbits(40)).encode(),
        partition,
        on_delivery=lambda error, message: outcome.append(error or message.offset() or 0),
    )
    assert producer.flush(30) == 0
    (told,) = outcome
    if isinstance(told, KafkaError):
        assert told.code() == KafkaError.MSG_SIZE_TOO_LARGE, told
        raise KafkaException(told)
    return topic, partition, told


def opened(here: World) -> Producer:
    return Producer(
        {
            "bootstrap.servers": here.on.settings.kafka_bootstrap,
            "message.max.bytes": 2 * BROKER_BYTES_MAX,
            "log_level": 0,
        }
    )


def read(here: World, logical: Iterable[str]) -> Iterator[Message]:
    """Every record of some topics, without decoding."""
    topics = here.on.topics
    consumer = Consumer(
        {
            "bootstrap.servers": here.on.settings.kafka_bootstrap,
            "group.id": "records",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    with closing(consumer):
        for name in logical:
            for partition in range(topics.partitions(name)):
                place = TopicPartition(topics.name(name), partition, 0)
                _, end = consumer.get_watermark_offsets(place, timeout=10)
                consumer.assign([place])
                for _ in range(end):
                    message = consumer.poll(10)
                    assert message is not None and message.error() is None, f"{place} ends early"
                    yield message


def dead_letters(here: World) -> dict[tuple[Place, str], int]:
    """How often each origin is there for each unit."""
    found: Counter[tuple[Place, str]] = Counter()
    for message in read(here, ["dead-letters"]):
        said = {name: value.decode() for name, value in message.headers() or () if value}
        place = (said["dl_topic"], int(said["dl_partition"]), int(said["dl_offset"]))
        found[place, said["dl_unit"]] += 1
    return dict(found)
