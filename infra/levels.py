"""What is said of the level of degrading to all processes of an installation: one small partition.

One row is the operator's order (``murmur degrade``), the others are what gateway processes measured
(``gateway.levels``), which lapse unless they are said again. Every gateway and worker process looks
about once a second; while the store is away the last known order holds, until it ends by itself.

The rows belong to no generation of the read models: their scope are the topics of a prefix.

Bounded by: a row a gateway process, one query a second and process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from events.cassandra import Statements
from events.errors import StoreUnavailable
from gateway.levels.level import Claim, Level, Order, Said
from infra.compose import Engines
from projections.base import RetryableError, Unit
from projections.timelines.unit import Timelines

LOOK_SECONDS = 1.0
CLAIM_SECONDS = 5.0
"""How often a process says again what it measured."""

CLAIM_LAPSES_SECONDS = 15
"""A process that has ended, or is cut off, is not heard any more after this."""

_OPERATOR = "operator"
_TABLE = """
CREATE TABLE IF NOT EXISTS {keyspace}.degradation (
    scope text, source text, level int, until_ms bigint, since_ms bigint, actor text, reason text,
    PRIMARY KEY (scope, source)
)"""
_READ = """
SELECT source, level, until_ms, since_ms, actor, reason FROM {keyspace}.degradation
WHERE scope = ?"""
_WRITE = """
INSERT INTO {keyspace}.degradation (scope, source, level, until_ms, since_ms, actor, reason)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TTL ?"""
_FORGET = "DELETE FROM {keyspace}.degradation WHERE scope = ? AND source = ?"

log = logging.getLogger(__name__)


def now_ms() -> float:
    """Milliseconds since 1970."""
    return time.time() * 1000


class Orders:
    """What is said to the processes of one scope.

    Args:
        statements: Runs statements; every method may raise its ``StoreUnavailable``.
        scope: The prefix of the topics.
    """

    def __init__(self, statements: Statements, scope: str) -> None:
        self._statements = statements
        self._scope = f"{scope}*"  # "" is the most common prefix, and no key of a partition

    async def create(self) -> None:
        """Makes the table where it is missing."""
        await self._statements.create(_TABLE)

    async def said(self) -> Said:
        """Returns what is said."""
        order: Order | None = None
        claims: list[Claim] = []
        for row in await self._statements.run(_READ, (self._scope,)):
            level, reason = Level(row["level"]), row["reason"] or ""
            if row["source"] == _OPERATOR:
                order = Order(level, row["until_ms"], row["since_ms"], row["actor"] or "", reason)
            else:
                claims.append(Claim(row["source"], level, reason))
        return Said(order, tuple(claims))

    async def order(self, order: Order) -> None:
        """Gives an order; it replaces the one before."""
        ttl = math.ceil((order.until_ms - now_ms()) / 1000) if order.until_ms else 0
        values = (order.level, order.until_ms, order.since_ms, order.actor, order.reason)
        await self._statements.run(
            _WRITE, (self._scope, _OPERATOR, *values, max(1, ttl) if order.until_ms else 0)
        )

    async def withdraw(self) -> None:
        """Takes the order back: levels are measured again."""
        await self._statements.run(_FORGET, (self._scope, _OPERATOR))

    async def claim(self, claim: Claim) -> None:
        """Says what a process measured."""
        values = (claim.level, 0, int(now_ms()), "", claim.reason)
        await self._statements.run(
            _WRITE, (self._scope, claim.process, *values, CLAIM_LAPSES_SECONDS)
        )

    async def unclaim(self, process: str) -> None:
        """Says that a process measures nothing that matters."""
        await self._statements.run(_FORGET, (self._scope, process))


def orders_of(on: Engines, statements: Statements | None = None) -> Orders:
    """Returns what is said to the processes of these settings."""
    statements = statements or Statements(on.session, on.settings.keyspace)
    return Orders(statements, on.settings.topic_prefix)


async def heard(orders: Orders, said: Callable[[Said], Awaitable[None]]) -> None:
    """Tells what is said, again and again, until cancelled; the last known while the store is
    away."""
    last = Said()
    was_away = False
    while True:
        try:
            last, was_away = await orders.said(), False
        except StoreUnavailable as error:
            if not was_away:
                log.warning("the level of degrading is not known anew: %s", error)
            was_away = True
        await said(last)
        await asyncio.sleep(LOOK_SECONDS)


def told_why(task: asyncio.Task[None]) -> None:
    """Says why a task of these ended; its process goes on at the level that it has."""
    if not task.cancelled() and (error := task.exception()):
        log.error("the level is not kept any more, restart this process: %r", error)


LEVEL = Gauge("murmur_worker_degradation_level", "Level of degrading that this worker was told.")


@asynccontextmanager
async def obeyed(on: Engines, unit: Unit) -> AsyncIterator[None]:
    """Has a worker obey the level: at level 3 the timelines unit stops pushing, everywhere at once.

    A level that it was told and could not obey yet, because an engine is away, is tried again at
    the next look.

    Raises:
        RetryableError: the store is away.
    """
    orders = orders_of(on)
    try:
        await orders.create()
    except StoreUnavailable as error:
        raise RetryableError(str(error)) from error
    obeying = _Obeying(unit)
    task = asyncio.create_task(heard(orders, obeying.told))
    task.add_done_callback(told_why)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Obeying:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._done: bool | None = None

    async def told(self, said: Said) -> None:
        level, why = said.level(now_ms())
        LEVEL.set(level)
        pull_only = level is Level.PULL_ONLY
        if pull_only is self._done or not isinstance(self._unit, Timelines):
            return
        try:
            if await self._unit.pull_only(pull_only):
                words = "nothing is pushed" if pull_only else "tweets are pushed"
                log.warning("level %d: %s from now on (%s)", level, words, why or "measured")
            self._done = pull_only
        except RetryableError as error:
            log.warning("level %d is not obeyed yet: %s", level, error)
