"""A worker that is far behind, for ``memory_behind``: ``BOOTSTRAP TOPIC EVENTS``.

A whole worker: slices, decoding into event structs, dead letters, metrics, watchdog. The unit is
slow at first, so that everything that can fill up does. Printed is one JSON line: resident memory
before the start and at its peak, in MiB, and the seconds taken.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from pathlib import Path

from events.slices import Slice
from streams.settings import WorkerSettings
from streams.worker import run_worker
from tests.integration.streams.toy import ToyDecoder

SLOW_SLICES = 20
SLOW_SECONDS = 0.2


def peak_mib() -> float:
    """The most this program ever had resident.

    Not ``ru_maxrss``: that survives ``exec``, so that a child of a large process (a test run, say)
    begins with the peak of its parent.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: this runs on Linux only")


class Counting:
    """A unit that counts, slowly at first."""

    name = "memory"

    def __init__(self, topic: str, events: int, stop: asyncio.Event) -> None:
        self.topics = frozenset({topic})
        self._left = events
        self._slow = SLOW_SLICES
        self._stop = stop

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def heartbeat(self) -> None: ...

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        return None

    async def apply(self, piece: Slice) -> None:
        if self._slow:
            self._slow -= 1
            await asyncio.sleep(SLOW_SECONDS)
        self._left -= len(piece.records)
        if self._left <= 0:
            self._stop.set()


async def main(bootstrap: str, topic: str, events: int) -> int:
    """Reads ``events`` records and says what it took."""
    before, started = peak_mib(), time.monotonic()
    stop = asyncio.Event()
    settings = WorkerSettings(bootstrap, group=uuid.uuid4().hex)
    code = await run_worker(settings, Counting(topic, events, stop), ToyDecoder(), stop)
    seconds = time.monotonic() - started
    print(json.dumps({"before": before, "peak": peak_mib(), "seconds": seconds}), flush=True)
    return code


if __name__ == "__main__":
    address, name, count = sys.argv[1:]
    os._exit(asyncio.run(main(address, name, int(count))))
