"""Nodes of a Redis cluster that answer what a test tells them to, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import hiredis

Answer = bytes | None
"""RESP bytes; None closes the connection instead."""


class FakeNode:
    """Records every command; ``answer`` decides what is said to it."""

    def __init__(self, answer: Callable[[list[bytes]], Answer]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.seen: list[list[bytes]] = []
        self.port = 0

    async def start(self) -> FakeNode:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stops listening and ends every connection.

        One that the loop had to cancel would be logged as an exception in a callback (Python 3.11).
        """
        if self._server is not None:
            self._server.close()
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await self._serve(reader, writer)
        except ConnectionResetError:
            pass  # the client went first
        finally:
            writer.close()
            del self._connections[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                self.seen.append(command)
                answer = self._answer(command)
                if answer is None:
                    return
                writer.write(answer)


def slots(*ranges: tuple[int, int, int]) -> bytes:
    """A CLUSTER SLOTS reply from (first, last, port)."""
    out = b"*%d\r\n" % len(ranges)
    for first, last, port in ranges:
        out += b"*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % (first, last, port)
    return out


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)
