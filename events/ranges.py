"""Records of a topic by their offsets, raw: for whoever needs a few of them, and knows which.

Keeps true: what is asked for is read whole, or an error is raised; nothing is committed and no
group is joined. One thread and one consumer, made when first needed.

Bounded by: ``RECORDS_MAX`` records in one answer, ``SECONDS_MAX`` without a record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from events.errors import BrokerUnreachable, TopicMismatch

RECORDS_MAX = 2_000
SECONDS_MAX = 10.0
_POLL_SECONDS = 0.2

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Raw(msgspec.Struct, frozen=True):
    """One record as it is in the log.

    Attributes:
        offset: Its offset.
        appended_at: The broker's time, milliseconds since the Unix epoch.
        key: Record key.
        value: Record value; None for a tombstone.
        headers: Record headers.
    """

    offset: int
    appended_at: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Ranges:
    """Reads ranges of offsets from one cluster; ``close`` it.

    Args:
        bootstrap: Brokers, ``host:port`` separated by commas.
        options: More librdkafka options, such as ``security.protocol``.
    """

    def __init__(self, bootstrap: str, options: Mapping[str, str] | None = None) -> None:
        self._options: dict[str, Any] = {
            "log_level": 3,
            **(options or {}),
            "bootstrap.servers": bootstrap,
            "group.id": "murmur.ranges",  # required; never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        self._consumer: Consumer | None = None
        self._partitions: dict[str, list[int]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ranges")

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Returns the first offset and the next to be written of each partition.

        Args:
            topic: Name on the broker.

        Raises:
            TopicMismatch: It does not exist.
            BrokerUnreachable: No broker answered.
        """
        return await self._run(lambda: self._bounds(topic))

    async def read(self, topic: str, partition: int, start: int, end: int) -> list[Raw]:
        """Returns records from ``start`` up to and without ``end``, the first ``RECORDS_MAX``.

        Fewer than that only at ``end``. Offsets that hold no record are left out.

        Raises:
            BrokerUnreachable: No broker answered.
            TopicMismatch: The topic does not exist, or ``start`` is outside of it.
        """
        return await self._run(lambda: self._read(topic, partition, start, end))

    async def one(self, topic: str, partition: int, offset: int) -> Raw | None:
        """Returns one record, or None where the topic does not hold it (any more)."""
        low, high = (await self.bounds(topic)).get(partition, (0, 0))
        if not low <= offset < high:
            return None
        found = await self.read(topic, partition, offset, offset + 1)
        return found[0] if found else None

    async def close(self) -> None:
        """Leaves the cluster."""
        if self._consumer is not None:
            await self._run(self._consumer.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except KafkaException as error:
            raise _error(error.args[0]) from error

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(self._options, logger=_logger)
        return self._consumer

    def _bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        consumer = self._open()
        if topic not in self._partitions:
            found = consumer.list_topics(topic, timeout=SECONDS_MAX).topics[topic]
            if found.error is not None:
                raise _error(found.error)
            self._partitions[topic] = sorted(found.partitions)
        return {
            partition: consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=SECONDS_MAX, cached=False
            )
            for partition in self._partitions[topic]
        }

    def _read(self, topic: str, partition: int, start: int, end: int) -> list[Raw]:
        consumer = self._open()
        consumer.assign([TopicPartition(topic, partition, start)])
        found: list[Raw] = []
        at, heard = start, time.monotonic()
        try:
            while at < end and len(found) < RECORDS_MAX:
                wanted = min(RECORDS_MAX - len(found), end - at)
                messages: list[Message] = consumer.consume(wanted, _POLL_SECONDS)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SECONDS_MAX:
                    raise BrokerUnreachable(f"no records of {topic}/{partition} from {at}")
                for message in messages:
                    error = message.error()
                    if error is None:
                        at = (message.offset() or 0) + 1
                        if at <= end:
                            found.append(_raw(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        at = end
                    else:
                        raise _error(error)
        finally:
            consumer.unassign()
        return found


def _raw(message: Message) -> Raw:
    return Raw(
        offset=message.offset() or 0,
        appended_at=message.timestamp()[1],
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=[(name, _bytes(held) or b"") for name, held in message.headers() or []],
    )


def _bytes(held: str | bytes | None) -> bytes | None:
    return held.encode() if isinstance(held, str) else held


def _error(error: KafkaError) -> BrokerUnreachable | TopicMismatch:
    words = f"{error.name()}: {error.str()}"
    moved = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
    outside = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)
    return (TopicMismatch if error.code() in (*moved, *outside) else BrokerUnreachable)(words)
