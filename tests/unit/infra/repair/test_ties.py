"""A user's ties: whose chunks of followers are drawn from the rows of a repair."""

from __future__ import annotations

from infra.repair.cells import Row
from infra.repair.ties import Graph


def test_rows_of_either_side_say_who_follows_whom() -> None:
    rows: list[Row] = [
        ("graph_in", (9, 4)),
        ("graph_out", (5, 9)),
        ("graph_out", (9, 6)),
        ("positions", ("social-graph", 0)),
    ]
    assert Graph(9).follows(rows) == {(9, 4), (9, 5), (6, 9)}
