"""A load generator in a process of its own: raw HTTP/1.1 over keep-alive connections.

Two kinds of load:

- saturation: each connection asks again as soon as it is answered (closed loop);
- a rate: requests start at fixed times whether or not earlier ones are answered, and latency counts
  from those times, so that a server that stalls cannot hide it (open loop; "coordinated omission").

``python -m tests.benchmarks.http_load`` reads a :class:`Load` as JSON from its standard input and
writes a :class:`Answered`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import cast

import msgspec
import uvloop

WARM_UP_SECONDS = 1.0


class Load(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        host: Of the server.
        port: Of the server.
        requests: Heads of requests without the last blank line, such as ``GET / HTTP/1.1``.
        connections: Most at once.
        seconds: How long to measure.
        rate: Requests a second; 0 is as many as are answered.
    """

    host: str
    port: int
    requests: list[str]
    connections: int
    seconds: float
    rate: float = 0.0


class Answered(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        per_second: Answers a second.
        p50_ms: Median latency.
        p99_ms: 99th percentile.
        errors: Answers that were not 200.
        bytes_mean: Mean size of an answer, head included.
        total: Answers, those of the warm-up included.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    bytes_mean: float
    total: int


class _Connection(asyncio.Protocol):
    """One connection; one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._run.idle(self)

    def send(self, request: bytes, began: float) -> None:
        self._began = began
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length:", 0, head)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)])
        size = head + 4 + length
        if len(self._buffer) < size:
            return
        ok = self._buffer.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        self._run.answered(self, time.perf_counter() - self._began, size, ok=ok)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.errors += not self._run.ended


class _Run:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = [f"{head}\r\n\r\n".encode() for head in load.requests]
        self._next = 0
        self._free: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._latencies: list[float] = []
        self._bytes = 0
        self._total = 0
        self._measuring = False
        self.errors = 0
        self.ended = False

    def idle(self, connection: _Connection) -> None:
        """Gives the connection its next request, now or when one is due."""
        if self.ended:
            return
        if not self._load.rate:
            connection.send(self._take(), time.perf_counter())
        elif self._due:
            connection.send(self._take(), self._due.popleft())
        else:
            self._free.append(connection)

    def answered(self, connection: _Connection, seconds: float, size: int, *, ok: bool) -> None:
        """Counts an answer."""
        self._total += 1
        if self._measuring:
            self._latencies.append(seconds)
            self._bytes += size
            self.errors += not ok
        self.idle(connection)

    def _take(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    async def run(self) -> Answered:
        """Connects, warms up, measures."""
        loop = asyncio.get_running_loop()
        for _ in range(self._load.connections):
            await loop.create_connection(
                lambda: _Connection(self), self._load.host, self._load.port
            )
        pacing = asyncio.create_task(self._pace())
        await asyncio.sleep(WARM_UP_SECONDS)
        self._measuring = True
        began = time.perf_counter()
        await asyncio.sleep(self._load.seconds)
        self._measuring = False
        seconds = time.perf_counter() - began
        self.ended = True
        pacing.cancel()
        latencies = sorted(self._latencies)
        if not latencies:
            raise RuntimeError("nothing was answered")
        count = len(latencies)
        return Answered(
            per_second=count / seconds,
            p50_ms=latencies[count // 2] * 1000,
            p99_ms=latencies[min(count - 1, count * 99 // 100)] * 1000,
            errors=self.errors,
            bytes_mean=self._bytes / count,
            total=self._total,
        )

    async def _pace(self) -> None:
        if not self._load.rate:
            return
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            while due <= now:
                if self._free:
                    self._free.popleft().send(self._take(), due)
                else:
                    self._due.append(due)
                due += 1 / self._load.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def run_load(load: Load) -> Answered:
    """Runs a load in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.http_load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(msgspec.json.encode(load))
    if process.returncode != 0:
        raise RuntimeError(f"the load generator ended with status {process.returncode}")
    return msgspec.json.decode(output, type=Answered)


def main() -> None:
    """Runs what standard input says."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_Run(load).run())))


if __name__ == "__main__":
    main()
