"""Where two plain values differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.diff.fields import FIELDS_MAX, UNSAID, Field, Partial, differing, ids_in, same

PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_fields_differ_exactly_where_values_do(a: object, b: object) -> None:
    assert bool(differing(a, b)) == (not same(a, b)) == (a != b)
    assert not differing(a, a)


def test_a_path_leads_to_the_field() -> None:
    a = {"status": "active", "profile": {"name": "x", "url": ""}}
    b = {"status": "active", "profile": {"name": "y", "url": ""}}
    assert differing(a, b) == [Field("profile.name", "x", "y")]
    assert differing(a, None) == [Field("", a, None)]


def test_ids_that_one_list_lacks_are_named() -> None:
    found = differing({"home": [5, 4, 2]}, {"home": [5, 3, 2]})
    assert found == [Field("home[4]", "there", None), Field("home[3]", None, "there")]
    assert ids_in(found) == {3, 4}
    assert ids_in(differing({"t": [[8, 9]]}, {"t": []})) == {8, 9}


def test_an_order_that_differs_is_told_by_its_first_place() -> None:
    found = differing({"home": [5, 4, 3]}, {"home": [5, 3, 4]})
    assert found == [Field("home@1", 4, 3)]
    assert ids_in(found) == {3, 4}


def test_a_repetition_is_a_difference() -> None:
    assert differing([1, 1], [1]) == [Field("", "2 entries", "1 entries")]


@pytest.mark.parametrize("flip", [False, True])
def test_what_a_side_has_no_word_on_equals_everything(flip: bool) -> None:
    said = {"offset": 3, "body": {"id": "1", "lang": "en"}}
    oracle = {"offset": UNSAID, "body": Partial(id="1")}
    a, b = (oracle, said) if flip else (said, oracle)
    assert same(a, b) and not differing(a, b)
    oracle["body"] = Partial(id="2")
    assert [field.path for field in differing(a, b)] == ["body.id"]


def test_fields_told_are_bounded() -> None:
    assert len(differing(list(range(FIELDS_MAX + 1)), [])) == FIELDS_MAX
    assert len(differing(list(range(FIELDS_MAX + 1)), [], None)) == FIELDS_MAX + 1
