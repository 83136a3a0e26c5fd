"""A client of the Redis in memory, in place of :class:`projections.bus.RedisBus`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase

import hiredis

from projections.bus import Command, RedisBus, Reply
from tests.memory.line import Line
from tests.memory.redis import Redis


class MemoryBus(RedisBus):
    """What one process sends to the Redis in memory.

    Args:
        redis: The server.
        line: What the process is connected by.
    """

    def __init__(self, redis: Redis, line: Line | None = None) -> None:
        super().__init__("redis://memory")
        self._redis = redis
        self._line = line or Line()

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        if not commands:
            return []
        await self._line.pause()
        replies = [self._answer(one) for one in commands[: self._line.admit(len(commands))]]
        self._line.check()
        await self._line.pause()
        return replies

    def by_owner(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        return [list(keys)]

    async def scan(self, pattern: str, count: int = 1_000) -> AsyncIterator[list[bytes]]:
        await self._line.pause()
        yield [key for key in self._redis.values if fnmatchcase(key.decode(), pattern)]

    def _answer(self, command: Command) -> Reply:
        reply = self._redis.run(command)
        if isinstance(reply, hiredis.ReplyError) and "Function not found" in str(reply):
            for source in self._libraries:
                self._redis.run(("FUNCTION", "LOAD", "REPLACE", source))
            reply = self._redis.run(command)
        return reply
