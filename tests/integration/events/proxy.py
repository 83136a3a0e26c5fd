"""A TCP proxy in front of one Kafka broker, whose answers can be held back.

Kafka tells clients where its brokers are; in those answers the broker's port is replaced by the
proxy's, so that clients stay on this side of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Forwards bytes; while ``deaf``, those of the broker are dropped."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._links: set[asyncio.Task[None]] = set()
        self.deaf = False
        self.bootstrap = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        mine = server.sockets[0].getsockname()[1]
        self.bootstrap = f"127.0.0.1:{mine}"
        host = self._host.encode()
        self._told = host + self._port.to_bytes(4), host + int(mine).to_bytes(4)
        return server

    def drop_links(self) -> None:
        for link in self._links:
            link.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, broker_writer))
                both.create_task(self._pump(broker_reader, writer, answers=True))
        except* (ConnectionError, EOFError):
            pass  # either side went away: so does the link
        finally:
            writer.close()
            broker_writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        while data := await source.read(65_536):
            if answers and self.deaf:
                continue
            sink.write(data.replace(*self._told) if answers else data)
            await sink.drain()
        raise EOFError


@asynccontextmanager
async def proxied(address: str) -> AsyncIterator[Proxy]:
    host, _, port = address.rpartition(":")
    proxy = Proxy(host, int(port))
    server = await proxy.start()
    try:
        yield proxy
    finally:
        proxy.drop_links()
        server.close()
