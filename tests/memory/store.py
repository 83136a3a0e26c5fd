"""A store in memory that stands in for Cassandra: the same statements, the same outcome.

:class:`Database` is the engine, :class:`MemoryStore` one process's view of one generation of it.
That it may stand in is shown by ``tests/contracts``: what holds on the real engines holds here.
What it does not have: replicas, consistency levels, time to live of cells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cassandra import InvalidRequest

from projections.store import Row, Store
from tests.memory.cql import Definition, Select, Write, parse
from tests.memory.line import Line
from tests.memory.table import Table, holds

HALF_WAY = 0.1
"""Share of a batch's rows after which somebody else may look."""


class Database:
    """Tables by full name."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self._last_at = 0

    def create(self, name: str, definition: str) -> None:
        """Makes a table where there is none of that name."""
        if name not in self.tables:
            found = parse(definition)
            assert isinstance(found, Definition)
            self.tables[name] = Table(found)

    def drop(self, name: str) -> None:
        """Removes a table and all that is in it."""
        self.tables.pop(name, None)

    def table(self, name: str) -> Table:
        """Returns a table.

        Raises:
            InvalidRequest: there is none (any more), as the driver would say.
        """
        if name not in self.tables:
            raise InvalidRequest(f"unconfigured table {name}")
        return self.tables[name]

    def now(self) -> int:
        """Returns a write timestamp for a statement that says none; each is higher."""
        self._last_at = max(self._last_at + 1, time.time_ns() // 1000)
        return self._last_at

    def write(self, table: Table, write: Write, values: Sequence[Any]) -> list[Row]:
        """Does a write; returns what it answers, a row if it is a lightweight transaction."""
        said = {column: term(values) for column, term in write.cells}
        said |= {condition.column: condition.term(values) for condition in write.where}
        if write.conditions is not None:
            stored = table.row(said, make=False)
            exists = stored is not None and stored.exists
            met = not exists if write.absent else holds(stored, write.conditions, values)
            if not met:
                return [(False,)]
        at = write.at(values) if write.at is not None else self.now()
        if write.deletes and not write.cells:
            table.delete(said, at)
        else:
            self._apply(table, write, said, at)
        return [(True,)] if write.conditions is not None else []

    def _apply(self, table: Table, write: Write, said: dict[str, Any], at: int) -> None:
        stored = table.row(said, make=True)
        assert stored is not None
        if write.inserts:
            stored.inserted_at = max(stored.inserted_at, at)
        for column, _ in write.cells:
            if not table.is_key(column):
                stored.put(column, at, said[column])


class MemoryStore(Store):
    """One generation's tables, as one process reaches them.

    Args:
        database: The engine.
        generation: Suffix of the tables.
        line: What the process is connected by.
    """

    def __init__(self, database: Database, generation: str, line: Line | None = None) -> None:
        self._database = database
        self._keyspace = "memory"
        self.generation = generation
        self._line = line or Line()

    def of(self, generation: str) -> MemoryStore:
        return MemoryStore(self._database, generation, self._line)

    async def create(self, name: str, ddl: str) -> None:
        self._database.create(self.table(name), ddl)

    async def drop(self, name: str) -> None:
        self._database.drop(self.table(name))

    async def add_columns(self, name: str, columns: Mapping[str, str]) -> None:
        """Every table is made as of now, with all its columns."""

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        await self._line.pause()
        rows: list[Row] = []
        done = self._line.admit(1)
        if done:
            rows = self._do(cql, values)
        self._line.check(whole=done == 1)
        await self._line.pause()
        return rows

    async def execute_many(self, cql: str, values: Sequence[Sequence[Any]]) -> list[list[Row]]:
        if self._line.chance is None:
            return [await self.execute(cql, one) for one in values]
        return list(await asyncio.gather(*(self.execute(cql, one) for one in values)))

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        await self._line.pause()
        in_order, chance = list(rows), self._line.chance
        if chance is not None:  # an unlogged batch is no transaction
            chance.shuffle(in_order)
        done = self._line.admit(len(in_order))
        for cql, values in in_order[:done]:
            self._do(cql, values)
            if chance is not None and chance.random() < HALF_WAY:
                await asyncio.sleep(0)
        if rows:
            self._line.check(whole=done == len(in_order))
        await self._line.pause()

    def _do(self, cql: str, values: Sequence[Any]) -> list[Row]:
        statement = parse(cql)
        table = self._database.table(self.table(statement.table))
        if isinstance(statement, Select):
            return table.select(statement, values)
        assert isinstance(statement, Write)
        return self._database.write(table, statement, values)
