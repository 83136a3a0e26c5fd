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
        self.seen: list[list[bytes]] = []
        self.port = 0

    async def start(self) -> FakeNode:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                self.seen.append(command)
                answer = self._answer(command)
                if answer is None:
                    writer.close()
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
