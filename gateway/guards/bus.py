"""Redis behind a guard: while it is away its readers are answered as by an empty one.

What they then do is what they do with a cold cache: they read the store and fill nothing. See
``gateway.guards.absent`` for why that is right, and ``gateway.guards.guards`` for what bounds it.

Keeps true: a call that fails is answered for, not repeated; what it was sent may have been
executed, which for reads, leases and fills is harmless. The deadline is the bus's own
``timeout_seconds``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.guards.absent import replies
from gateway.guards.guard import Guard
from projections.base import RetryableError
from projections.bus import Command, RedisBus, Reply


class GuardedBus(RedisBus):
    """A cluster's client as the gateway's readers use it.

    Args:
        bus: The client; whoever opened it closes it.
        guard: Watches the cluster.
        seconds_max: A call cut off after this long counts as one that was not answered.
    """

    def __init__(self, bus: RedisBus, guard: Guard, *, seconds_max: float) -> None:
        self._bus = bus
        self._guard = guard
        self._seconds_max = seconds_max

    def use_library(self, source: str) -> None:
        """Adds a function library; see :meth:`RedisBus.use_library`."""
        self._bus.use_library(source)

    def by_owner(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """Returns keys by node; see :meth:`RedisBus.by_owner`."""
        return self._bus.by_owner(keys)

    async def nodes(self) -> list[tuple[str, int]]:
        """Returns the primaries that own slots."""
        return await self._bus.nodes()

    async def close(self) -> None:
        """Closes the client."""
        await self._bus.close()

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        """Runs commands; see :meth:`RedisBus.calls`. Without Redis, as an empty one.

        Raises:
            RetryableError: Redis is away and one of the commands needs it.
        """
        if not commands:
            return []  # nothing was asked, so nothing is learnt of the engine
        guard = self._guard
        if not guard.admit():
            return replies(commands)
        began = guard.clock()
        try:
            found = await self._bus.calls(commands)
        except RetryableError as error:
            guard.failed(error, began)
            return replies(commands)
        except asyncio.CancelledError:
            if guard.clock() - began >= self._seconds_max:
                guard.failed(f"no answer within {self._seconds_max:g} s", began)
            raise
        finally:
            guard.ended()
        guard.answered(guard.clock() - began)
        return found
