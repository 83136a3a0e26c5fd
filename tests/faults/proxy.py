"""A loopback TCP proxy between one process and one engine: slow, silent or cut when a test says so.

Engines tell their clients where they are (Kafka in its metadata, a Redis cluster in CLUSTER SLOTS),
and clients go there next time. In what the engine answers its own address is replaced by the
proxy's, so that they stay on this side. A Cassandra client with one contact point keeps to it.

What a fault does:

- ``cut()``: connections are reset, and new ones too, as of an engine that was killed;
- ``silence()``: connections stay, nothing goes through in either direction, as of a network that
  swallows packets. What is held back goes on at ``heal()``, as TCP would send it again;
- ``deafen()``: the same of what the engine answers; what it is sent arrives;
- ``slow(seconds)``: every byte comes that much later in each direction, and none is lost.

It has a thread and a loop of its own, so that a test that is busy is not a slow engine.

Bounded by: what a silent connection is sent piles up to ``HELD_BYTES_MAX``; then it is not read.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CHUNK_BYTES = 65_536
HELD_BYTES_MAX = 64 * CHUNK_BYTES

Rewrite = Callable[[bytes], bytes]


class Proxy:
    """Forwards one engine's port.

    Args:
        address: The engine's ``host:port``.
        announced: Returns how the engine writes a port down in what it answers.
    """

    def __init__(self, address: str, announced: Callable[[int], bytes] | None = None) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._announced = announced
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._asking, self._answering = asyncio.Event(), asyncio.Event()
        self._asking.set()
        self._answering.set()
        self._cut = False
        self._seconds = 0.0
        self.accepted = 0
        self.port = 0

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listens."""
        self._thread.start()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._listen(), self._loop))

    async def stop(self) -> None:
        """Stops listening, and resets what is connected."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        self._reset()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Resets connections, those that come included."""
        self._cut = True
        self.reset()

    def silence(self) -> None:
        """Lets nothing through."""
        self._on_loop(self._asking.clear)
        self._on_loop(self._answering.clear)

    def deafen(self) -> None:
        """Lets no answer through."""
        self._on_loop(self._answering.clear)

    def slow(self, seconds: float) -> None:
        """Delays what goes through."""
        self._seconds = seconds

    def heal(self) -> None:
        """Ends every fault."""
        self._cut = False
        self._seconds = 0.0
        self._on_loop(self._asking.set)
        self._on_loop(self._answering.set)

    def reset(self) -> None:
        """Resets the connections that there are."""
        self._on_loop(self._reset)

    def _reset(self) -> None:
        for link in self._links:
            link.cancel()

    def _on_loop(self, do: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(do)

    def _rewriting(self) -> Rewrite:
        if self._announced is None:
            return _as_it_is
        theirs, ours = self._announced(self._port), self._announced(self.port)
        return lambda data: data.replace(theirs, ours)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._cut:
            writer.transport.abort()
            return
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            engine_reader, engine_writer = await asyncio.open_connection(self._host, self._port)
            writers.append(engine_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, engine_writer, self._asking, _as_it_is))
                both.create_task(
                    self._carry(engine_reader, writer, self._answering, self._rewriting())
                )
        except* (ConnectionError, EOFError):
            pass  # either side went away: so does the link
        finally:
            for one in writers:
                one.transport.abort()

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        gate: asyncio.Event,
        rewrite: Rewrite,
    ) -> None:
        """Carries one direction; each chunk is due a while after it came."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_BYTES_MAX // CHUNK_BYTES)
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, data = await held.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await gate.wait()
                sink.write(rewrite(data))
                await sink.drain()

        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(deliver())
            while data := await source.read(CHUNK_BYTES):
                await held.put((loop.time() + self._seconds, data))
            delivering.cancel()
        raise EOFError


def _as_it_is(data: bytes) -> bytes:
    return data


def kafka_port(port: int) -> bytes:
    """How a broker on loopback is written in Kafka's metadata."""
    return b"127.0.0.1" + port.to_bytes(4, "big")


def redis_port(port: int) -> bytes:
    """How a node on loopback is written in CLUSTER SLOTS."""
    return b"127.0.0.1\r\n:%d\r\n" % port


@asynccontextmanager
async def proxied(
    address: str, announced: Callable[[int], bytes] | None = None
) -> AsyncIterator[Proxy]:
    """A proxy in front of an engine; gone at the end."""
    proxy = Proxy(address, announced)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
