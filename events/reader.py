"""Reading a topic by hand: for ``murmur events tail``, the tests and the demo. Projections read by
``streams``.

Keeps true: each partition's records come in order, poison ones too (with their error); nothing is
committed, and no consumer group is left behind. Bounded: ``POLL_RECORDS_MAX`` records at a time.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from events.codec import Codec
from events.errors import BrokerUnreachable, PoisonError, TopicMismatch
from events.types import EVENT_TYPES_OF_TOPIC, Event
from schemas.catalog import Topics

POLL_RECORDS_MAX = 500
POLL_SECONDS_MAX = 0.2
METADATA_SECONDS_MAX = 10.0

_logger = logging.getLogger(__name__)

Start: TypeAlias = Literal["earliest", "latest"] | int


class ReadRecord(msgspec.Struct, frozen=True):
    """One record of a topic.

    Attributes:
        topic: Logical name.
        partition: Partition number.
        offset: Offset.
        appended_at: The broker's time, milliseconds since the Unix epoch.
        key: Record key.
        value: Record value; ``None`` is a tombstone.
        headers: Record headers.
        event: The decoded event; ``None`` for a tombstone, for poison, and in topics of raw bytes.
        error: Why it does not decode.
        schema: What it was written with, such as ``TweetPosted.v1``; ``None`` where nobody knows.
    """

    topic: str
    partition: int
    offset: int
    appended_at: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    event: Event | None
    error: PoisonError | None
    schema: str | None = None


class Reader:
    """Reads topics of one cluster.

    Args:
        bootstrap: Brokers, ``host:port`` separated by commas.
        topics: The topics' names on the broker.
        codec: Decodes events.
        options: More librdkafka options, such as ``security.protocol``.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        codec: Codec,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._topics = topics
        self._codec = codec
        self._options: dict[str, Any] = {
            "log_level": 3,
            **(options or {}),
            "bootstrap.servers": bootstrap,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }

    async def tail(
        self, topic: str, start: Start = "earliest", *, follow: bool = True
    ) -> AsyncGenerator[ReadRecord, None]:
        """The records of a topic.

        Args:
            topic: Logical name.
            start: ``earliest``, ``latest`` or an offset, which is taken into what each partition
                holds.
            follow: Go on for ever; else end at the end of each partition.

        Raises:
            TopicMismatch: The topic does not exist.
            BrokerUnreachable: No broker answered.
            RegistryUnavailable: A schema could not be fetched.
        """
        options = {**self._options, "group.id": f"murmur-tail-{uuid.uuid4()}"}
        consumer = Consumer(options, logger=_logger)
        loop = asyncio.get_running_loop()
        # One thread, so that the consumer is closed after the poll that a cancellation left behind.
        thread = ThreadPoolExecutor(1, thread_name_prefix="log reader")
        try:
            unread = await loop.run_in_executor(thread, self._assign, consumer, topic, start)
            while follow or unread:
                messages = await loop.run_in_executor(
                    thread, consumer.consume, POLL_RECORDS_MAX, POLL_SECONDS_MAX
                )
                unread -= {message.partition() for message in messages if _at_end(message)}
                for record in await self._decode(topic, messages):
                    yield record
        finally:
            thread.submit(consumer.close)
            thread.shutdown(wait=False)

    def _assign(self, consumer: Consumer, topic: str, start: Start) -> set[int]:
        name = self._topics.name(topic)
        try:
            metadata = consumer.list_topics(name, timeout=METADATA_SECONDS_MAX).topics[name]
            if metadata.error is not None:
                raise TopicMismatch(f"topic {name}: {metadata.error.str()}")
            places = [TopicPartition(name, partition) for partition in metadata.partitions]
            for place in places:
                low, high = consumer.get_watermark_offsets(place, timeout=METADATA_SECONDS_MAX)
                place.offset = {"earliest": low, "latest": high}.get(str(start), 0)
                if isinstance(start, int):
                    place.offset = min(max(start, low), high)
        except KafkaException as error:
            raise BrokerUnreachable(f"topic {name}: {error.args[0].str()}") from error
        consumer.assign(places)
        return {place.partition for place in places}

    async def _decode(self, topic: str, messages: list[Message]) -> list[ReadRecord]:
        held = [message for message in messages if message.error() is None]
        if not EVENT_TYPES_OF_TOPIC[topic]:
            return [_record(topic, message, None, None) for message in held]
        decoded = await self._codec.decode_batch([message.value() for message in held], topic)
        errors = {failure.index: failure.error for failure in decoded.failures}
        return [
            _record(
                topic,
                message,
                decoded.events[index],
                errors.get(index),
                self._codec.written_as(message.value() or b""),
            )
            for index, message in enumerate(held)
        ]


def _at_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise BrokerUnreachable(f"{error.name()}: {error.str()}")


def _record(
    topic: str,
    message: Message,
    event: Event | None,
    error: PoisonError | None,
    schema: str | None = None,
) -> ReadRecord:
    return ReadRecord(
        topic=topic,
        partition=message.partition(),
        offset=message.offset(),
        appended_at=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=[(name, held or b"") for name, held in message.headers() or []],
        event=event,
        error=error,
        schema=schema,
    )
