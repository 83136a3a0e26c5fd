"""One corner of the log per test; and a broker of one's own for tests that hurt it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack.process import GUARD
from tests.integration.streams.kit import Bench

START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 30.0


@pytest.fixture
def bench(stack: Settings, tmp_path: Path) -> Bench:
    """Fresh topics, group and state on the shared stack."""
    return Bench(stack.kafka_bootstrap, tmp_path)


class OwnBroker:
    """A Kafka that nobody else uses; its launcher starts it anew when it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self) -> dict[str, object]:
        """The engine's entry in the launcher's state file; empty before there is one."""
        path = self.folder / "stack.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        entry = found.get("engines", {}).get("kafka", {})
        return entry if isinstance(entry, dict) else {}

    @property
    def pid(self) -> int:
        """The broker's process."""
        return int(str(self.state()["pid"]))

    @property
    def ready(self) -> bool:
        """Whether it answers, as far as its launcher knows."""
        return self.state().get("phase") == "ready"

    @property
    def supervised(self) -> bool:
        """Whether its launcher has finished starting, and from now on restarts what dies."""
        path = self.folder / "stack.json"
        return path.exists() and bool(json.loads(path.read_text()).get("ready"))

    @property
    def bootstrap(self) -> str:
        """Its ``host:port``."""
        return str(self.state()["address"])


@pytest.fixture(scope="module")
def own_broker(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    """A broker of this module's own; the other engines are the session's, and so not started."""
    folder = tmp_path_factory.mktemp("broker")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")}
    environ |= {
        "MURMUR_DATA_DIR": str(folder),
        "MURMUR_STACK_USUAL_PORTS": "false",
        "MURMUR_REDIS_URL": stack.redis_url,
        "MURMUR_CASSANDRA_HOSTS": ",".join(stack.cassandra_hosts),
        "MURMUR_REGISTRY_URL": stack.registry_url,
    }
    command = [sys.executable, "-IS", str(GUARD), str(os.getpid()), sys.executable]
    with (folder / "launcher.log").open("wb") as log:
        launcher = subprocess.Popen(
            [*command, "-m", "infra.cli.main", "up"], stdout=log, stderr=log, env=environ
        )
    try:
        broker = OwnBroker(folder)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not broker.supervised:
            if launcher.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "launcher.log").read_text()[-2000:])
            time.sleep(0.1)
        yield broker
    finally:
        launcher.terminate()
        try:
            launcher.wait(STOP_SECONDS_MAX)
        finally:
            launcher.kill()


@pytest.fixture
def own_bench(own_broker: OwnBroker, tmp_path: Path) -> Bench:
    """Fresh topics, group and state on the module's own broker."""
    return Bench(own_broker.bootstrap, tmp_path)


class Processes:
    """Worker processes, ended at the end of the test whatever happened."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.all: list[asyncio.subprocess.Process] = []

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        process = await self.bench.spawn(*options)
        self.all.append(process)
        return process

    async def end(self) -> None:
        for process in self.all:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def processes(request: pytest.FixtureRequest) -> AsyncIterator[Processes]:
    name = "own_bench" if "own_bench" in request.fixturenames else "bench"
    started = Processes(request.getfixturevalue(name))
    yield started
    await started.end()
