"""librdkafka's producer for asyncio: a future for each record, with what is known of its fate.

One thread polls librdkafka. What it hears of deliveries is put on a queue and handed to the event
loop in one wake-up for all that are waiting, so that thousands of deliveries a second do not cost
a wake-up each. (``confluent_kafka``'s own ``AIOProducer`` refuses headers, and is experimental in
2.12.)

Keeps true: a future ends with the record's place in the log, or with an error that says what is
certain. A record that timed out was certainly not appended when librdkafka sent no Produce request
at all since before it was queued; its statistics count those requests. Otherwise the outcome is
unknown.

Bounded: ``in_flight_max`` records and ``in_flight_bytes_max`` bytes in librdkafka's queue; each
    ends within
``delivery_ms_max`` and two statistics intervals.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from events.errors import (
    AppendRefused,
    BrokerUnreachable,
    EventsError,
    EventTooLarge,
    LogClosed,
    OutcomeUnknown,
    QueueFull,
)

STATISTICS_MS = 1_000
POLL_SECONDS_MAX = 0.2
RECONNECT_MS_MAX = 1_000
RECORD_OVERHEAD_BYTES = 1_024
TELL_AGAIN_SECONDS = 30.0

Headers: TypeAlias = Sequence[tuple[str, bytes]]
Place: TypeAlias = tuple[int, int]  # partition, offset

_logger = logging.getLogger(__name__)

_TOO_LARGE = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
    }
)
# The broker, or librdkafka before it sent anything, says no: the record is not in the log.
_REFUSED = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)


class ProducerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How records are sent.

    Attributes:
        bootstrap: Brokers, ``host:port`` separated by commas.
        client_id: Name in the brokers' logs and quotas.
        compression: ``lz4``, ``zstd``, ``snappy``, ``gzip`` or ``none``.
        linger_ms: How long a batch waits for more records.
        delivery_ms_max: How long a record may take, retries included, before its outcome is told.
        event_bytes_max: Key, value and headers of one record together.
        in_flight_max: Records in the queue.
        in_flight_bytes_max: Bytes in the queue.
        options: More librdkafka options, such as ``security.protocol``.
    """

    bootstrap: str
    client_id: str = "murmuration"
    compression: str = "zstd"
    linger_ms: float = 2.0
    delivery_ms_max: int = 10_000
    event_bytes_max: int = 1_000_000
    in_flight_max: int = 100_000
    in_flight_bytes_max: int = 128 * 1024 * 1024
    options: dict[str, str] = {}

    def librdkafka(self) -> dict[str, Any]:
        """The settings as librdkafka takes them."""
        return {
            # A broker that is back is used within a second; librdkafka's own pause grows to 10 s.
            "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
            **self.options,
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            "enable.idempotence": True,  # and with it acks=all, and order kept over retries
            "acks": "all",
            # Java's default partitioner; other languages' producers of ours must choose it too.
            "partitioner": "murmur2_random",
            "compression.type": self.compression,
            "linger.ms": self.linger_ms,
            "message.timeout.ms": self.delivery_ms_max,
            "message.max.bytes": self.event_bytes_max + RECORD_OVERHEAD_BYTES,
            "queue.buffering.max.messages": self.in_flight_max,
            "queue.buffering.max.kbytes": self.in_flight_bytes_max // 1024,
            "topic.metadata.propagation.max.ms": 5_000,
            "statistics.interval.ms": STATISTICS_MS,
        }


class _Broker(msgspec.Struct):
    req: dict[str, int] = {}


class _Statistics(msgspec.Struct):
    """What is read of librdkafka's statistics: requests sent since the start, by name."""

    brokers: dict[str, _Broker] = {}


_read_statistics = msgspec.json.Decoder(_Statistics).decode


class _Sent(msgspec.Struct):
    """One record on its way.

    Attributes:
        future: Ends with its place or an error.
        requests_before: Produce requests that were sent before it was queued, at least.
        size_bytes: Its key, value and headers.
    """

    future: asyncio.Future[Place]
    requests_before: int
    size_bytes: int


class _Doubt(msgspec.Struct):
    """A record that timed out, until the statistics tell whether it can have been sent."""

    sent: _Sent
    samples_left: int
    why: str


