"""The page, the contract and the units say the same about who reads what."""

from __future__ import annotations

import importlib
import re

import pytest

from infra.compose import UNITS
from schemas import catalog
from streams import topology


def on_the_page() -> dict[str, tuple[set[str], str]]:
    """Topics and module by unit, as the docstring's table has them."""
    page = re.sub(r"(,|→ \w+)\s*\n\s+", r"\1 ", topology.__doc__ or "")  # rows that go on
    lines = [line for line in page.splitlines() if "→ projections." in line]
    rows = [[cell.strip() for cell in line.split("→")] for line in lines]
    return {unit: ({t.strip() for t in topics.split(",")}, module) for topics, unit, module in rows}


def test_the_page_names_every_unit_that_can_be_started() -> None:
    assert set(UNITS) <= set(on_the_page())


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_the_page_is_what_the_unit_reads(unit: str) -> None:
    topics, module = on_the_page()[unit]
    assert topics == importlib.import_module(module).TOPICS


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_a_unit_reads_only_topics_that_name_it_as_consumer(unit: str) -> None:
    named = {name for name, topic in catalog.topics().items() if unit in topic.consumers}
    assert on_the_page()[unit][0] <= named
