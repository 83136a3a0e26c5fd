"""Which units `murmur worker` feeds, by how they are named."""

from __future__ import annotations

import pytest

from infra import compose
from infra.cli.output import CommandError
from infra.cli.worker import named


def test_each_unit_is_fed_once() -> None:
    assert named(["timelines", "tweets", "timelines"]) == ["timelines", "tweets"]


def test_all_names_each_of_them() -> None:
    assert named(["all"]) == named(["tweets", "all"]) == list(compose.UNITS)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(CommandError, match=r"no unit is called tweet; there are .*tweets.* all"):
        named(["tweet", "timelines"])