class RecordProducer:
    """Sends records; ``open()`` and ``await close()`` on the event loop that uses it."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._settled: deque[tuple[_Sent, KafkaError | None, Place]] = deque()
        self._waking = False
        self._stop = threading.Event()
        self._requests = 0
        self._doubts: list[_Doubt] = []
        self._in_flight = 0
        self._told: dict[int, float] = {}

    @property
    def in_flight(self) -> int:
        """Records queued whose outcome is not known yet."""
        return self._in_flight

    def open(self) -> None:
        """Start the producer and its thread; connections are made in the background."""
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(
            {
                **self._settings.librdkafka(),
                "error_cb": self._on_error,
                "stats_cb": self._on_statistics,
            },
            logger=_logger,
        )
        self._thread = threading.Thread(
            target=self._poll, args=(self._producer,), name="log producer", daemon=True
        )
        self._thread.start()

    async def close(self, seconds_max: float) -> None:
        """Wait for what is in flight, for a while; then give up on the rest and stop.

        Records given up on before they were sent end with ``BrokerUnreachable``, the others with
        ``OutcomeUnknown``.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            return
        await asyncio.to_thread(self._finish, producer, seconds_max)
        self._drain()
        for doubt in self._doubts:
            _fail(doubt.sent, OutcomeUnknown(doubt.why, None))
        self._doubts.clear()

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> asyncio.Future[Place]:
        """Queue one record.

        Args:
            topic: Name on the broker.
            key: Decides the partition; records without one are spread.
            value: ``None`` is a tombstone.
            headers: Names and bytes.

        Returns:
            A future of the partition and offset, or of an ``EventsError``.

        Raises:
            QueueFull: Too much is in flight; nothing was sent.
            EventTooLarge: More bytes than the log takes; nothing was sent.
            LogClosed: The producer is closed or has failed for good; nothing was sent.
        """
        if self._producer is None:
            raise LogClosed("the log is closed; nothing was sent")
        size = self.check_size(key, value, headers)
        sent = _Sent(self._loop.create_future(), self._requests, size)
        try:
            self._producer.produce(
                topic,
                value=value,
                key=key,
                headers=list(headers),
                on_delivery=functools.partial(self._on_delivery, sent),
            )
        except BufferError as error:
            raise QueueFull(
                f"{self.in_flight} appends are in flight; nothing was sent, try again later"
            ) from error
        except KafkaException as error:
            raise self._not_queued(error.args[0], size) from error
        self._in_flight += 1
        return sent.future

    def refusal(self) -> EventsError | None:
        """Returns why nothing would be sent now, where that is known beforehand; here it is not."""
        return None

    def check_size(self, key: bytes | None, value: bytes | None, headers: Headers) -> int:
        """The bytes of a record.

        Raises:
            EventTooLarge: More than the log takes.
        """
        named = sum(len(name) + len(held) for name, held in headers)
        size = len(key or b"") + len(value or b"") + named
        if size > self._settings.event_bytes_max:
            raise EventTooLarge(size, self._settings.event_bytes_max)
        return size

    def _not_queued(self, error: KafkaError, size: int) -> EventsError:
        if error.code() in _TOO_LARGE:
            return EventTooLarge(size, self._settings.event_bytes_max)
        if error.fatal():
            return LogClosed(f"the producer has failed for good; nothing was sent: {error.str()}")
        return AppendRefused(f"{error.name()}: {error.str()}; nothing was sent")

    # On the polling thread.

    def _poll(self, producer: Producer) -> None:
        while not self._stop.is_set():
            producer.poll(POLL_SECONDS_MAX)

    def _finish(self, producer: Producer, seconds_max: float) -> None:
        if producer.flush(seconds_max):
            producer.purge()
            producer.flush(seconds_max)
        self._stop.set()
        self._thread.join()

    def _on_delivery(self, sent: _Sent, error: KafkaError | None, message: Message) -> None:
        self._settled.append((sent, error, (message.partition(), message.offset())))
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._drain)

    def _on_statistics(self, text: str) -> None:
        brokers = _read_statistics(text).brokers.values()
        requests = sum(broker.req.get("Produce", 0) for broker in brokers)
        self._loop.call_soon_threadsafe(self._on_sample, requests)

    def _on_error(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._told.get(error.code(), -TELL_AGAIN_SECONDS) >= TELL_AGAIN_SECONDS:
            self._told[error.code()] = now
            level = logging.ERROR if error.fatal() else logging.WARNING
            _logger.log(level, "kafka producer: %s: %s", error.name(), error.str())

    # On the event loop.

    def _drain(self) -> None:
        self._waking = False  # first, so that what is added from here on wakes the loop again
        while self._settled:
            sent, error, place = self._settled.popleft()
            self._in_flight -= 1
            if error is None:
                if not sent.future.done():
                    sent.future.set_result(place)
            elif error.code() == KafkaError._MSG_TIMED_OUT and self._producer is not None:
                self._doubts.append(_Doubt(sent, 2, error.str()))
            else:
                _fail(sent, self._verdict(error, sent))

    def _on_sample(self, requests: int) -> None:
        """Two samples after a record timed out, the requests counted include any that held it."""
        self._requests = requests
        for doubt in self._doubts:
            doubt.samples_left -= 1
            if doubt.samples_left == 0:
                _fail(doubt.sent, _judged(doubt, requests))
        self._doubts = [doubt for doubt in self._doubts if doubt.samples_left]

    def _verdict(self, error: KafkaError, sent: _Sent) -> EventsError:
        why = f"{error.name()}: {error.str()}"
        if error.code() in _TOO_LARGE:
            return EventTooLarge(sent.size_bytes, self._settings.event_bytes_max)
        if error.code() in _REFUSED:
            return AppendRefused(why)
        if error.code() == KafkaError._PURGE_QUEUE:
            return BrokerUnreachable("the log was closed before the event was sent")
        return OutcomeUnknown(why, None)


def _judged(doubt: _Doubt, requests: int) -> EventsError:
    if requests == doubt.sent.requests_before:
        return BrokerUnreachable(f"no broker took anything; nothing was sent: {doubt.why}")
    return OutcomeUnknown(doubt.why, None)


def _fail(sent: _Sent, error: EventsError) -> None:
    if not sent.future.done():
        sent.future.set_exception(error)
