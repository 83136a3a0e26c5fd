"""Lag zero, and what the log says: the two sides of "the system agrees with the oracle".

The oracle is ``tests/oracle.py``, the executable specification. This is the one place where `infra`
looks at `tests`, and only while it runs: a demo that compared the system with anything else would
show nothing. An installation without the tests cannot check, and says so.

Keeps true: the oracle is fed from the log, never from what a producer believes to have appended.
Bounded by: `FETCH_MAX` undecoded records at a time; the oracle's own memory.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from events import errors
from events.admin import Admin
from events.codec import Codec
from events.slices import LogRecord
from events.types import EVENT_TYPES_OF_TOPIC
from infra import compose
from infra.compose import Engines
from projections.base import RetryableError
from schemas.catalog import Topics

if TYPE_CHECKING:
    from tests.oracle import Oracle

SOURCE_TOPICS = (
    "users",
    "usernames",
    "social-graph",
    "new-tweets",
    "engagements",
    "lists",
    "bookmarks",
    "user-activity",
)
FETCH_MAX = 5_000
FETCH_S = 0.5
FOLLOW_S = 0.02
TIMES_S = 10.0
LAG_POLL_S = 0.25

Offsets = dict[tuple[str, int], int]
"""Offset by logical topic and partition."""


class NotConverged(Exception):
    """Units still lag after the time that they had; the message names them."""


class LogView:
    """Reads the log's ends and records; `close` it.

    Args:
        bootstrap: Kafka.
        topics: The topics' names.
        codec: Reads record values.
        options: More librdkafka options, such as ``security.protocol``.
    """

    def __init__(
        self, bootstrap: str, topics: Topics, codec: Codec, options: Mapping[str, str]
    ) -> None:
        self._topics = topics
        self._codec = codec
        # It cannot be closed, and would complain of a stack that was stopped on purpose.
        self._admin = Admin(bootstrap, topics, {**options, "log_level": "0"})
        self._consumer = Consumer(
            {
                **options,
                "bootstrap.servers": bootstrap,
                "group.id": f"murmur.view.{uuid.uuid4().hex[:8]}",  # required; never committed to
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "log_level": 3,
            }
        )

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    async def ends(self, topics: Iterable[str] = SOURCE_TOPICS) -> Offsets:
        """The next offset to be written, of every partition of these logical topics.

        Raises:
            BrokerUnreachable: The broker did not answer.
        """
        logical = list(topics)
        answers = await asyncio.gather(*map(self._admin.end_offsets, logical))
        return {
            (topic, partition): end
            for topic, ends in zip(logical, answers, strict=True)
            for partition, end in ends.items()
        }

    async def since(self, topics: Iterable[str], at_ms: int) -> Offsets:
        """The first offset that was appended at or after a moment, of every partition.

        Raises:
            KafkaException: The broker did not answer.
        """
        ends = await self.ends(topics)
        asked = [self._at(place, at_ms) for place in ends]
        times = partial(self._consumer.offsets_for_times, asked, timeout=TIMES_S)
        found = {
            (self._topics.logical(at.topic), at.partition): at.offset
            for at in await asyncio.to_thread(times)
        }
        # Where nothing came since, -1 is answered.
        return {place: found[place] if found[place] >= 0 else end for place, end in ends.items()}

    async def records(self, start: Offsets, end: Offsets) -> AsyncIterator[LogRecord]:
        """Every event from ``start`` up to and without ``end``, in offset order in a partition.

        What cannot be read is left out, as it is a dead letter for every unit.

        Raises:
            KafkaException: The broker did not answer, or an offset is gone.
        """
        left = {place for place, until in end.items() if start.get(place, 0) < until}
        self._consumer.assign([self._at(place, start.get(place, 0)) for place in left])
        while left:
            messages = await asyncio.to_thread(self._fetch, FETCH_S)
            for record in await self._decoded(messages):
                if record.offset < end[record[:2]]:
                    yield record
            left = {place for place in left if self._read_up_to(place) < end[place]}
        self._consumer.unassign()

    async def follow(self, start: Offsets) -> AsyncGenerator[tuple[list[LogRecord], Offsets]]:
        """What comes from ``start`` on, some at a time, and up to where that is; without end.

        Raises:
            KafkaException: The broker did not answer, or an offset is gone.
        """
        self._consumer.assign([self._at(place, offset) for place, offset in start.items()])
        try:
            while True:
                messages = await asyncio.to_thread(self._fetch, FOLLOW_S)
                found = await self._decoded(messages)
                yield found, {at: max(start[at], self._read_up_to(at)) for at in start}
        finally:
            self._consumer.unassign()

    async def _decoded(self, messages: list[Message]) -> list[LogRecord]:
        """The events among messages, without what cannot be read or is in the wrong topic."""
        values = [message.value() for message in messages]
        await self._codec.prepare([value for value in values if isinstance(value, bytes)])
        found: list[LogRecord] = []
        for message, value in zip(messages, values, strict=True):
            if not isinstance(value, bytes):
                continue
            place = (self._topics.logical(str(message.topic())), message.partition() or 0)
            try:
                event = self._codec.decode(value)
            except errors.PoisonError:
                continue
            if type(event) in EVENT_TYPES_OF_TOPIC[place[0]]:
                at_ms = message.timestamp()[1]
                found.append(LogRecord(*place, message.offset() or 0, event, at_ms))
        return found

    def _at(self, place: tuple[str, int], offset: int) -> TopicPartition:
        return TopicPartition(self._topics.name(place[0]), place[1], offset)

    def _read_up_to(self, place: tuple[str, int]) -> int:
        """The next offset that will be read; gaps do not hold it up."""
        return int(self._consumer.position([self._at(place, OFFSET_INVALID)])[0].offset)

    def _fetch(self, seconds_max: float) -> list[Message]:
        first = self._consumer.poll(seconds_max)
        # What has arrived with the first, at once: to wait for more is to wait at every end.
        messages = [first, *self._consumer.consume(FETCH_MAX - 1, timeout=0)] if first else []
        for message in messages:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
        return messages


def open_view(on: Engines) -> LogView:
    """A view of the log that these engines' settings name; to be closed."""
    chosen = on.settings
    codec = compose.reader_codec(on)
    return LogView(chosen.kafka_bootstrap, on.topics, codec, chosen.kafka_options)


