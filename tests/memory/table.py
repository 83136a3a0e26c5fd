"""One table in memory, with Cassandra's rules of reconciliation.

- Of two writes of a cell the one with the higher timestamp stays; of one timestamp a deletion
  before a value, and of two values the greater by its bytes (Cassandra's ``rows/Cells.java``).
- A row is there while what an INSERT made of it stands, or any cell of it has a value.
- A deletion of a row hides what was written at or below its timestamp, then and later.
"""

from __future__ import annotations

from binascii import crc32
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from operator import ge, gt, le, lt
from typing import Any

from cassandra import InvalidRequest

from tests.memory.cql import Condition, Definition, Select

Key = tuple[Any, ...]
Row = tuple[Any, ...]

_UNSIGNED = (1 << 64) - 1
_COMPARE = {"<": lt, ">": gt, "<=": le, ">=": ge}
_NEVER = -(1 << 63)


class Stored:
    """One row: cells by column, each a timestamp and a value (None: deleted)."""

    __slots__ = ("cells", "deleted_at", "inserted_at")

    def __init__(self) -> None:
        self.cells: dict[str, tuple[int, Any]] = {}
        self.inserted_at = _NEVER
        self.deleted_at = _NEVER

    def put(self, column: str, at: int, value: Any) -> None:
        old = self.cells.get(column)
        if old is None or at > old[0] or (at == old[0] and _wins(value, old[1])):
            self.cells[column] = (at, value)

    def get(self, column: str) -> tuple[int, Any] | None:
        cell = self.cells.get(column)
        if cell is None or cell[1] is None or cell[0] <= self.deleted_at:
            return None
        return cell

    @property
    def exists(self) -> bool:
        if self.inserted_at > self.deleted_at:
            return True
        return any(self.get(column) is not None for column in self.cells)


def _first(clustering: Key) -> Any:
    return clustering[0]


def _token(partition: Key) -> int:
    """Returns a place on the ring: any order that is not the key's."""
    return crc32(repr(partition).encode())


def _wins(value: Any, over: Any) -> bool:
    if value is None or over is None:
        return value is None
    return bool(_ordered(value) > _ordered(over))


def _ordered(value: Any) -> Any:
    """Returns what orders values as their bytes do."""
    if isinstance(value, int):
        return value & _UNSIGNED
    return value.encode() if isinstance(value, str) else value


