"""Apicurio Registry, a Confluent-compatible schema registry whose store is a Kafka topic.

Its schemas live in the log beside the events that need them (`kafkasql`), so they share its
durability and its backup. It starts together with Kafka and waits for it.
"""

from __future__ import annotations

from typing import ClassVar

import httpx

from infra.stack.artifacts import unpacked
from infra.stack.engines.base import (
    LOOPBACK,
    PROBE_TIMEOUT_S,
    Command,
    NotReadyError,
    Place,
    java,
)

API = "/apis/ccompat/v7"

KAFKA_WAIT_S = 1800
"""How long the registry waits for Kafka. After a power cut a broker reads its open segments through
before it answers; with the default of 60 s the registry had given up by then."""


class Registry:
    """The schema registry."""

    name = "registry"
    title = "Apicurio Registry"
    ports: ClassVar[dict[str, int]] = {"client": 8081}
    archives_classes = True
    stop_grace_s = 20.0

    def __init__(self, heap_mb: int) -> None:
        self._heap_mb = heap_mb

    def command(self, place: Place, stack: dict[str, str]) -> Command:
        """Unpack the archive once; all configuration is environment."""
        (archive,) = place.artifacts
        folder = unpacked(archive, place.cache)
        runner = folder / f"{archive.name}-{archive.version}-runner.jar"
        env = {
            "QUARKUS_HTTP_HOST": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(place.ports["client"]),
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_BANNER_ENABLED": "false",
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": stack["kafka"],
        }
        # The first compiler alone: 8.6 s of CPU until ready, and not 16.4 s.
        flags = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *place.archive.flags())
        # No variable can name this: Apicurio hands on what begins so, dots and all.
        wait = f"-Dapicurio.kafkasql.admin.default.api.timeout.ms={KAFKA_WAIT_S * 1000}"
        return Command([*java(self._heap_mb, *flags, wait), "-jar", str(runner)], env=env)

    async def probe(self, address: str) -> None:
        """Ask for the list of subjects."""
        try:
            async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(f"{address}/subjects")
        except httpx.HTTPError as error:
            raise NotReadyError(f"GET /subjects failed: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise NotReadyError(f"GET /subjects answered {answer.status_code}")

    def address(self, ports: dict[str, int]) -> str:
        """Base URL of the Confluent-compatible API."""
        return f"http://{LOOPBACK}:{ports['client']}{API}"
