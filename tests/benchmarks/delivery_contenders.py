"""The contenders of ``slice_delivery``, each in a process of its own: ``KIND BOOTSTRAP TOPIC N S``.

All do the same work per event, ``len(value)``, and stop after N events or S seconds from the first
one. Printed is one JSON line: events counted after the first arrival, and the seconds they took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer
from faust.types import TP

from streams import topology
from streams.ledger import RawSlice
from streams.settings import WorkerSettings
from streams.transport import Bounds


class Clock:
    """Counts from the first arrival; ends the process when there is enough."""

    def __init__(self, events_max: int, seconds_max: float) -> None:
        self.left = events_max
        self.seconds_max = seconds_max
        self.counted = 0
        self.bytes = 0
        self.started = 0.0

    def add(self, events: int, size: int) -> None:
        """Counts a delivery of ``events`` records with ``size`` bytes of values."""
        now = time.perf_counter()
        self.bytes += size
        self.left -= events
        if not self.started:
            self.started = now
            return
        self.counted += events
        if self.left <= 0 or now - self.started > self.seconds_max:
            print(json.dumps({"events": self.counted, "seconds": now - self.started}), flush=True)
            os._exit(0)


class _ToyUnit:
    """What the topology asks of a unit."""

    name = "bench"
    topics: frozenset[str]


def slices(bootstrap: str, topic: str, clock: Clock) -> None:
    """Ours: slices through an ordinary Faust agent, acked and committed."""

    async def earliest(tp: TP, bounds: Bounds) -> int:
        return bounds.earliest

    async def body(stream: Any) -> None:
        consumer = stream.app.consumer
        async for event in stream.noack().events():
            piece: RawSlice = event.value
            clock.add(len(piece.records), sum([len(r.value or b"") for r in piece.records]))
            consumer.ack(event.message)

    async def main() -> None:
        unit: Any = _ToyUnit()
        unit.topics = frozenset({topic})
        settings = WorkerSettings(bootstrap, group=uuid.uuid4().hex)
        app = topology.build_app(settings, unit, earliest)
        topology.attach(app, settings, unit, body)
        await app.start()
        await asyncio.Event().wait()

    asyncio.run(main())


def stock(bootstrap: str, topic: str, agent: Callable[[Any], Awaitable[None]]) -> None:
    """Faust as it comes."""

    async def main() -> None:
        app = faust.App(
            uuid.uuid4().hex,
            broker=f"kafka://{bootstrap}",
            store="memory://",
            datadir=tempfile.mkdtemp(),
            web_enabled=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=6,
        )
        source = app.topic(topic, value_type=bytes, value_serializer="raw")
        app.agent(source)(agent)
        await app.start()
        await asyncio.Event().wait()

    asyncio.run(main())


def faust_take(bootstrap: str, topic: str, clock: Clock) -> None:
    """Stock Faust in batches."""

    async def agent(stream: Any) -> None:
        async for values in stream.take(2000, within=0.1):
            clock.add(len(values), sum([len(value) for value in values]))

    stock(bootstrap, topic, agent)


def faust_plain(bootstrap: str, topic: str, clock: Clock) -> None:
    """Stock Faust, one event at a time."""

    async def agent(stream: Any) -> None:
        async for value in stream:
            clock.add(1, len(value))

    stock(bootstrap, topic, agent)


def quix(bootstrap: str, topic: str, clock: Clock) -> None:
    """Quix Streams on its own terms: a dataframe with one function per event."""
    from quixstreams import Application  # noqa: PLC0415  (an optional dependency, of this peer alone)

    app = Application(
        bootstrap,
        consumer_group=uuid.uuid4().hex,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="WARNING",
        state_dir=tempfile.mkdtemp(),
    )
    source = app.topic(topic, value_deserializer="bytes")

    def count(value: bytes) -> None:
        clock.add(1, len(value))

    frame = app.dataframe(source).update(count)
    app.run(frame)


def librdkafka(bootstrap: str, topic: str, clock: Clock) -> None:
    """A limit: a bare librdkafka loop."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
        }
    )
    consumer.subscribe([topic])
    while True:
        found = consumer.consume(10_000, 1.0)
        if found:
            clock.add(len(found), sum([len(message.value() or b"") for message in found]))


def aiokafka_loop(bootstrap: str, topic: str, clock: Clock) -> None:
    """A limit: a bare loop over the client that carries the slices."""

    async def main() -> None:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=uuid.uuid4().hex,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        while True:
            polled = await consumer.getmany(timeout_ms=500, max_records=2000)
            for records in polled.values():
                clock.add(len(records), sum([len(r.value or b"") for r in records]))

    asyncio.run(main())


CONTENDERS: dict[str, Callable[[str, str, Clock], None]] = {
    "slices": slices,
    "faust_take": faust_take,
    "faust_plain": faust_plain,
    "quix": quix,
    "aiokafka": aiokafka_loop,
    "librdkafka": librdkafka,
}


if __name__ == "__main__":
    kind, address, name, events, seconds = sys.argv[1:]
    CONTENDERS[kind](address, name, Clock(int(events), float(seconds)))
