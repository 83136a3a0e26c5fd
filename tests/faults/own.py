"""A stack of the fault tests' own, whose engines may be killed, filled up and emptied.

Where the kernel lets an ordinary user make a mount (a user namespace), the data of each engine lies
on a small file system in memory, so that a disk can be full; elsewhere it lies in a plain folder,
and `Own.small` is False.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.settings import Settings, load
from infra.stack import process, state

READY_S_MAX = 180.0
STOP_S_MAX = 60.0
BACK_S_MAX = 240.0
"""For an engine to start again, of a machine that has much else to do; a JVM takes 10 s on two
quiet cores. It bounds no recovery: that begins when the engine is back."""
POLL_S = 0.05
DISK_MB = {"kafka": 320, "valkey": 160, "cassandra": 640}
"""Of each engine's file system; memory is used as it is written to."""
ENV = {
    "MURMUR_STACK_USUAL_PORTS": "false",
    "MURMUR_KAFKA_HEAP_MB": "320",
    "MURMUR_CASSANDRA_HEAP_MB": "640",
    "MURMUR_REGISTRY_HEAP_MB": "256",
}


@dataclass
class Own:
    """A running stack and what can be done to it."""

    settings: Settings
    launcher: asyncio.subprocess.Process
    small: bool

    def engine(self, name: str) -> state.EngineState:
        """An engine as the launcher sees it."""
        current = state.read(self.settings.data_dir)
        assert current is not None
        return current.engines[name]

    def files(self, name: str) -> Path:
        """Where this process finds an engine's data."""
        data = self.settings.data_dir / "data" / name
        return Path(f"/proc/{self.launcher.pid}/root{data}") if self.small else data

    async def kill(self, name: str) -> int:
        """SIGKILL an engine; returns how often it was restarted before."""
        before = self.engine(name)
        identity = before.identity()
        assert identity is not None
        identity.signal(signal.SIGKILL)
        assert await identity.gone(10.0)
        return before.restarts

    async def until_back(self, name: str, restarts: int) -> None:
        """Waits until the launcher has it ready again, after more than so many restarts."""
        deadline = time.monotonic() + BACK_S_MAX
        while (now := self.engine(name)).phase != "ready" or now.restarts <= restarts:
            assert time.monotonic() < deadline, f"{name} does not come back: {now.problem}"
            assert self.launcher.returncode is None, "the stack gave up"
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def own_stack(folder: Path) -> AsyncIterator[Own]:
    """Starts it; stopped at the end."""
    small = can_mount(folder / "tried")
    # The guard comes last: entering a namespace of users takes the death signal away.
    up = [sys.executable, "-m", "infra.cli.main", "up"]
    guarded = [sys.executable, "-IS", str(process.GUARD), str(os.getpid()), *up]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")}
    with (folder / "launcher.log").open("wb") as log:
        launcher = await asyncio.create_subprocess_exec(
            *(mounts(folder) if small else ()),
            *guarded,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**kept, **ENV, "MURMUR_DATA_DIR": str(folder)},
            start_new_session=True,
        )
    try:
        await _until_ready(launcher, folder)
        yield Own(load(environ={}, data_dir=folder).settings, launcher, small)
    finally:
        await process.stop(launcher, STOP_S_MAX)


async def _until_ready(launcher: asyncio.subprocess.Process, folder: Path) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while (current := state.read(folder)) is None or not current.ready:
        late = time.monotonic() > deadline
        if late or launcher.returncode is not None:
            words = "\n".join(process.last_lines(folder / "launcher.log", 30))
            raise RuntimeError(f"the stack did not start:\n{words}")
        await asyncio.sleep(POLL_S)


def mounts(folder: Path) -> list[str]:
    """A command that runs what follows it with a file system of its own under each engine."""
    made = "; ".join(
        f"mkdir -p {folder}/data/{name} && "
        f"mount -t tmpfs -o size={megabytes}m murmur-{name} {folder}/data/{name} || exit 1"
        for name, megabytes in DISK_MB.items()
    )
    return [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'{made}; exec "$@"',
        "sh",
    ]


def can_mount(folder: Path) -> bool:
    """Whether such a command works here."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        [*mounts(folder / "tried"), "true"], capture_output=True, timeout=30, check=False
    )
    return tried.returncode == 0
