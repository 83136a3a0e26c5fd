"""Statements about tables without a generation, in memory: :class:`events.cassandra.Statements`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cassandra import DriverException

from events.cassandra import Statements
from events.errors import StoreUnavailable
from tests.memory.cql import Definition, Select, parse
from tests.memory.line import Line
from tests.memory.store import Database


class MemoryStatements(Statements):
    """Those of one process; what a conditional one that is not met found there is not told.

    Args:
        database: The engine.
        line: What the process is connected by.
    """

    def __init__(self, database: Database, line: Line | None = None) -> None:
        self._database = database
        self._line = line or Line()

    async def create(self, cql: str) -> None:
        statement = parse(cql)
        assert isinstance(statement, Definition)
        self._database.create(statement.table, cql)

    async def run(
        self, cql: str, values: Sequence[Any] = (), *, serial: bool = False
    ) -> list[Mapping[str, Any]]:
        await self._line.pause()
        done = self._line.admit(1)
        try:
            rows = self._do(cql, values) if done else []
        except DriverException as error:
            raise StoreUnavailable(f"the store did not answer: {error}") from error
        self._line.check(whole=done == 1)
        await self._line.pause()
        return rows

    def _do(self, cql: str, values: Sequence[Any]) -> list[Mapping[str, Any]]:
        statement = parse(cql)
        assert not isinstance(statement, Definition)
        table = self._database.table(statement.table)
        if isinstance(statement, Select):
            names = [column for _, column in statement.wanted]
            found = table.select(statement, values)
            return [dict(zip(names, row, strict=True)) for row in found]
        applied = self._database.write(table, statement, values)
        return [{"applied": one} for (one,) in applied]
