"""``slice_delivery``: events a second from the log to the body of an agent, ours and the others'.

One topic, one run, one process each: slices through an ordinary Faust agent, stock Faust with
``take()`` and without, Quix Streams, and as the limits bare loops over aiokafka (which carries the
slices) and librdkafka. Each is measured twice, in turns, and its better run counts.
``BENCH_EVENTS`` (default 1,200,000) sets the topic's size.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.settings import load
from tests.benchmarks.harness import Figure

CONTENDERS = ("slices", "aiokafka", "librdkafka", "quix", "faust_take", "faust_plain")
PARTITIONS = 4
VALUE_BYTES = 100
SECONDS_MAX = 8.0
ROUNDS = 2


def fill(bootstrap: str, topic: str, events: int, value_bytes: int = VALUE_BYTES) -> None:
    """Makes the topic and appends ``events`` small records, evenly over its partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        made.result()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.size": 256 * 1024,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "acks": "all",
        }
    )
    for number in range(events):
        value = number.to_bytes(8) + b"." * (value_bytes - 8)
        while True:
            try:
                producer.produce(topic, value, key=b"%d" % number, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    if left := producer.flush(120):
        raise RuntimeError(f"{left} events were not delivered")


async def contend(kind: str, bootstrap: str, topic: str, events: int) -> float:
    """Runs one contender in a process of its own; returns its events a second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.delivery_contenders",
        kind,
        bootstrap,
        topic,
        str(events),
        str(SECONDS_MAX),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 120)
    except TimeoutError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{kind} failed: {err.decode()[-2000:]}")
    result = json.loads(out.decode().strip().splitlines()[-1])
    return float(result["events"] / result["seconds"])


async def run() -> list[Figure]:
    """Fills the topic, and lets everybody read it."""
    bootstrap = load().settings.kafka_bootstrap
    events = int(os.environ.get("BENCH_EVENTS", "1200000"))
    topic = f"bench_delivery_{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(fill, bootstrap, topic, events)
    best: dict[str, float] = {}
    try:
        for _ in range(ROUNDS):
            for kind in CONTENDERS:
                rate = await contend(kind, bootstrap, topic, events)
                best[kind] = max(rate, best.get(kind, 0))
    finally:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for done in admin.delete_topics([topic]).values():
            done.result()
    names = {
        "faust_take": "stock Faust, take()",
        "faust_plain": "stock Faust, plain agent",
        "quix": "Quix Streams",
        "aiokafka": "aiokafka loop (limit)",
        "librdkafka": "librdkafka loop (limit)",
    }
    beside = {label: best[kind] for kind, label in names.items()}
    return [Figure("slice_delivery", best["slices"], "events/s", beside)]
