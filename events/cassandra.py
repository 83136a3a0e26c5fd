"""The one bridge from the Cassandra driver's callbacks to asyncio, for this package's adapters.

Keeps true: no call blocks the event loop; an engine that does not answer is a
``StoreUnavailable``. Works with Cassandra and with Scylla, whose lightweight transactions answer
with other columns: only ``[applied]`` is relied on by place, the rest by name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable, ResponseFuture, Session
from cassandra.query import PreparedStatement

from events.errors import StoreUnavailable

_CREATED = re.compile(r"\{keyspace\}\.(\w+)")


class Statements:
    """Runs prepared statements of one session, at QUORUM and SERIAL.

    Args:
        session: A connected session; the caller closes it.
        keyspace: Replaces ``{keyspace}`` in statements.
    """

    def __init__(self, session: Session, keyspace: str) -> None:
        self._session = session
        self._keyspace = keyspace
        self._prepared: dict[str, PreparedStatement] = {}

    async def create(self, cql: str) -> None:
        """Run a ``CREATE TABLE IF NOT EXISTS {keyspace}.name …`` where the table is not known.

        The schema is looked at first: even a CREATE that has nothing to do costs an agreement
        round.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        known = self._session.cluster.metadata.keyspaces.get(self._keyspace)
        named = _CREATED.search(cql)
        if known is not None and named is not None and named.group(1) in known.tables:
            return
        await self._answer(lambda: self._session.execute_async(self._full(cql)))

    async def run(
        self, cql: str, values: Sequence[Any] = (), *, serial: bool = False
    ) -> list[Mapping[str, Any]]:
        """Run a statement; ``serial`` reads what lightweight transactions are still settling.

        Returns:
            Its rows by column name; of a conditional statement the first column is ``applied``.

        Raises:
            StoreUnavailable: The store did not answer; a write may or may not have happened.
        """
        if cql not in self._prepared:
            self._prepared[cql] = await asyncio.to_thread(self._prepare, cql)
        bound = self._prepared[cql].bind(values)
        if serial:
            bound.consistency_level = ConsistencyLevel.SERIAL
        names, rows = await self._answer(lambda: self._session.execute_async(bound))
        columns = ["applied" if name == "[applied]" else name for name in names]
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _full(self, cql: str) -> str:
        return cql.replace("{keyspace}", self._keyspace)

    def _prepare(self, cql: str) -> PreparedStatement:
        try:
            statement = self._session.prepare(self._full(cql))
        except (DriverException, NoHostAvailable) as error:
            raise StoreUnavailable(f"the store did not answer: {error}") from error
        statement.consistency_level = ConsistencyLevel.QUORUM
        statement.serial_consistency_level = ConsistencyLevel.SERIAL
        return statement

    async def _answer(
        self, start: Callable[[], ResponseFuture]
    ) -> tuple[Sequence[str], list[Sequence[Any]]]:
        try:
            response = start()
            rows = await answered(response)
        except (DriverException, NoHostAvailable) as error:
            raise StoreUnavailable(f"the store did not answer: {error}") from error
        return response._col_names or (), [tuple(row) for row in rows]


async def answered(response: ResponseFuture) -> list[Any]:
    """Rows of a request under way; the driver's own errors are raised as they are.

    The driver answers in a thread of its own; a request whose waiter was cancelled goes on there.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Any]] = loop.create_future()

    def settle(outcome: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            outcome(value)

    response.add_callbacks(
        lambda rows: loop.call_soon_threadsafe(settle, done.set_result, rows or []),
        lambda error: loop.call_soon_threadsafe(settle, done.set_exception, error),
    )
    return await done
