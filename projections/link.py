"""One connection to one Redis node: batches of commands out, their replies in, in the same order.

Keeps true: what is written in one turn of the loop is one system call; a connection that breaks, or
is silent for longer than its timeout, fails every batch that waits on it.

Bounded by: the timeout of the oldest batch; a node that does not read holds up whoever would write
more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis


class _Batch:
    """Replies still expected for commands that were written together."""

    __slots__ = ("future", "missing", "replies", "sent_at")

    def __init__(self, size: int, future: asyncio.Future[list[Any]], sent_at: float) -> None:
        self.missing = size
        self.replies: list[Any] = []
        self.future = future
        self.sent_at = sent_at


class Link(asyncio.Protocol):
    """One connection to one node; batches are answered in the order in which they were written.

    So the oldest batch tells of all: one timer for it bounds every wait, where a timeout around
    each would cost as much as a batch itself.

    Args:
        timeout_seconds: Longest that a batch may wait for its replies.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[_Batch] = deque()
        self._outgoing: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection."""
        # uvloop's transports are asyncio.Transport by behaviour, not by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """Holds back whoever would send: the node does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Lets them send again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Hands replies to the batches that wait for them, the oldest first."""
        self._reader.feed(data)
        waiting = self._waiting
        while waiting:
            batch = waiting[0]
            while batch.missing:
                reply = self._reader.gets()
                if reply is False:
                    return
                batch.replies.append(reply)
                batch.missing -= 1
            waiting.popleft()
            if not batch.future.done():
                batch.future.set_result(batch.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails what still waits."""
        self.abort(exc or ConnectionResetError("the server closed the connection"))

    def abort(self, reason: Exception) -> None:
        """Closes the connection; every batch that still waits fails with ``reason``."""
        if self.closed is None:
            self.closed = reason
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(reason)

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """Writes packed commands together and returns their replies, errors as values.

        Raises:
            TimeoutError: the oldest batch waited for the link's timeout; the link is closed.
            OSError: the link was closed.
        """
        if not self._writable.is_set():
            await self._writable.wait()
        if self.closed is not None or self._transport is None:
            raise ConnectionResetError(str(self.closed))
        loop = self._loop
        batch = _Batch(len(commands), loop.create_future(), loop.time())
        self._waiting.append(batch)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._watch)
        if not self._outgoing:
            loop.call_soon(self._flush)
        self._outgoing += commands
        return await batch.future

    def _flush(self) -> None:
        """Writes what was sent in this turn of the loop together: a system call costs most."""
        if self.closed is None and self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _watch(self) -> None:
        """Closes a link whose oldest batch is overdue; otherwise looks again when it would be."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0].sent_at + self._timeout_seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._watch)
        else:
            self.abort(TimeoutError("no reply in time"))
