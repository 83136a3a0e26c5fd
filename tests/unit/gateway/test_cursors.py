"""Cursors: they come back as they were made, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cursors import PAYLOAD_BYTES_MAX, Cursors
from gateway.problems import Problem

PAYLOADS = st.binary(max_size=PAYLOAD_BYTES_MAX)
USERS = st.integers(min_value=0, max_value=2**63 - 1)
CURSORS = Cursors(b"secret")


@given(st.text(max_size=50), USERS, PAYLOADS)
def test_a_cursor_opens_where_it_was_made(route: str, user: int, payload: bytes) -> None:
    text = CURSORS.seal(route, user, payload)
    assert CURSORS.open(route, user, text) == payload
    assert text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()


@given(st.text(max_size=50), USERS, PAYLOADS, st.text(max_size=50), USERS)
def test_a_cursor_opens_nowhere_else(
    route: str, user: int, payload: bytes, other_route: str, other_user: int
) -> None:
    text = CURSORS.seal(route, user, payload)
    for at, who in ((other_route, user), (route, other_user), (other_route, other_user)):
        if (at, who) != (route, user):
            with pytest.raises(Problem):
                CURSORS.open(at, who, text)
    with pytest.raises(Problem):
        Cursors(b"another secret").open(route, user, text)


@given(USERS, PAYLOADS, st.data())
def test_a_changed_cursor_does_not_open(user: int, payload: bytes, data: st.DataObject) -> None:
    text = CURSORS.seal("home", user, payload)
    at = data.draw(st.integers(0, len(text) - 1))
    alphabet = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.")
    changed = text[:at] + data.draw(alphabet) + text[at + 1 :]
    if changed != text:
        with pytest.raises(Problem):
            CURSORS.open("home", user, changed)


@given(st.text(max_size=600))
def test_any_text_is_refused_with_a_400(text: str) -> None:
    with pytest.raises(Problem) as refused:
        CURSORS.open("home", 1, text)
    assert refused.value.status == 400


def test_a_payload_that_is_too_long_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="1024"):
        CURSORS.seal("home", 1, b"x" * (PAYLOAD_BYTES_MAX + 1))
