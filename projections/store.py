"""Facts in Cassandra or Scylla: statements, grouped writes and the tables of a generation.

Keeps true:
- Facts are written and read at QUORUM, so whoever reads after a write was acknowledged sees it.
- A table belongs to one generation: ``{tweets}`` in a statement becomes ``keyspace.tweets_g1``.
- What the driver says of an engine that is away or slow becomes ``RetryableError``; every write is
  an upsert with a timestamp of its own, so that repeating it is harmless.

Bounded by: ``BATCH_ROWS_MAX`` rows a batch, ``IDS_PER_QUERY_MAX`` partitions a query where nothing
else is said, ``IN_FLIGHT_MAX`` requests at once.

CQL is kept within what Cassandra 5 and ScyllaDB both speak. ScyllaDB refuses timestamps more than
three days in the future (``restrict_future_timestamp``), which a Snowflake id taken as microseconds
would be: :func:`id_timestamp` shifts ids to below zero, keeping their order.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from cassandra import (
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    RequestExecutionException,
    Unavailable,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    tuple_factory,
)

from events.cassandra import answered
from projections.base import RetryableError

BATCH_ROWS_MAX = 64
"""Rows in one unlogged batch; larger ones trip Cassandra's batch_size_warn_threshold (5 KiB
rows)."""

BATCH_ROWS_MIN = 32
"""Rows in a batch before there are as many batches as may be in flight. A node that syncs its log
before it answers applies a batch's partitions one after the other, each waiting for its sync
(decision 0007); but a request costs both sides more than a row, and where several slices write at
once, they wait for each other's requests (measured: decision 0201)."""

IN_FLIGHT_MAX = 64
"""Requests of one store under way at once; more only queue in the driver."""

IDS_PER_QUERY_MAX = 32
"""Partitions in one query."""

REQUEST_TIMEOUT_SECONDS = 10.0

SCHEMA_TIMEOUT_SECONDS = 120.0
"""For a change of tables. To drop one, Cassandra begins a new commit log and flushes what the old
one holds of every table, which takes a busy node longer than any read or write may."""

RECONNECT_SECONDS_MIN = 0.5
RECONNECT_SECONDS_MAX = 5.0
"""Longest pause between attempts to reach a node that is down; the driver's own default is 10
minutes, in which a node that is back is not used."""

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
_TABLE = re.compile(r"\{(\w+)\}")


def id_timestamp(event_id: int) -> int:
    """Returns the write timestamp that orders facts by their event's id, whatever partition they
    came by.

    Ids are positive, so the result is between -2^63 + 1 and -1; the order is that of the ids.
    """
    return event_id - (1 << 63)


