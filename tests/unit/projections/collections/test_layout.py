"""Rows of lists in any order, cut and repeated, against the oracle: no engine, only timestamps."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.slices import Record
from events.types import Event, ListCreated, ListDeleted
from projections.collections.layout import ListFragment, StoredList, standing
from projections.collections.unit import rows_of
from tests.contracts.collections_case import USERS, said_of_list
from tests.oracle_collections import CollectionsOracle
from tests.oracle_log import LogRecord

BASE = 1 << 40
LIST = BASE + 1000
COLUMNS = ("created_at", "deleted", "name", "description", "private")
CHANGED = ("new_name", "new_description", "new_private")


class Cells:
    """The table ``lists``: of each cell the value with the highest timestamp."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], dict[str, tuple[int, Any]]] = {}

    def write(self, cql: str, values: tuple[Any, ...]) -> None:
        if not cql.startswith("INSERT INTO {lists} "):
            return
        names = cql[cql.index("(") + 1 : cql.index(")")].replace(" ", "").split(",")
        given_values = iter(values)
        literals = cql[cql.rindex("(") + 1 : cql.rindex(")")].replace(" ", "").split(",")
        row: dict[str, Any] = {
            name: {"true": True, "''": ""}[literal] if literal != "?" else next(given_values)
            for name, literal in zip(names, literals, strict=True)
        }
        timestamp = next(given_values)
        cells = self._cells.setdefault((row.pop("list_id"), row.pop("user_id")), {})
        for name, value in row.items():
            cells[name] = max(cells.get(name, (timestamp, value)), (timestamp, value))

    def rows(self) -> list[tuple[Any, ...]]:
        none: tuple[None, None] = (None, None)
        return [
            (
                *key,
                cells.get("created_at", none)[1],
                cells.get("created_at", none)[0],
                *(cells.get(name, none)[1] for name in (*COLUMNS[1:], *CHANGED)),
            )
            for key, cells in self._cells.items()
        ]


@settings(max_examples=150)
@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_whatever_the_order_of_writes_the_oracles_list_stands(seed: int, length: int) -> None:
    chance = Random(seed)
    said = [said_of_list(chance, BASE + n, LIST, BASE) for n in range(length)]
    written = [
        row for offset, event in enumerate(said) for row in rows_of(Record(offset, 0, event))
    ]
    written += chance.choices(written, k=len(written)) if written else []
    chance.shuffle(written)
    cells = Cells()
    for cql, values in written:
        cells.write(cql, tuple(values))
    oracle = CollectionsOracle(LogRecord("lists", 0, n, event) for n, event in enumerate(said))
    view, found = oracle.view(LIST), standing(cells.rows()).get(LIST)
    if view is None:
        assert found is None
        return
    assert found == StoredList(
        LIST, view.owner_id, view.created_at, view.name, view.description, view.private
    )


def test_a_deleted_list_leaves_no_text() -> None:
    about: dict[str, Any] = {"occurred_at": 1, "list_id": LIST, "user_id": BASE}
    said: list[Event] = [
        ListDeleted(event_id=2, **about),
        ListCreated(event_id=1, **about, name="secret", description="too", private=True),
    ]
    cells = Cells()
    for offset, event in enumerate(said):
        for cql, values in rows_of(Record(offset, 0, event)):
            cells.write(cql, tuple(values))
    assert standing(cells.rows()) == {}
    assert "secret" not in str(cells.rows()) and "too" not in str(cells.rows())


@pytest.mark.parametrize("private", [True, False])
def test_a_fragment_says_who_sees_it(private: bool) -> None:
    stored = StoredList(LIST, 7, 1_700_000_000_000, "Birds", "", private)
    fragment = ListFragment.unpack(stored.pack(USERS))
    assert (fragment.owner_id, fragment.member_count) == (7, USERS)
    assert fragment.shown_to(7)
    assert fragment.shown_to(8) is not private
    assert fragment.body.endswith(b'"member_count":9')
