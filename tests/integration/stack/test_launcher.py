"""What the launcher promises, with a real Valkey of its own; the other engines are the session's.

One engine is enough for every promise that is about processes, and starts in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import state
from infra.stack.engines.base import NotReadyError
from infra.stack.engines.valkey import Valkey
from infra.stack.process import Identity

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

SECONDS_MAX = 120.0


class Stack:
    """A launcher in a folder of its own, driven by the command line."""

    def __init__(self, folder: Path, external: Settings) -> None:
        self.folder = folder
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")},
            "MURMUR_DATA_DIR": str(folder),
            "MURMUR_STACK_USUAL_PORTS": "false",
            "MURMUR_KAFKA_BOOTSTRAP": external.kafka_bootstrap,
            "MURMUR_CASSANDRA_HOSTS": ",".join(external.cassandra_hosts),
            "MURMUR_REGISTRY_URL": external.registry_url,
        }

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A `murmur` command, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "infra.cli.main", *arguments],
            env={**self._env, **env},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    @contextlib.contextmanager
    def up(self, **env: str) -> Iterator[subprocess.Popen[str]]:
        """`murmur up` in the foreground, ready; killed at the end if it still runs."""
        launcher = self.begin(**env)
        try:
            until(lambda: self.ready(launcher), f"{self.folder} is ready")
            yield launcher
        finally:
            launcher.kill()
            launcher.wait()
            if launcher.stderr is not None:
                launcher.stderr.close()

    def begin(self, **env: str) -> subprocess.Popen[str]:
        """`murmur up` in the foreground, just started."""
        return subprocess.Popen(
            [sys.executable, "-m", "infra.cli.main", "up"],
            env={**self._env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self, launcher: subprocess.Popen[str]) -> bool:
        """Whether it is; fails the test when it has ended instead."""
        if launcher.poll() is not None:
            pytest.fail(f"the launcher ended: {launcher.communicate()[1]}")
        current = state.read(self.folder)
        return current is not None and current.pid == launcher.pid and current.ready

    @property
    def state(self) -> state.StackState:
        current = state.read(self.folder)
        if current is None:
            pytest.fail("there is no state file")
        return current

    @property
    def valkey(self) -> Identity:
        identity = self.state.engines["valkey"].identity()
        if identity is None:
            pytest.fail("no Valkey was started")
        return identity


def until(holds: Callable[[], bool], what: str, seconds_max: float = SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds_max
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds_max} s: {what}")
        time.sleep(0.05)


@pytest.fixture
def own(stack: Settings, tmp_path: Path) -> Stack:
    return Stack(tmp_path / "stack", stack)


def test_a_second_launcher_is_refused_and_down_ends_the_first(own: Stack) -> None:
    first = own.run("up", "--detach", "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert told["ready"]
    assert told["addresses"]["valkey"] == own.state.engines["valkey"].address
    valkey = own.valkey

    for arguments in (("up",), ("up", "--detach")):
        second = own.run(*arguments)
        assert second.returncode == 4
        assert f"pid {told['pid']}" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
    assert valkey.alive()

    logs = own.run("logs", "valkey", "--json", "--lines", "500")
    assert any("Ready to accept" in json.loads(line)["line"] for line in logs.stdout.splitlines())

    assert json.loads(own.run("down", "--json").stdout)["stopped"] is True
    assert not valkey.alive()
    assert not Identity(told["pid"], own.state.started).alive()
    assert json.loads(own.run("down", "--json").stdout)["stopped"] is False
    asked = own.run("status", "--json", MURMUR_REDIS_URL=told["addresses"]["valkey"])
    assert asked.returncode == 3
    assert "valkey: does not answer" in json.loads(asked.stdout)["wrong"][0]


def test_kill_9_leaves_nothing_and_the_next_start_knows_the_corpse(own: Stack) -> None:
    with own.up() as launcher:
        valkey, port = own.valkey, own.state.engines["valkey"].ports["client"]
        launcher.kill()
        launcher.wait()
        until(lambda: not valkey.alive(), "Valkey died with its launcher", 5.0)
    assert own.state.ready  # what the killed one wrote last
    assert not own.state.alive()

    # The pid was given to somebody else since: neither taken for a launcher, nor touched.
    stale = own.state
    stale.pid = os.getpid()
    stale.engines["valkey"].pid = os.getpid()
    state.write(own.folder, stale)
    assert not own.state.alive()
    with own.up() as launcher:
        assert own.state.engines["valkey"].ports["client"] == port
        launcher.send_signal(signal.SIGTERM)
        valkey = own.valkey
        launcher.wait(SECONDS_MAX)
        assert launcher.returncode == 0
        assert not valkey.alive()


async def test_an_engine_that_dies_is_reported_and_comes_back(own: Stack) -> None:
    with own.up() as launcher:
        before = own.valkey
        address = own.state.engines["valkey"].address
        before.signal(signal.SIGKILL)
        until(lambda: own.state.engines["valkey"].restarts == 1, "the death is counted", 5.0)
        until(
            lambda: own.state.engines["valkey"].phase == "ready" and own.valkey != before,
            "Valkey is back",
        )
        assert own.state.engines["valkey"].address == address
        await Valkey(64).probe(address)
        launcher.send_signal(signal.SIGINT)
        told = (await asyncio.to_thread(launcher.communicate))[1]
        assert "valkey was killed" in told
        assert "Ready to accept connections" in told  # of its last lines
        with pytest.raises(NotReadyError):
            await Valkey(64).probe(address)


def test_an_engine_that_cannot_start_fails_the_start_with_its_reason(own: Stack) -> None:
    in_the_way = own.folder / "data" / "valkey" / "appendonlydir"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where Valkey wants its folder")
    failed = own.run("up", "--detach")
    assert failed.returncode == 1
    assert "valkey ended with exit status 1" in failed.stderr
    assert "append-only" in failed.stderr.splitlines()[-1]
    assert not own.state.alive()
    assert "valkey" in own.state.failure


def test_ports_that_are_taken_are_left_to_their_owner(own: Stack) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else's is as good
            taken.bind(("127.0.0.1", Valkey.ports["client"]))
            taken.listen()
        with own.up(MURMUR_STACK_USUAL_PORTS="true"):
            assert own.state.engines["valkey"].ports["client"] != Valkey.ports["client"]


def test_interrupted_while_it_starts(own: Stack) -> None:
    launcher = own.begin()
    until((own.folder / "logs" / "valkey.log").exists, "Valkey is being started")
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=SECONDS_MAX)
    started = own.state.engines["valkey"].identity()
    assert started is None or not started.alive()
    assert own.run("up", "--help").returncode == 0
    assert not own.state.ready