async def feed(oracle: Oracle, view: LogView, start: Offsets, end: Offsets) -> None:
    """Feed the oracle from the log."""
    async for record in view.records(start, end):
        oracle.feed(record)


class Lag:
    """How far each unit is behind the log's ends."""

    def __init__(self, on: Engines, view: LogView, units: Iterable[str]) -> None:
        self._view = view
        self._applied = {unit: on.applied(unit) for unit in units}
        self._topics = {unit: compose.UNITS[unit](on).topics for unit in self._applied}

    async def by_unit(self, ends: Offsets | None = None) -> dict[str, int]:
        """Events that each unit has still to apply; up to ``ends``, or to the log's ends now.

        Raises:
            RetryableError: An engine did not answer.
        """
        if ends is None:
            ends = await self._view.ends(set().union(*self._topics.values()))
        return {unit: await self._of(unit, ends) for unit in self._applied}

    async def until_zero(self, seconds_max: float) -> None:
        """Wait until every unit has applied everything, and stays so for two looks.

        Raises:
            NotConverged: It took longer.
        """
        deadline = time.monotonic() + seconds_max
        zeros = 0
        while zeros < 2:
            try:
                lag = await self.by_unit()
            except (RetryableError, errors.RetryableError):
                lag = {"an engine that does not answer": 1}
            zeros = zeros + 1 if not any(lag.values()) else 0
            if time.monotonic() > deadline:
                behind = ", ".join(f"{unit} by {n}" for unit, n in lag.items() if n)
                raise NotConverged(f"after {seconds_max:.0f} s units lag: {behind}")
            await asyncio.sleep(LAG_POLL_S)

    async def until_applied(self, seconds_max: float) -> None:
        """Wait until every unit has applied what is in the log now, whatever is appended meanwhile.

        Raises:
            NotConverged: It took longer.
            RetryableError: An engine did not answer.
        """
        deadline = time.monotonic() + seconds_max
        ends = await self._view.ends(set().union(*self._topics.values()))
        while any((lag := await self.by_unit(ends)).values()):
            if time.monotonic() > deadline:
                behind = ", ".join(f"{unit} by {n}" for unit, n in lag.items() if n)
                raise NotConverged(f"after {seconds_max:.0f} s units lag: {behind}")
            await asyncio.sleep(LAG_POLL_S)

    async def _of(self, unit: str, ends: Mapping[tuple[str, int], int]) -> int:
        applied = await self._applied[unit].all()
        return sum(
            max(0, end - applied.get(f"{topic}/{partition}", 0))
            for (topic, partition), end in ends.items()
            if topic in self._topics[unit]
        )
