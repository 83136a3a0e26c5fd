"""The state of a local stack: `stack.json` and the lock beside it, in the data folder.

The launcher alone writes; everybody else reads. Keeps true: the file is replaced whole, never
seen half written; while a launcher lives it holds the lock, so a second one cannot touch the
data; the addresses count only while that launcher lives (`alive`). Ports stay in the file when
the stack is down, so that the next start takes the same ones.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from infra.stack.process import Identity

FILE_NAME = "stack.json"
LOCK_NAME = "lock"

Phase = Literal["waiting", "starting", "ready", "dead", "stopped", "external"]


class AlreadyRunningError(Exception):
    """Another launcher holds the data folder; the message says which."""


class EngineState(msgspec.Struct, kw_only=True):
    """One engine as the launcher sees it."""

    phase: Phase = "waiting"
    address: str = ""
    ports: dict[str, int] = {}
    log: str = ""
    pid: int | None = None
    started: int | None = None
    ready_after_s: float | None = None
    restarts: int = 0
    problem: str = ""

    def identity(self) -> Identity | None:
        """The engine's process, if it was started."""
        if self.pid is None or self.started is None:
            return None
        return Identity(self.pid, self.started)


class StackState(msgspec.Struct, kw_only=True):
    """All of `stack.json`."""

    pid: int = 0
    started: int = 0
    since: str = ""
    ready: bool = False
    failure: str = ""
    addresses: dict[str, str] = {}
    engines: dict[str, EngineState] = {}

    @property
    def launcher(self) -> Identity:
        """The launcher's process."""
        return Identity(self.pid, self.started)

    def alive(self) -> bool:
        """Whether the launcher that wrote this still runs."""
        return self.launcher.alive()


def read(data_dir: Path) -> StackState | None:
    """The state of the stack in `data_dir`; None when there never was one."""
    try:
        return msgspec.json.decode((data_dir / FILE_NAME).read_bytes(), type=StackState)
    except FileNotFoundError:
        return None


def write(data_dir: Path, state: StackState) -> None:
    """Replace the state as a whole."""
    partial = data_dir / f"{FILE_NAME}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    partial.replace(data_dir / FILE_NAME)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder; raises AlreadyRunningError when another launcher does.

    The kernel lets go of the lock when the holder dies, however it dies.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = read(data_dir)
            who = f" (pid {state.pid})" if state and state.alive() else ""
            raise AlreadyRunningError(
                f"a stack already runs in {data_dir}{who}; see `murmur status`, or stop it with "
                "`murmur down`"
            ) from None
        yield
    finally:
        os.close(descriptor)
