"""Processes that end with us: starting them, telling them apart, stopping them.

A process is known by its pid *and* its start time: a pid alone is reused, and a stale one must
neither count as running nor be killed. Linux only (`/proc`, parent-death signal).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Identity:
    """A process for good: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this pid now; None when there is none, or only its corpse."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name is in parentheses and may hold anything, so count from the last one.
        fields = stat.rpartition(")")[2].split()
        state, started = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid, started)

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return Identity.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to no one else; a process that is gone gets none."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def resident_mb(self) -> int | None:
        """Memory that it holds, MiB; None when it is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

    async def gone(self, timeout_s: float) -> bool:
        """Wait until it has ended; False when it still runs after `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.alive():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True


async def start(
    argv: Sequence[str],
    output: IO[bytes] | int | None,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> asyncio.subprocess.Process:
    """Start a process that dies with this one, in a session of its own.

    Its own session, so that Ctrl-C in the terminal reaches only us and we stop it in order. To be
    called from the main thread: the death signal is bound to the thread that starts it.
    """
    guarded = [sys.executable, "-IS", str(GUARD), str(os.getpid()), *argv]
    return await asyncio.create_subprocess_exec(
        *guarded,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **(env or {})},
        cwd=folder,
        start_new_session=True,
    )


async def stop(process: asyncio.subprocess.Process, grace_s: float) -> bool:
    """SIGTERM, and SIGKILL after `grace_s` seconds; True when it ended by itself."""
    if process.returncode is not None:
        return True
    process.terminate()
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return True


def exit_words(returncode: int) -> str:
    """Why a process ended, in words."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; out of memory, perhaps)"
    return f"was ended by {name}"


def last_lines(path: Path, count: int, start_at: int = 0) -> list[str]:
    """The last `count` lines of a log from byte `start_at` on; reads at most 64 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start_at, size - 65536))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:]


def telling_line(lines: Sequence[str]) -> str:
    """Of the last lines of a log the one that says most: a cause, an error, or just the last."""
    words = [line.strip() for line in lines if line.strip()]
    # The frames of a Java stack trace say where, and never what.
    words = [line for line in words if not line.startswith(("at ", "... "))]
    telling = [w for w in words if w.startswith("Caused by:") or "ERROR" in w or "FATAL" in w]
    return (telling or words or ["it logged nothing"])[-1]
