"""Rows as they are stored, with the write timestamp of each cell; and how a change is written.

Columns and keys are those of the store's own schema, so that no layout is told twice.

Bounded by: one partition or row a question, ``ROWS_MAX`` rows of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from infra.compose import Engines
from infra.repair.cells import ROW, Cell, Change, Row
from projections.store import Store
from projections.trends.layout import OWN_SECONDS, USES_SECONDS

ROWS_MAX = 200_000

TURNS = {"tallies": 0, "act_counts": 2}
"""When a table is written, if not in the middle. A worker of engagement reads what counts before
what it is counted from (``projections/engagement/tally.py``), one of notifications after it."""

SECONDS = {"trend_uses": USES_SECONDS, "trend_uses_of": OWN_SECONDS}
"""How long rows of tables live that are not kept; what is repaired lives as long from then on."""


class TooMuch(Exception):
    """A key has more to it than a repair takes in; the message says what to do."""


class Part(msgspec.Struct, frozen=True):
    """Rows of a table whose columns have these values: a partition, or some of it."""

    table: str
    where: tuple[tuple[str, Any], ...]


class Rows:
    """The rows of a unit's generation.

    Args:
        on: Engines at the generation.
        store: Its tables.
        tables: The unit's tables.
    """

    def __init__(self, on: Engines, store: Store, tables: Iterable[str]) -> None:
        known = on.session.cluster.metadata.keyspaces[on.settings.keyspace].tables
        self._store = store
        self.keys: dict[str, list[str]] = {}
        self._cells: dict[str, list[str]] = {}
        for table in tables:
            layout = known[store.table(table).rpartition(".")[2]]
            self.keys[table] = [column.name for column in layout.primary_key]
            self._cells[table] = [n for n in layout.columns if n not in self.keys[table]]

    async def read(self, parts: Iterable[Part]) -> dict[Row, dict[str, Cell]]:
        """Returns the rows of all parts.

        Raises:
            TooMuch: a part has more rows than ``ROWS_MAX``.
            RetryableError: the store is away.
        """
        found: dict[Row, dict[str, Cell]] = {}
        for rows in await asyncio.gather(*map(self._part, parts)):
            found.update(rows)
        return found

    async def _part(self, part: Part) -> dict[Row, dict[str, Cell]]:
        values = (*(value for _, value in part.where), ROWS_MAX)
        rows = await self._store.execute(self._query(part), values)
        if len(rows) == ROWS_MAX:
            raise TooMuch(
                f"{part.table} has {ROWS_MAX} rows or more of this key; rebuild the unit: "
                f"murmur replay"
            )
        return dict(self._row(part.table, row) for row in rows)

    def _query(self, part: Part) -> str:
        columns = [*self.keys[part.table]]
        for name in self._cells[part.table]:
            columns += (name, f"writetime({name})")
        where = " AND ".join(f"{name} = ?" for name, _ in part.where)
        return f"SELECT {', '.join(columns)} FROM {{{part.table}}} WHERE {where} LIMIT ?"

    def _row(self, table: str, row: Sequence[Any]) -> tuple[Row, dict[str, Cell]]:
        width = len(self.keys[table])
        cells = {
            name: Cell(row[width + 2 * at], row[width + 2 * at + 1])
            for at, name in enumerate(self._cells[table])
            if row[width + 2 * at] is not None
        }
        return (table, tuple(row[:width])), cells

    async def write(self, changes: Iterable[Change]) -> None:
        """Writes changes; each has its own timestamp, so that repeating them is harmless.

        Raises:
            RetryableError: some of it may not be written; look again.
        """
        possible = [change for change in changes if not change.is_hopeless]
        for turn in range(3):
            of_turn = [change for change in possible if TURNS.get(change.row[0], 1) == turn]
            await asyncio.gather(
                *(self._store.execute(*self._statement(change)) for change in of_turn)
            )

    def _statement(self, change: Change) -> tuple[str, list[Any]]:
        table, key = change.row
        names = self.keys[table]
        where = " AND ".join(f"{name} = ?" for name in names)
        if change.right is None:
            column = "" if change.column == ROW else f"{change.column} "
            cql = f"DELETE {column}FROM {{{table}}} USING TIMESTAMP ? WHERE {where}"
            return cql, [change.at, *key]
        columns, values = list(names), [*key]
        if change.column != ROW:
            columns.append(change.column)
            values.append(change.right)
        marks = ", ".join("?" for _ in columns)
        cql = f"INSERT INTO {{{table}}} ({', '.join(columns)}) VALUES ({marks}) USING TIMESTAMP ?"
        cql += f" AND TTL {SECONDS[table]}" if table in SECONDS else ""
        return cql, [*values, change.at]


def parts_of(rows: Iterable[Row], keys: Mapping[str, Sequence[str]]) -> list[Part]:
    """Returns the rows themselves as parts."""
    return [
        Part(table, tuple(zip(keys[table], values, strict=True)))
        for table, values in dict.fromkeys(rows)
    ]
