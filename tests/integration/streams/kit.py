"""Topics, producers and workers for the tests of the transport, each under a fresh prefix."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import CollectorRegistry

from streams.settings import WorkerSettings
from streams.worker import run_worker
from tests.integration.streams.toy import ToyDecoder, ToyState, ToyUnit
from tests.integration.streams.waiting import until

TOPIC = "numbers"


class Bench:
    """One test's own corner of the log, and the state of its toy unit."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"t_{uuid.uuid4().hex[:10]}."
        self.path = folder / "state.sqlite"
        self.state = ToyState(self.path)
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.settings = WorkerSettings(
            bootstrap,
            group=f"{self.prefix}toy",
            topic_prefix=self.prefix,
            commit_interval_seconds=0.2,
            retry_seconds_max=0.3,
            unit_heartbeat_seconds=0.1,
        )

    def create(self, partitions: int = 2, topic: str = TOPIC, **config: str) -> None:
        new = [
            NewTopic(self.prefix + topic, partitions, 1, config=config),
            NewTopic(self.prefix + "dead-letters", 1, 1),
        ]
        for name, done in self.admin.create_topics(new).items():
            if not (name.endswith("dead-letters") and done.exception()):
                done.result()

    def producer(self, **config: Any) -> Producer:
        return Producer({"bootstrap.servers": self.bootstrap, "log_level": 2, **config})

    def produce(
        self,
        values: Iterable[int | bytes | None],
        *,
        topic: str = TOPIC,
        producer: Producer | None = None,
        key: Callable[[int], str] = str,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Appends numbers, raw bytes or tombstones, and waits until they are in the log."""
        sink = producer or self.producer(**{"linger.ms": 20, "acks": "all"})
        for index, value in enumerate(values):
            payload = value.to_bytes(8) if isinstance(value, int) else value
            extra: dict[str, Any] = {} if partition is None else {"partition": partition}
            sink.produce(
                self.prefix + topic,
                payload,
                key=key(index),
                headers=dict(headers or {}),
                **extra,
            )
            if index % 1000 == 0:
                sink.poll(0)
        if producer is None:
            assert sink.flush(30) == 0

    def committed(self) -> dict[str, int]:
        """The group's committed offsets, as the coordinator has them, by ``topic/partition``."""
        asked = [ConsumerGroupTopicPartitions(self.settings.group)]
        answer = self.admin.list_consumer_group_offsets(asked)[self.settings.group].result()
        return {
            f"{found.topic.removeprefix(self.prefix)}/{found.partition}": found.offset
            for found in answer.topic_partitions
        }

    def ends(self, topic: str = TOPIC) -> dict[str, int]:
        """Where the log ends, transaction markers included."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none"})
        try:
            name = self.prefix + topic
            partitions = consumer.list_topics(name, 10).topics[name].partitions
            return {
                f"{topic}/{number}": consumer.get_watermark_offsets(
                    TopicPartition(name, number), timeout=10
                )[1]
                for number in partitions
            }
        finally:
            consumer.close()

    def _led(self) -> bool:
        """Whether the broker knows itself as the leader of what was only just made."""
        try:
            self.ends()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            return False
        return True

    def read(self, topic: str) -> list[Message]:
        """Every record in partition 0 of a topic, up to its present end."""
        end = self.ends(topic)[f"{topic}/0"]
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none"})
        place = TopicPartition(self.prefix + topic, 0, 0)
        consumer.assign([place])
        found: list[Message] = []
        try:
            while consumer.position([place])[0].offset < end:
                found.extend(consumer.consume(10_000, 0.2))
        finally:
            consumer.close()
        return found

    def members(self) -> int:
        """How many members the group has now."""
        answer = self.admin.describe_consumer_groups([self.settings.group])
        return len(answer[self.settings.group].result().members)

    async def applied(self, values: Iterable[int], seconds: float = 30) -> None:
        """Waits until exactly ``values`` have had their effect, each of them once."""
        wanted = sorted(values)
        await until(lambda: len(self.state.values()) >= len(wanted), seconds, "all applied")
        assert self.state.values() == wanted
        assert self.state.times_max() == 1

    async def settled(self, seconds: float = 20) -> None:
        """Waits until what is committed is the end of the log."""
        await until(self._led, seconds, "every partition has a leader")
        ends = self.ends()
        await until(lambda: self.committed() == ends, seconds, f"commits reach {ends}")

    @asynccontextmanager
    async def worker(self, unit: ToyUnit | None = None, **settings: Any) -> AsyncIterator[Running]:
        """A worker in this process; stopped at the end of the block."""
        running = Running(self, unit or ToyUnit(self.path), replace(self.settings, **settings))
        try:
            yield running
        finally:
            running.stop.set()
            await asyncio.wait({running.task}, timeout=15)

    @property
    def worker_log(self) -> Path:
        """What the spawned workers say; a file, since a full pipe would stop them."""
        return self.path.with_name("workers.log")

    def said(self) -> str:
        """All that the spawned workers have said so far."""
        return self.worker_log.read_text() if self.worker_log.exists() else ""

    async def spawn(self, *options: str) -> asyncio.subprocess.Process:
        """A worker in a process of its own; see ``toy_process``."""
        with self.worker_log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.streams.toy_process",
                self.bootstrap,
                self.prefix,
                str(self.path),
                *options,
                stdout=log,
                stderr=log,
            )


class Running:
    """A worker that runs in the test's own loop."""

    def __init__(self, bench: Bench, unit: ToyUnit, settings: WorkerSettings) -> None:
        self.unit = unit
        self.stop = asyncio.Event()
        self.registry = CollectorRegistry()
        self.last_words: list[str] = []
        self.task = asyncio.create_task(
            run_worker(
                settings,
                unit,
                ToyDecoder(),
                self.stop,
                registry=self.registry,
                on_stall=self.last_words.append,
            )
        )

    async def code(self, seconds: float = 30) -> int:
        """The exit code, once the worker has ended by itself or was told to."""
        return await asyncio.wait_for(asyncio.shield(self.task), seconds)
