"""The log: where every event is appended, and the only way in for our producers.

Keeps true: ``append`` answers when the event is in the log for good (acknowledged by all in-sync
replicas), and fails with an error that tells what is certain (``events.errors``): nothing was
sent, it can never be taken, or nobody knows.

With an idempotency key, the encoded event is stored before it is sent, and its position
afterwards. A retry 1. gets the stored position when it is known;
2. else appends the stored bytes again, and gets the position of whoever came first.
After an unknown outcome the log may thus hold an event twice, with one ``event_id``: projections
apply it once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from events import metrics
from events.cloudevents import headers_of
from events.codec import Codec
from events.errors import (
    AppendManyFailed,
    BrokerUnreachable,
    EventsError,
    KeyReused,
    OutcomeUnknown,
    QueueFull,
    StoreUnavailable,
)
from events.idempotency import IdempotencyStore, StoredAppend
from events.position import Position
from events.producer import Headers, Place, ProducerSettings, RecordProducer
from events.types import Event, key_of, topic_of
from schemas.catalog import Topics

MANY_IN_FLIGHT_MAX = 5_000
CLOSE_SECONDS_MAX = 10.0
FULL_QUEUE_SECONDS = 0.01
SOURCE = "/murmuration"

_logger = logging.getLogger(__name__)


class Appended(msgspec.Struct, frozen=True):
    """What became of an append with an idempotency key.

    Attributes:
        position: Where the event is.
        event: The event in the log: that of the first append with the key.
        repeated: Whether the key had an append already.
    """

    position: Position
    event: Event
    repeated: bool


class Log:
    """Appends events; ``await open()`` first, ``await close()`` last.

    Args:
        settings: How records are sent.
        codec: Encodes events; its ids are the registry's.
        topics: The topics' names on the broker.
        idempotency: Where idempotency keys are kept; without it they are refused.
        source: URI reference of this producer, in the CloudEvents headers.
        producer: Makes what sends the records.
    """

    def __init__(
        self,
        settings: ProducerSettings,
        codec: Codec,
        topics: Topics,
        idempotency: IdempotencyStore | None = None,
        source: str = SOURCE,
        producer: Callable[[ProducerSettings], RecordProducer] = RecordProducer,
    ) -> None:
        self._producer = producer(settings)
        self._codec = codec
        self._topics = topics
        self._idempotency = idempotency
        self._source = source.encode()

    async def open(self) -> None:
        """Start the producer."""
        self._producer.open()

    async def close(self, seconds_max: float = CLOSE_SECONDS_MAX) -> None:
        """Wait for what is in flight, then stop; what does not end in time fails."""
        await self._producer.close(seconds_max)

    async def append(
        self,
        event: Event,
        *,
        idempotency_key: str | None = None,
        command: bytes | None = None,
        traceparent: str | None = None,
    ) -> Position:
        """Append one event.

        Args:
            event: The event; its type says which topic.
            idempotency_key: See ``append_once``.
            command: See ``append_once``.
            traceparent: W3C trace context of the command.

        Returns:
            Where it is.

        Raises:
            InvalidEvent: A field is not what its schema allows.
            EventTooLarge: More bytes than the log takes.
            KeyReused: The key was used for another command.
            QueueFull: Too much is in flight; nothing was sent.
            BrokerUnreachable: Nothing was sent.
            StoreUnavailable: The key could not be stored; nothing was sent.
            AppendRefused: The broker refuses until an operator has acted.
            OutcomeUnknown: It may be in the log; retry with the same key.
            LogClosed: The log is closed.
        """
        if idempotency_key is None:
            return await self._send(self._encoded(event, traceparent), None)
        appended = await self.append_once(
            event, idempotency_key=idempotency_key, command=command, traceparent=traceparent
        )
        return appended.position

    async def append_once(
        self,
        event: Event,
        *,
        idempotency_key: str,
        command: bytes | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """Append the event of a command that may be repeated.

        Args:
            event: The event, should the key be new.
            idempotency_key: Names the command, for as long as the store keeps keys.
            command: What makes two commands the same, such as the body of a request, without the
                ids minted for it. Without it the encoded event does, ids included.
            traceparent: W3C trace context of the command.

        Returns:
            The position and the event of the first append with the key.

        Raises:
            EventsError: As for ``append``.
        """
        store = self._store()
        append = self._encoded(event, traceparent)
        self._producer.check_size(append.key, append.value, append.headers)
        same = append.value if command is None else command
        digest = _digest(type(event), same)
        append = msgspec.structs.replace(append, digest=digest)
        refusal = self._producer.refusal()
        if refusal is not None and await store.get(idempotency_key) is None:
            raise refusal  # before the key is kept: of a key that is kept nobody knows
        held = await store.put(idempotency_key, append)
        if held is None:
            position = await self._append_stored(store, idempotency_key, append)
            return Appended(position, event, False)
        if held.digest != append.digest:
            raise KeyReused(idempotency_key)
        await self._codec.prepare([held.value])
        first = self._codec.decode(held.value)
        if held.position is not None:
            metrics.IDEMPOTENT_REPEATS.labels("answered").inc()  # 1
            return Appended(held.position, first, True)
        metrics.IDEMPOTENT_REPEATS.labels("appended").inc()  # 2
        return Appended(await self._append_again(store, idempotency_key, held), first, True)

    async def recall(self, idempotency_key: str, command: bytes | None = None) -> Event | None:
        """The event that was stored under a key, whether it is in the log or not.

        Args:
            idempotency_key: The key.
            command: Compared with the first one's, when given.

        Raises:
            KeyReused: The key was used for another command.
            StoreUnavailable: It could not be told.
        """
        held = await self._store().get(idempotency_key)
        if held is None:
            return None
        await self._codec.prepare([held.value])
        event = self._codec.decode(held.value)
        if command is not None and held.digest != _digest(type(event), command):
            raise KeyReused(idempotency_key)
        return event

    async def append_many(self, events: Sequence[Event]) -> list[Position]:
        """Append events in order, many in flight; waits where ``append`` would find the queue full.

        Returns:
            Their positions, in order.

        Raises:
            AppendManyFailed: Some were not appended; it tells the outcome of each.
        """
        outcomes: list[Position | EventsError] = []
        for start in range(0, len(events), MANY_IN_FLIGHT_MAX):
            outcomes += await self._burst(events[start : start + MANY_IN_FLIGHT_MAX])
            if any(isinstance(outcome, EventsError) for outcome in outcomes):
                raise AppendManyFailed(outcomes, len(events))
        return [outcome for outcome in outcomes if isinstance(outcome, Position)]

    async def append_raw(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Position:
        """Append bytes that are no event of ours, such as a dead letter.

        Args:
            topic: Logical topic.
            key: Record key.
            value: Record value.
            headers: Record headers.

        Raises:
            EventsError: As for ``append``.
        """
        future = self._producer.send(self._topics.name(topic), key, value, headers)
        partition, offset = await future
        return Position(topic, partition, offset)

    def _store(self) -> IdempotencyStore:
        if self._idempotency is None:
            raise StoreUnavailable("this log was made without a store for idempotency keys")
        return self._idempotency

    def _encoded(self, event: Event, traceparent: str | None) -> StoredAppend:
        value, key = self._codec.encode(event), key_of(event)
        headers = headers_of(event, key, self._source, traceparent)
        return StoredAppend(b"", topic_of(event), key, value, headers)

    async def _append_again(
        self, store: IdempotencyStore, idempotency_key: str, held: StoredAppend
    ) -> Position:
        """Appends what an earlier request stored.

        That request may have sent it, so that nothing was sent now does not say that nothing was.
        """
        try:
            return await self._append_stored(store, idempotency_key, held)
        except (BrokerUnreachable, QueueFull) as error:
            why = f"it may have been sent before, and was not now: {error}"
            raise OutcomeUnknown(why, idempotency_key) from error

    async def _append_stored(
        self, store: IdempotencyStore, idempotency_key: str, append: StoredAppend
    ) -> Position:
        position = await self._send(append, idempotency_key)
        try:
            return await store.settle(idempotency_key, append, position)
        except StoreUnavailable as error:
            # The event is in the log: a retry may append it again, and answer with another place.
            _logger.warning("the position of key %r is not kept: %s", idempotency_key, error)
            return position

    async def _send(self, append: StoredAppend, idempotency_key: str | None) -> Position:
        started = time.perf_counter()
        outcome = "ok"
        metrics.APPENDS_IN_FLIGHT.set(self._producer.in_flight + 1)
        try:
            partition, offset = await self._queue(append)
        except OutcomeUnknown as error:
            outcome = "OutcomeUnknown"
            raise OutcomeUnknown(error.why, idempotency_key) from error
        except EventsError as error:
            outcome = type(error).__name__
            raise
        finally:
            metrics.APPENDS.labels(append.topic, outcome).inc()
            metrics.APPEND_SECONDS.observe(time.perf_counter() - started)
            metrics.APPENDS_IN_FLIGHT.set(self._producer.in_flight)
        return Position(append.topic, partition, offset)

    def _queue(self, append: StoredAppend) -> asyncio.Future[Place]:
        name = self._topics.name(append.topic)
        return self._producer.send(name, append.key, append.value, append.headers)

    async def _burst(self, events: Sequence[Event]) -> list[Position | EventsError]:
        """Queue events, then wait for all of them."""
        queued = [await self._try_queue(event) for event in events]
        sent = [outcome for outcome in queued if isinstance(outcome, asyncio.Future)]
        if sent:
            await asyncio.wait(sent)
        return [
            _outcome(topic_of(event), outcome)
            for event, outcome in zip(events, queued, strict=True)
        ]

    async def _try_queue(self, event: Event) -> asyncio.Future[Place] | EventsError:
        try:
            append = self._encoded(event, None)
            while True:
                try:
                    return self._queue(append)
                except QueueFull:  # room comes as deliveries end, each within its time limit
                    await asyncio.sleep(FULL_QUEUE_SECONDS)
        except EventsError as error:
            return error


def _outcome(topic: str, outcome: asyncio.Future[Place] | EventsError) -> Position | EventsError:
    error = outcome if isinstance(outcome, EventsError) else outcome.exception()
    if error is None and isinstance(outcome, asyncio.Future):
        metrics.APPENDS.labels(topic, "ok").inc()
        return Position(topic, *outcome.result())
    if not isinstance(error, EventsError):
        raise TypeError("a record's future ends with a place or an EventsError") from error
    metrics.APPENDS.labels(topic, type(error).__name__).inc()
    return error


def _digest(kind: type[Event], command: bytes) -> bytes:
    return hashlib.sha256(kind.__name__.encode() + b"\0" + command).digest()
