"""What the log says of cells, and how what is stored differs from it.

The statements are those that the units write, taken apart, so that a table's layout is told once.
Each cell is decided by the highest write timestamp among what the log's records write into it
(:mod:`projections.versions`); of records that a worker may or may not have applied yet, each is
right.

What is wrong is beaten: a cell gets the right value just above the wrong one's timestamp, a row or
cell that should not exist is deleted at its own. Offsets that are still to come give higher
timestamps than any of that, as long as the wrong one was not above the log itself
(:attr:`Change.is_above_log`).

Bounded by: the records of one key.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from events.snowflake import compose
from projections.store import id_timestamp

Row: TypeAlias = tuple[str, tuple[Any, ...]]
"""A table, and the values of its primary key."""

Write: TypeAlias = tuple[str, Sequence[Any]]
"""A statement of a unit and its values."""

ROW = "(row)"
"""Stands for the row itself where it has no cell."""

AGED = frozenset({("accounts", "created_at"), ("lists", "created_at")})
"""Cells whose timestamp is read for the offset in it, so that no other will do."""

RIVALS = {
    "likes": ("event_id", "redriven_id"),
    "referrals": ("reply_to_id", "redriven_reply_to_id"),
}
"""Pairs of cells of which readers take the one with the higher timestamp, the first of equal ones:
what was said in order, and what came by a redrive."""

WHOLE = frozenset({"tallies", "act_counts"})
"""Tables of registers: what one says follows from its own position, so its cells are right or wrong
together, and are written together."""

BY_ID = frozenset({"notices_read"})
"""Tables whose timestamps are made of Snowflake ids: far below those of offsets."""

_INSERT = re.compile(
    r"INSERT INTO \{(\w+)\} \(([^)]*)\)\s+VALUES \(([^)]*)\)"
    r"(?: USING TIMESTAMP (\?)(?: AND TTL \d+)?)?\s*$"
)
_UPDATE = re.compile(r"UPDATE \{(\w+)\} USING TIMESTAMP (\?) SET (.*) WHERE (.*)$")
_TEXTS = {"true": True, "false": False, "''": "", "0": 0}


class Cell(msgspec.Struct, frozen=True):
    """A value and its write timestamp."""

    value: Any
    at: int


class Written(msgspec.Struct, frozen=True):
    """What one statement writes: cells of one row; none of a row that is only a key."""

    row: Row
    cells: dict[str, Any]
    at: int


def written(write: Write, keys: Mapping[str, Sequence[str]]) -> Written:
    """Takes a unit's statement apart.

    Args:
        write: The statement and its values.
        keys: The columns of each table's primary key.

    Raises:
        ValueError: it is none that a unit writes.
    """
    cql, values = " ".join(write[0].split()), iter(write[1])
    at = 0
    if found := _INSERT.match(cql):
        table, names = found[1], [name.strip() for name in found[2].split(",")]
        texts = [text.strip() for text in found[3].split(",")]
        named = {n: _value(t, values) for n, t in zip(names, texts, strict=True)}
        at = next(values) if found[4] else 0
    elif found := _UPDATE.match(cql):
        table, at = found[1], next(values)
        pairs = [*found[3].split(","), *found[4].split(" AND ")]
        split = (pair.split("=") for pair in pairs)
        named = {name.strip(): _value(text.strip(), values) for name, text in split}
    else:
        raise ValueError(f"not a statement of a unit: {cql}")
    key = tuple(named.pop(name) for name in keys[table])
    return Written((table, key), named, at)


def _value(text: str, values: Any) -> Any:
    return next(values) if text == "?" else _TEXTS[text]


class Expected:
    """The cells that the log gives a set of rows."""

    def __init__(self) -> None:
        self._rows: dict[Row, dict[str, list[Cell]]] = {}
        self._durable: dict[Row, dict[str, Cell]] = {}
        self._ends: dict[Row, int] = {}
        self._whole: dict[Row, list[dict[str, Any]]] = {}

    def add(self, one: Written, is_durable: bool, end: int = 0) -> None:
        """Adds what a record writes.

        Args:
            one: What it writes.
            is_durable: The unit is known to have applied it.
            end: Where its partition ends; 0 where it is not a record's.
        """
        self._ends[one.row] = max(end, self._ends.get(one.row, 0))
        if one.row[0] in WHOLE:
            self._whole.setdefault(one.row, []).append(one.cells)
        cells = self._rows.setdefault(one.row, {})
        durable = self._durable.setdefault(one.row, {}) if is_durable else {}
        for column, value in {**one.cells, ROW: True}.items():
            cell = Cell(value, one.at)
            cells.setdefault(column, []).append(cell)
            if is_durable and (column not in durable or cell.at > durable[column].at):
                durable[column] = cell

    @property
    def rows(self) -> list[Row]:
        """Rows that there are, or may be."""
        return list(self._rows)

    def end(self, row: Row) -> int:
        """Returns the end of the partitions that speak of a row; 0 where none does."""
        return self._ends.get(row, 0)

    def last(self, row: Row) -> dict[str, Cell]:
        """Returns the cells once everything is applied."""
        return {
            column: max(cells, key=lambda cell: cell.at)
            for column, cells in self._rows.get(row, {}).items()
        }

    def is_register(self, row: Row, cells: Mapping[str, Cell]) -> bool:
        """Says whether a stored register is one that the log gives, and not one of the past."""
        stored = {column: cell.value for column, cell in cells.items()}
        durable = self._durable.get(row, {}).get("position")
        return stored in self._whole[row] and (
            durable is None or stored["position"] >= durable.value
        )

    def fits(self, row: Row, column: str, stored: Cell | None) -> bool:
        """Says whether a cell is as some worker, on time or late, has written it."""
        durable = self._durable.get(row, {}).get(column)
        if stored is None:
            return durable is None
        if durable is not None and stored.at < durable.at:
            return False
        possible = self._rows.get(row, {}).get(column, [])
        natural = any(stored.at == cell.at and stored.value == cell.value for cell in possible)
        if (row[0], column) in AGED:
            return natural or any(
                stored.at == -cell.at and stored.value == cell.value for cell in possible
            )
        # An earlier repair has written the right value above the log's timestamp.
        beaten = any(stored.at >= cell.at and stored.value == cell.value for cell in possible)
        return natural or (beaten and stored.value == self.last(row)[column].value)


class Change(msgspec.Struct, frozen=True):
    """One cell or row that is put right.

    Attributes:
        row: Where.
        column: Which cell, or ``ROW``.
        stored: What was there; None where nothing was.
        right: What the log says; None for nothing.
        at: The timestamp that puts it right.
        is_above_log: Nothing that the log can still say beats ``at``: later events will not show.
        is_hopeless: No timestamp would put it right.
    """

    row: Row
    column: str
    stored: Any
    right: Any
    at: int
    is_above_log: bool = False
    is_hopeless: bool = False

    def words(self) -> str:
        """Returns it as people read it."""
        table, key = self.row
        name = f"{table}{list(key)}" if self.column == ROW else f"{table}{list(key)}.{self.column}"
        stored = "nothing" if self.stored is None else _short(self.stored)
        right = "nothing" if self.right is None else _short(self.right)
        told = f"{name}: {stored} -> {right}"
        if self.is_hopeless:
            return f"{told} (cannot be put right: its timestamp is part of what it says)"
        return told + (" (above the log: later events of it will not show)" * self.is_above_log)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


Stored: TypeAlias = Mapping[Row, Mapping[str, Cell]]
"""Rows with their cells; a row that is only a key has none."""


Tries: TypeAlias = Mapping[tuple[Row, str], int]
"""How often each cell was put right before, and was not right afterwards."""


def changes(expected: Expected, stored: Stored, tries: Tries, end: int) -> list[Change]:
    """Returns what puts the stored rows right.

    Args:
        expected: What the log says.
        stored: What the store holds, of every row that there should be and any other.
        tries: Of earlier looks: a deletion of old may hide what is written, and its timestamp
            cannot be read, so each try writes higher.
        end: Where the partitions end that would speak of a row of which none does.
    """
    found: list[Change] = []
    for row in dict.fromkeys((*expected.rows, *stored)):
        fixing = _Fixing(row, expected, tries, expected.end(row) or end)
        made = list(fixing.changes(stored.get(row)))
        found += [*made, *fixing.order(stored.get(row) or {}, made)]
    return found


class _Fixing:
    """One row on its way to what it should be."""

    def __init__(self, row: Row, expected: Expected, tries: Tries, end: int) -> None:
        self._row = row
        self._expected = expected
        self._last = expected.last(row)
        self._tries = tries
        self._is_by_id = row[0] in BY_ID
        self._end = id_timestamp(compose(_now() // 1000, 0, 0)) if self._is_by_id else end

    def changes(self, cells: Mapping[str, Cell] | None) -> Iterable[Change]:
        """Yields what is wrong with a row that is stored like this; None: it is not."""
        if not self._last:
            yield self._gone(cells or {})
            return
        is_missing = cells is None and not self._expected.fits(self._row, ROW, None)
        if cells is None and not is_missing:
            return
        if self._row[0] in WHOLE:
            yield from self._register(cells)
            return
        for column in dict.fromkeys((*self._last, *(cells or {}))):
            stored = (cells or {}).get(column)
            if column == ROW:
                if is_missing and len(self._last) == 1:
                    yield self._put(column, None)
            elif not is_missing and self._expected.fits(self._row, column, stored):
                continue
            elif column in self._last:
                yield self._put(column, stored)
            elif stored is not None:
                yield Change(
                    self._row, column, stored.value, None, stored.at, self._above(stored.at)
                )

    def _register(self, cells: Mapping[str, Cell] | None) -> Iterable[Change]:
        """All cells of a wrong register, at one timestamp."""
        if cells is not None and self._expected.is_register(self._row, cells):
            return
        columns = self._last.keys() - {ROW}
        above_wrong = max((cell.at + 1 for cell in (cells or {}).values()), default=0)
        if columns - (cells or {}).keys():  # a deletion may hide what is written
            above_wrong = max([above_wrong, *(self._put(column, None).at for column in columns)])
        for column in columns:
            stored = (cells or {}).get(column)
            value = stored.value if stored is not None else None
            right = self._last[column]
            at = max(right.at, above_wrong)
            above = at != right.at and self._above(at)
            yield Change(self._row, column, value, right.value, at, above)

    def order(self, cells: Mapping[str, Cell], made: Iterable[Change]) -> Iterable[Change]:
        """Yields what puts two rivals in order again where a timestamp had to be raised."""
        loser, winner = self._rivals()
        now = {column: cell.at for column, cell in cells.items()}
        now |= {change.column: change.at for change in made if change.right is not None}
        if not {loser, winner} <= now.keys():
            return
        is_second = winner == RIVALS[self._row[0]][1]  # of equal timestamps the first wins
        if now[winner] >= now[loser] + is_second:
            return
        value = cells[winner].value if winner in cells else None
        right, at = self._last[winner].value, now[loser] + is_second
        yield Change(self._row, winner, value, right, at, self._above(at))

    def _rivals(self) -> tuple[str, str]:
        """Returns which of two rivals loses by what the log says, and which wins; "" for none."""
        one, other = RIVALS.get(self._row[0], ("", ""))
        if not {one, other} <= self._last.keys():
            return "", ""
        is_other = self._last[other].at > self._last[one].at
        return (one, other) if is_other else (other, one)

    def _gone(self, cells: Mapping[str, Cell]) -> Change:
        """Nobody said anything of the row."""
        known = max((cell.at for cell in cells.values()), default=0)
        at = (known, max(known, self._end), _now())[min(self._tried(ROW), 2)]
        stored = {column: cell.value for column, cell in cells.items()} or "there"
        return Change(self._row, ROW, stored, None, at, self._above(at))

    def _put(self, column: str, stored: Cell | None) -> Change:
        right = self._last[column]
        if stored is None:
            top = self._end + (column != self._rivals()[0])  # whoever loses stays below the other
            above_first = right.at if self._is_by_id else max(right.at, 0)
            ladder = (right.at, above_first, max(right.at, top), _now())
            at, value = ladder[min(self._tried(column), 3)], None
        else:
            at, value = max(right.at, stored.at + 1), stored.value
        if (self._row[0], column) not in AGED or at == right.at:
            above = at != right.at and self._above(at)
            return Change(self._row, column, value, right.value, at, above)
        # The offset that is read out of a timestamp is the same above and below zero.
        is_hopeless = at > abs(right.at)
        return Change(self._row, column, value, right.value, -right.at, False, is_hopeless)

    def _above(self, at: int) -> bool:
        """Whether a timestamp is above what the next record of the partition gives."""
        return at > self._end + 1

    def _tried(self, column: str) -> int:
        return self._tries.get((self._row, column), 0)


def _now() -> int:
    return time.time_ns() // 1000