class Store:
    """One generation's tables in one keyspace.

    Args:
        session: A connected driver session; see :func:`connect`.
        keyspace: Keyspace of the tables.
        generation: Suffix of the tables, such as ``g1``.
    """

    def __init__(self, session: Session, keyspace: str, generation: str) -> None:
        self._session = session
        self._keyspace = keyspace
        self.generation = generation
        self._prepared: dict[str, asyncio.Task[PreparedStatement]] = {}
        self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)

    def of(self, generation: str) -> Self:
        """Returns another generation's tables, over the same session and within its bounds."""
        other = copy.copy(self)
        other.generation = generation
        other._prepared = {}
        return other

    def table(self, name: str) -> str:
        """Returns the full name of one of the generation's tables."""
        return f"{self._keyspace}.{name}_{self.generation}"

    async def create(self, name: str, ddl: str) -> None:
        """Runs ``CREATE TABLE IF NOT EXISTS {table} …`` for one of the generation's tables.

        The schema is looked at first: even a CREATE that has nothing to do costs an agreement
        round.
        """
        metadata = self._session.cluster.metadata.keyspaces.get(self._keyspace)
        if metadata is not None and f"{name}_{self.generation}" in metadata.tables:
            return
        await self._change(ddl.replace("{table}", self.table(name)))

    async def add_columns(self, name: str, columns: Mapping[str, str]) -> None:
        """Adds columns to one of the generation's tables where they are missing.

        Args:
            name: Of the table.
            columns: CQL types by column.
        """
        rows = await self._run(
            f"SELECT column_name FROM system_schema.columns WHERE keyspace_name = "
            f"'{self._keyspace}' AND table_name = '{name}_{self.generation}'"
        )
        known = {column for (column,) in rows}
        for column, kind in columns.items():
            if column in known:
                continue
            try:
                await self._change(f"ALTER TABLE {self.table(name)} ADD {column} {kind}")
            except InvalidRequest:
                logger.info("%s.%s was added by another process", name, column)

    async def drop(self, name: str) -> None:
        """Removes one of the generation's tables with all that is in it, if it is there."""
        await self._change(f"DROP TABLE IF EXISTS {self.table(name)}")

    async def prepare(self, cql: str) -> PreparedStatement:
        """Returns the prepared form of a statement, prepared once; ``{name}`` stands for a
        table."""
        task = self._prepared.get(cql)
        if task is None:
            full = _TABLE.sub(lambda match: self.table(match.group(1)), cql)
            task = asyncio.ensure_future(asyncio.to_thread(self._prepare, full))
            self._prepared[cql] = task
        try:
            return await asyncio.shield(task)
        except Exception:
            # Whatever it was (an engine away, a table not made yet) may be over the next time.
            self._prepared.pop(cql, None)
            raise

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Runs one statement and returns its rows as tuples, in one page.

        Raises:
            RetryableError: the store did not answer, or not enough of its replicas did.
        """
        bound = (await self.prepare(cql)).bind(values)
        bound.fetch_size = None
        return await self._run(bound)

    async def execute_many(self, cql: str, values: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """Runs one statement for many values, concurrently; returns the rows of each, in order."""
        return list(await asyncio.gather(*(self.execute(cql, v) for v in values)))

    async def execute_in(
        self,
        cql: str,
        ids: Sequence[int] | Sequence[str],
        *more: Any,
        per_query: int = IDS_PER_QUERY_MAX,
    ) -> list[Row]:
        """Runs a statement whose first value is the list of an ``IN ?``, some ids at a time.

        Args:
            cql: The statement.
            ids: However many.
            more: Its further values, the same for all.
            per_query: Ids in one query.

        Returns:
            The rows of all, those of one query together.
        """
        groups = [ids[at : at + per_query] for at in range(0, len(ids), per_query)]
        pages = await self.execute_many(cql, [(list(group), *more) for group in groups])
        return [row for rows in pages for row in rows]

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Writes rows, each an upsert statement and its values, in unlogged batches by replica.

        Unlogged batches are not atomic: on failure any part may be written. Repeat the whole.

        Raises:
            RetryableError: some of it may not be written.
        """
        size = min(BATCH_ROWS_MAX, max(BATCH_ROWS_MIN, -(-len(rows) // IN_FLIGHT_MAX)))
        prepared = {cql: await self.prepare(cql) for cql in {cql for cql, _ in rows}}
        groups: dict[Any, list[BoundStatement]] = {}
        batches: list[asyncio.Future[list[Row]]] = []
        for cql, values in rows:
            bound = prepared[cql].bind(values)
            replica = self._replica(bound)
            group = groups.setdefault(replica, [])
            group.append(bound)
            if len(group) == size:
                batches.append(asyncio.ensure_future(self._run(_batch(groups.pop(replica)))))
                await asyncio.sleep(0)  # the store works on this one while the next is made
        await asyncio.gather(*batches, *(self._run(_batch(group)) for group in groups.values()))

    def _replica(self, bound: BoundStatement) -> Any:
        """Groups statements by first replica, so that a batch costs its coordinator no
        forwarding."""
        metadata = self._session.cluster.metadata
        if len(metadata.all_hosts()) == 1:
            return None
        replicas = metadata.get_replicas(bound.keyspace or self._keyspace, bound.routing_key)
        return replicas[0].host_id if replicas else None

    def _prepare(self, cql: str) -> PreparedStatement:
        try:
            return self._session.prepare(cql)
        except (NoHostAvailable, OperationTimedOut, Unavailable) as error:
            raise _retryable(error) from error

    async def _run(self, statement: Any) -> list[Row]:
        async with self._in_flight:
            return await self._ask(statement)

    async def _change(self, ddl: str) -> None:
        async with self._in_flight:
            await self._ask(ddl, SCHEMA_TIMEOUT_SECONDS)

    async def _ask(self, statement: Any, seconds_max: float = REQUEST_TIMEOUT_SECONDS) -> list[Row]:
        """Sends one statement; a subclass that watches the store sees every one here."""
        try:
            return await answered(self._session.execute_async(statement, timeout=seconds_max))
        except (NoHostAvailable, RequestExecutionException, OperationTimedOut) as error:
            raise _retryable(error) from error


def _batch(bound: Sequence[BoundStatement]) -> Any:
    if len(bound) == 1:
        return bound[0]
    batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.QUORUM)
    for one in bound:
        batch.add(one)
    return batch


def _retryable(error: Exception) -> RetryableError:
    return RetryableError(f"the store did not answer: {error}")


async def connect(
    hosts: Sequence[str],
    *,
    keyspace: str,
    replication: int = 1,
    datacenter: str | None = None,
    username: str = "",
    password: str = "",
    timeout_seconds: float = 10.0,
) -> Session:
    """Connects to the store and makes sure that the keyspace exists.

    Args:
        hosts: Contact points as ``host:port``; all must use the same port.
        keyspace: Created with SimpleStrategy where it is missing.
        replication: Replication factor for a keyspace that is created here.
        datacenter: Local datacenter; None takes any.
        username: Empty for no authentication.
        password: Of ``username``.
        timeout_seconds: How long to wait for the first connection.

    Raises:
        RetryableError: no contact point answers.
    """
    near = DCAwareRoundRobinPolicy(datacenter) if datacenter else RoundRobinPolicy()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(near),
        consistency_level=ConsistencyLevel.QUORUM,
        request_timeout=REQUEST_TIMEOUT_SECONDS,
        row_factory=tuple_factory,
    )
    cluster = Cluster(
        [host.rpartition(":")[0] for host in hosts],
        port=int(hosts[0].rpartition(":")[2]),
        auth_provider=PlainTextAuthProvider(username, password) if username else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ExponentialReconnectionPolicy(
            RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX, max_attempts=None
        ),
        connect_timeout=timeout_seconds,
        control_connection_timeout=timeout_seconds,
    )
    return await asyncio.to_thread(_connect, cluster, keyspace, replication, timeout_seconds)


def _connect(cluster: Cluster, keyspace: str, replication: int, timeout: float) -> Session:
    try:
        session = cluster.connect()
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = "
            f"{{'class': 'SimpleStrategy', 'replication_factor': {replication}}}",
            timeout=timeout,
        )
    except (DriverException, NoHostAvailable) as error:  # the latter is no DriverException
        cluster.shutdown()
        raise _retryable(error) from error
    return session
