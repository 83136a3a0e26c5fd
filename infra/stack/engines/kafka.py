"""Apache Kafka, one KRaft node that is broker and controller.

Keeps true: topics exist only because `topics.yaml` says so (no auto-creation); every record's
timestamp is the broker's (LogAppendTime), so lateness can be told from it; nothing is deleted by
age (source topics are the database). Durability: a killed broker loses nothing that it
acknowledged; a machine that loses power may (no fsync per write, as in production, where two
other replicas hold it).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from base64 import urlsafe_b64encode
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.stack.engines.base import (
    LOOPBACK,
    PROBE_TIMEOUT_S,
    Command,
    NotReadyError,
    Place,
    java,
)

NODE_ID = 1
PROPERTIES = """\
process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={node_id}@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
log.retention.ms=-1
log.retention.bytes=-1
message.max.bytes=1048588

# One node: every internal topic has one replica, and few partitions to load at start.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
min.insync.replicas=1

# A lone consumer gets its partitions at once; tests may use short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# Two cores and a small heap. The index of a segment is preallocated: keep it small.
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=268435456
log.index.size.max.bytes=2097152
"""
LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d{ISO8601} %-5p %c{1}: %m%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        ref: out
    Logger:
      - name: kafka.server.KafkaRaftServer
        level: INFO
      - name: org.apache.kafka.storage.internals.log.LogCleaner
        level: WARN
"""


class Kafka:
    """The log."""

    name = "kafka"
    title = "Apache Kafka"
    ports: ClassVar[dict[str, int]] = {"client": 9092, "controller": 9093}
    archives_classes = True
    stop_grace_s = 20.0

    def __init__(self, heap_mb: int) -> None:
        self._heap_mb = heap_mb

    def command(self, place: Place, stack: dict[str, str]) -> Command:
        """Write server.properties; format the storage folder when it is new."""
        properties = place.config / "server.properties"
        properties.write_text(
            PROPERTIES.format(
                node_id=NODE_ID,
                host=LOOPBACK,
                port=place.ports["client"],
                controller_port=place.ports["controller"],
                data=place.data,
            )
        )
        log4j = place.config / "log4j2.yaml"
        log4j.write_text(LOG4J)
        jvm = java(
            self._heap_mb,
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={log4j}",
            "-cp",
            place.class_path(),
        )
        setup: tuple[list[str], ...] = ()
        if not (place.data / "meta.properties").exists():
            cluster_id = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
            setup = (
                [
                    *jvm,
                    *place.archive.base_flags(),
                    "-XX:TieredStopAtLevel=1",
                    "kafka.tools.StorageTool",
                    *("format", "--ignore-formatted", "-t", cluster_id, "-c", str(properties)),
                ],
            )
        argv = [*jvm, *place.archive.flags(), "kafka.Kafka", str(properties)]
        return Command(argv, setup=setup)

    async def probe(self, address: str) -> None:
        """Ask for the cluster's metadata and a broker in it."""
        await asyncio.to_thread(self._probe, address)

    def _probe(self, address: str) -> None:
        # Refused connections are what we wait out; librdkafka would print each to stderr.
        client = AdminClient({"bootstrap.servers": address}, logger=_silent_logger())
        try:
            metadata = client.list_topics(timeout=PROBE_TIMEOUT_S)
        except KafkaException as error:
            raise NotReadyError(f"metadata request failed: {error}") from error
        if not metadata.brokers:
            raise NotReadyError("metadata names no broker")

    def address(self, ports: dict[str, int]) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{ports['client']}"


def _silent_logger() -> logging.Logger:
    logger = logging.getLogger("murmuration.stack.kafka-probe")
    logger.disabled = True
    return logger
