"""The store behind a guard: reads have a deadline and a budget of retries, and never queue up
behind an engine that does not answer.

Keeps true:
- A read ends within ``seconds_max``, retry included, with rows or with ``RetryableError``.
- While the breaker is open nothing is sent and ``EngineAway`` is raised at once.
- Only reads are retried, once, after a failure that came fast enough to leave time for it, and
  within the budget. What waited until its deadline is not tried again.
- The gateway writes no facts: ``write`` is refused.

The lightweight transactions of idempotency keys and id leases (``GuardedStatements``) have the same
deadline and breaker, and no retry: whether they were applied is not known. They take longer by
nature, so a slow one is not taken for a slow store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from events.cassandra import Statements
from events.errors import StoreUnavailable
from gateway.guards.budget import RetryBudget
from gateway.guards.guard import EngineAway, Guard
from gateway.metrics import GatewayMetrics
from projections.base import RetryableError
from projections.store import REQUEST_TIMEOUT_SECONDS, Row, Store

RETRY_PAUSE_SECONDS = 0.03
"""About how long a retry waits: for the driver to take another connection or replica."""


class GuardedStore(Store):
    """One generation's tables, to be read.

    Args:
        session: A connected driver session.
        keyspace: Keyspace of the tables.
        generation: Suffix of the tables.
        guard: Watches the store.
        metrics: Counts reads and retries.
        seconds_max: Deadline of one read.
    """

    def __init__(
        self,
        session: Session,
        keyspace: str,
        generation: str,
        guard: Guard,
        metrics: GatewayMetrics,
        *,
        seconds_max: float,
    ) -> None:
        super().__init__(session, keyspace, generation)
        self._guard = guard
        self._metrics = metrics
        self._seconds_max = seconds_max
        self._budget = RetryBudget()

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Reads; see :meth:`Store.execute`.

        Raises:
            EngineAway: the store is not asked.
            RetryableError: it did not answer in time.
        """
        with self._guard.admitted():
            self._budget.called()
            try:
                async with asyncio.timeout(self._seconds_max):
                    return await self._twice(cql, values)
            except TimeoutError as error:
                raise RetryableError(
                    f"the store did not answer within {self._seconds_max:g} s"
                ) from error

    async def prepare(self, cql: str) -> PreparedStatement:
        """Returns the prepared form of a statement; a failure counts as the store's."""
        with self._watched():
            return await super().prepare(cql)

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Refuses: only a projection's worker writes facts."""
        raise TypeError("the gateway writes no facts")

    async def _twice(self, cql: str, values: Sequence[Any]) -> list[Row]:
        try:
            return await super().execute(cql, values)
        except RetryableError:
            if self._guard.away or not self._budget.take():
                raise
            await asyncio.sleep(RETRY_PAUSE_SECONDS * random.uniform(0.5, 1.5))
            if self._guard.away:  # it opened in the pause
                raise
        self._metrics.store_retries.inc()
        return await super().execute(cql, values)

    async def _ask(self, statement: Any, seconds_max: float = REQUEST_TIMEOUT_SECONDS) -> list[Row]:
        self._metrics.store_reads.inc()
        with self._watched() as began:
            rows = await super()._ask(statement, seconds_max)
        self._guard.answered(self._guard.clock() - began)
        return rows

    @contextmanager
    def _watched(self) -> Iterator[float]:
        """Tells the guard of a failure, and of a call that was cut off when it had had most of its
        time; gives the time at which the call began."""
        began = self._guard.clock()
        try:
            yield began
        except RetryableError as error:
            self._guard.failed(error, began)
            raise
        except asyncio.CancelledError:
            seconds = self._guard.clock() - began
            if seconds > self._seconds_max / 2:
                self._guard.failed(f"no answer within {seconds:.1f} s", began)
            raise


class GuardedStatements(Statements):
    """Lightweight transactions of one keyspace.

    Args:
        session: A connected driver session.
        keyspace: Replaces ``{keyspace}`` in statements.
        guard: Watches the store.
        seconds_max: Deadline of one of them.
    """

    def __init__(
        self, session: Session, keyspace: str, guard: Guard, *, seconds_max: float
    ) -> None:
        super().__init__(session, keyspace)
        self._guard = guard
        self._seconds_max = seconds_max

    async def run(
        self, cql: str, values: Sequence[Any] = (), *, serial: bool = False
    ) -> list[Mapping[str, Any]]:
        """Runs a statement; see :meth:`Statements.run`.

        Raises:
            StoreUnavailable: it is not known whether it was applied; or the store is not asked, and
                it was not.
        """
        try:
            with self._guard.admitted():
                return await self._run(cql, values, serial)
        except EngineAway as error:
            raise StoreUnavailable(str(error)) from error

    async def _run(self, cql: str, values: Sequence[Any], serial: bool) -> list[Mapping[str, Any]]:
        began = self._guard.clock()
        try:
            async with asyncio.timeout(self._seconds_max):
                rows = await super().run(cql, values, serial=serial)
        except TimeoutError as error:
            self._guard.failed(error, began)
            raise StoreUnavailable(
                f"the store did not answer within {self._seconds_max:g} s"
            ) from error
        except StoreUnavailable as error:
            self._guard.failed(error, began)
            raise
        # An answer is not counted: it would hide how slow the reads between are.
        return rows
