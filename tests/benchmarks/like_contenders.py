"""The contenders of ``like_counting`` that read from Kafka, each in a process of its own.

``KIND DATA_DIR GENERATION TOPIC N``: ``worker`` is the whole path of a worker process (slice
transport, decoding, the unit), ``lists`` the same with the store, ``quix`` is Quix Streams. All
begin to count at the end of the first delivery, stop after N events, and print one JSON line:
events, seconds, and the process's CPU seconds. GENERATION starts the names of Redis keys.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import fastavro
import httpx
import redis
import uvloop

from events.codec import Codec, plain
from events.registry import Registry
from events.slices import Slice
from infra import compose
from infra.settings import Settings, load
from infra.worker import collect_seldom
from projections.engagement.unit import Engagement
from projections.keys import Keys
from schemas import catalog
from streams.settings import WorkerSettings
from streams.worker import run_worker
from tests.benchmarks.like_counting import NoLists, Registers

PIPELINE_EVENTS = 1000


class Clock:
    """Counts from the end of the first delivery; ends the process when there is enough."""

    def __init__(self, events: int) -> None:
        self.left = events
        self.counted = 0
        self.started = 0.0
        self.cpu = 0.0

    def add(self, events: int) -> None:
        now = time.perf_counter()
        self.left -= events
        if self.started:
            self.counted += events
        else:
            self.started, self.cpu = now, time.process_time()
        if self.left <= 0:
            seconds, cpu = now - self.started, time.process_time() - self.cpu
            print(json.dumps({"events": self.counted, "seconds": seconds, "cpu": cpu}), flush=True)
            os._exit(0)


class TimedEngagement(Engagement):
    """The unit, and a clock that sees each slice when it is durable."""

    topics = frozenset({"engagements"})
    clock: Clock

    async def apply(self, piece: Slice) -> None:
        await super().apply(piece)
        self.clock.add(len(piece.records))


async def worker(settings: Settings, generation: str, topic: str, events: int, lists: bool) -> None:
    """The whole path of a worker process."""
    async with compose.engines(settings) as on:
        keys = Keys(generation, generation, settings.buckets)
        if lists:
            unit = TimedEngagement(on.bus, on.store, keys)
        else:
            unit = TimedEngagement(on.bus, Registers(on.store), keys, lists=NoLists())
        unit.clock = Clock(events)
        async with httpx.AsyncClient() as client:
            codec = Codec({}, Registry(settings.registry_url, client))
            collect_seldom()  # as every worker process
            prefix = topic.removesuffix("engagements")
            worker_settings = WorkerSettings(
                settings.kafka_bootstrap,
                group=uuid.uuid4().hex,
                topic_prefix=prefix,
                slice_records_max=compose.SLICE_RECORDS_MAX[unit.name],
            )
            await run_worker(worker_settings, unit, codec, asyncio.Event())


def quix(settings: Settings, generation: str, topic: str, events: int) -> None:
    """Quix Streams counting likes into Redis sets: decoded by fastavro, written in pipelines.

    Less exactly: a crash repeats records without a fence, and counts what it repeats in the wrong
    order; views are counted twice; nothing says whether Redis still has what was written.
    """
    from quixstreams import Application  # noqa: PLC0415  (an optional dependency, of this peer alone)

    clock = Clock(events)
    ids = asyncio.run(_schema_ids(settings))
    schemas = {
        ids[name].to_bytes(4): (
            name,
            fastavro.parse_schema(plain(catalog.schemas()[name][-1].schema)),
        )
        for name in ("TweetLiked", "TweetUnliked", "TweetViewed")
    }
    prefix = generation
    pipeline = redis.Redis.from_url(settings.redis_url).pipeline(transaction=False)
    waiting = 0

    def count(value: bytes) -> None:
        nonlocal waiting
        name, schema = schemas[value[1:5]]
        event: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
        tweet = event["tweet_id"]
        if name == "TweetLiked":
            pipeline.sadd(f"{prefix}:{tweet}:likers", event["user_id"])
        elif name == "TweetUnliked":
            pipeline.srem(f"{prefix}:{tweet}:likers", event["user_id"])
        else:
            pipeline.incr(f"{prefix}:{tweet}:views")
        waiting += 1
        if waiting == PIPELINE_EVENTS:
            pipeline.execute()
            clock.add(waiting)
            waiting = 0

    app = Application(
        settings.kafka_bootstrap,
        consumer_group=uuid.uuid4().hex,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="WARNING",
        state_dir=tempfile.mkdtemp(),
    )
    source = app.topic(topic, value_deserializer="bytes")
    frame = app.dataframe(source).update(count)
    app.run(frame)


async def _schema_ids(settings: Settings) -> dict[str, int]:
    async with httpx.AsyncClient() as client:
        return dict(await Registry(settings.registry_url, client).publish())


def main() -> None:
    kind, folder, generation, topic, events = sys.argv[1:]
    settings = load(data_dir=Path(folder)).settings
    if kind == "quix":
        quix(settings, generation, topic, int(events))
    else:
        uvloop.run(worker(settings, generation, topic, int(events), lists=kind == "lists"))


if __name__ == "__main__":
    main()
