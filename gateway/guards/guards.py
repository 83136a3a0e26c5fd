"""The guards of one gateway process, and what its requests ask of them.

- What an answer is worth: while the store's breaker is not closed, what is read is what Redis
  holds, and says so (``X-Stale``).
- Who may read in place of Redis: while Redis is away every page costs the store many reads, so
  that only ``PAGES_MAX`` requests at a time are let in.
"""

from __future__ import annotations

import asyncio

import msgspec

from gateway.guards.guard import Guard
from projections.flights import Bulkhead

PAGES_MAX = 16
"""Requests of one process that read from the store in place of Redis, at a time."""

PAGES_WAITING_MAX = 64
"""Requests that wait for that; the others are refused at once, to come again."""


class Guards(msgspec.Struct, frozen=True, kw_only=True):
    """One guard an engine.

    Attributes:
        store: Cassandra or Scylla.
        redis: Redis or Valkey.
        log: Kafka.
        pages: Lets requests read from the store in place of Redis.
    """

    store: Guard
    redis: Guard
    log: Guard
    pages: Bulkhead = msgspec.field(default_factory=lambda: Bulkhead(PAGES_MAX, PAGES_WAITING_MAX))

    @property
    def all(self) -> tuple[Guard, ...]:
        """Every guard."""
        return (self.store, self.redis, self.log)

    @property
    def serving(self) -> bool:
        """Whether anything can be read: Redis or the store answers."""
        return not (self.store.refuses and self.redis.refuses)

    async def close(self) -> None:
        """Stops their probes."""
        await asyncio.gather(*(guard.close() for guard in self.all))