class Table:
    """Rows by partition, each partition in clustering order.

    Args:
        definition: Of the table.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._partition_key = definition.partition_key
        self._clustering = definition.clustering
        self._key = frozenset(definition.partition_key + definition.clustering)
        self._partitions: dict[Key, dict[Key, Stored]] = {}
        self._order: dict[Key, list[Key]] = {}
        self._deleted_at: dict[Key, int] = {}

    # --- writing ---

    def delete(self, values: Mapping[str, Any], at: int) -> None:
        """Deletes a row, or a whole partition where no row is named."""
        if all(column in values for column in self._clustering):
            stored = self.row(values, make=True)
            assert stored is not None
            stored.deleted_at = max(stored.deleted_at, at)
            return
        partition = tuple(values[column] for column in self._partition_key)
        self._deleted_at[partition] = max(self._deleted_at.get(partition, _NEVER), at)
        for stored in self._partitions.get(partition, {}).values():
            stored.deleted_at = max(stored.deleted_at, at)

    def row(self, values: Mapping[str, Any], *, make: bool) -> Stored | None:
        """Returns the row of a whole primary key, made where it is missing if so wanted."""
        partition = tuple(values[column] for column in self._partition_key)
        if make and partition == ("",):
            raise InvalidRequest("Key may not be empty")
        clustering = tuple(values[column] for column in self._clustering)
        rows = self._partitions.get(partition)
        found = rows.get(clustering) if rows is not None else None
        if found is None and make:
            if rows is None:
                rows = self._partitions[partition] = {}
                self._order[partition] = []
            found = rows[clustering] = Stored()
            found.deleted_at = self._deleted_at.get(partition, _NEVER)
            insort(self._order[partition], clustering)
        return found

    def is_key(self, column: str) -> bool:
        """Returns whether a column is of the primary key."""
        return column in self._key

    # --- reading ---

    def select(self, query: Select, values: Sequence[Any]) -> list[Row]:
        """Returns the rows that a query asks for.

        Partitions of an ``IN`` come in an order of the table's own, as they do from a ring.
        """
        bounds: dict[str, list[tuple[str, Any]]] = {}
        for condition in query.where:
            bound = (condition.operator, condition.term(values))
            bounds.setdefault(condition.column, []).append(bound)
        limit = query.limit(values) if query.limit else None
        per_partition = query.per_partition(values) if query.per_partition else None
        found: list[Row] = []
        for partition in self._named(bounds):
            number = 0
            for clustering in self._in_partition(partition, bounds, query):
                stored = self._partitions[partition][clustering]
                if not stored.exists or not self._passes(stored, bounds):
                    continue
                found.append(self._answer(query, partition, clustering, stored))
                number += 1
                if query.distinct or number == per_partition or len(found) == limit:
                    break
            if len(found) == limit:
                break
        return [(len(found),)] if query.wanted == [("count", "*")] else found

    def _named(self, bounds: Mapping[str, list[tuple[str, Any]]]) -> list[Key]:
        choices: list[list[Any]] = []
        for column in self._partition_key:
            bound = bounds.get(column)
            if bound is None:  # ALLOW FILTERING, or no WHERE at all
                partitions = list(self._partitions)
                return [p for p in partitions if self._passes_key(self._partition_key, p, bounds)]
            ((operator, value),) = bound
            choices.append(list(dict.fromkeys(value)) if operator == "IN" else [value])
        found = [key for key in product(*choices) if key in self._partitions]
        return found if len(found) < 2 else sorted(found, key=_token)

    def _in_partition(
        self, partition: Key, bounds: Mapping[str, list[tuple[str, Any]]], query: Select
    ) -> Iterator[Key]:
        order = self._order[partition]
        low, high = 0, len(order)
        leading = bounds.get(self._clustering[0], ()) if self._clustering else ()
        for operator, value in leading:
            if operator in ("=", ">=", ">"):
                at = (bisect_right if operator == ">" else bisect_left)(order, value, key=_first)
                low = max(low, at)
            if operator in ("=", "<=", "<"):
                at = (bisect_left if operator == "<" else bisect_right)(order, value, key=_first)
                high = min(high, at)
        descending = self.definition.descending
        if query.descending is not None:
            descending = query.descending
        places = range(high - 1, low - 1, -1) if descending else range(low, high)
        for at in places:
            if self._passes_key(self._clustering, order[at], bounds):
                yield order[at]

    def _passes_key(
        self, columns: Sequence[str], key: Key, bounds: Mapping[str, list[tuple[str, Any]]]
    ) -> bool:
        return all(
            _holds(key[at], operator, value)
            for at, column in enumerate(columns)
            for operator, value in bounds.get(column, ())
        )

    def _passes(self, stored: Stored, bounds: Mapping[str, list[tuple[str, Any]]]) -> bool:
        for column, wanted in bounds.items():
            if column in self._key:
                continue
            cell = stored.get(column)
            for operator, value in wanted:
                if cell is None or not _holds(cell[1], operator, value):
                    return False
        return True

    def _answer(self, query: Select, partition: Key, clustering: Key, stored: Stored) -> Row:
        found = []
        for function, column in query.wanted:
            if column in self._partition_key:
                found.append(partition[self._partition_key.index(column)])
            elif column in self._clustering:
                found.append(clustering[self._clustering.index(column)])
            else:
                cell = stored.get(column)
                found.append(None if cell is None else cell[0 if function else 1])
        return tuple(found)


def _holds(value: Any, operator: str, wanted: Any) -> bool:
    if operator == "=":
        return bool(value == wanted)
    if operator == "IN":
        return value in wanted
    return bool(_COMPARE[operator](value, wanted))


def holds(stored: Stored | None, conditions: Sequence[Condition], values: Sequence[Any]) -> bool:
    """Returns whether the conditions of a lightweight transaction are met by a row."""
    if stored is None or not stored.exists:
        return False
    for condition in conditions:
        cell = stored.get(condition.column)
        wanted = condition.term(values)
        if wanted is None or cell is None:
            if not (wanted is None and cell is None):
                return False
        elif not _holds(cell[1], condition.operator, wanted):
            return False
    return True
