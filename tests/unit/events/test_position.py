"""Positions as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.position import Position


@given(
    st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True),
    st.integers(0, 10**6),
    st.integers(0, 10**18 - 1),
)
def test_the_text_form_comes_back(topic: str, partition: int, offset: int) -> None:
    position = Position(topic, partition, offset)
    assert Position.parse(str(position)) == position


def test_the_text_form_is_the_documented_one() -> None:
    assert str(Position("new-tweets", 3, 1234)) == "new-tweets/3@1234"


@pytest.mark.parametrize(
    "text", ["", "new-tweets", "a/b@1", "a/1@", "a/-1@2", "a/1@2\n", "a/1@2 ", "/1@2", "a/1@٣"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.parse(text)
