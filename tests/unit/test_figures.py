"""The table of the fault tests: rows of a run replace those of the same fault, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.figures import BEGIN, END, HEAD, Figures, rewritten

DOCUMENT = f"Before.\n\n{BEGIN}\n{END}\n\nAfter.\n"


def test_rows_are_ordered_and_kept_until_measured_again() -> None:
    first = rewritten(DOCUMENT, [Figures("b", 2), Figures("a", 1, 2.34, 5, 1_000)], whole=True)
    assert "| a | 1 | 2.3 | 5 | 1,000 |  |  |  |\n| b | 2 |" in first
    second = rewritten(first, [Figures("b", 3, more="words")], whole=False)
    rows = [line for line in second.splitlines() if line.startswith("| ")]
    assert rows == [
        HEAD[0],
        "| a | 1 | 2.3 | 5 | 1,000 |  |  |  |",
        "| b | 3 |  |  |  |  |  | words |",
    ]
    assert second.startswith("Before.") and second.endswith("After.\n")


def test_a_whole_run_forgets_faults_that_are_no_more() -> None:
    first = rewritten(DOCUMENT, [Figures("a", 1)], whole=True)
    assert "| a |" not in rewritten(first, [Figures("b", 2)], whole=True)


def test_a_document_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="lacks"):
        rewritten("Before.", [], whole=True)


def test_the_document_has_its_table() -> None:
    document = Path(__file__).parents[2] / "docs" / "reliability.md"
    assert "| new |" in rewritten(document.read_text(), [Figures("new", 1)], whole=False)
