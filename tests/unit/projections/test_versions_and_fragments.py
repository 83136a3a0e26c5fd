"""Timestamps that follow from offsets, and the times and braces of fragments."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections import fragments, versions

OFFSETS = st.integers(0, 2**45)


@given(OFFSETS, OFFSETS)
def test_timestamps_order_as_they_say(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert versions.first(high) <= versions.first(low) < 0
    assert 0 < versions.latest(low) <= versions.latest(high)
    assert versions.latest(high) < versions.final(low) < 1_600_000_000_000_000  # not in the future
    assert versions.offset_of(versions.first(a)) == versions.offset_of(versions.latest(a)) == a


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_714_550_400_123, "2024-05-01T08:00:00.123Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc_3339_with_milliseconds(milliseconds: int, text: str) -> None:
    assert fragments.rfc3339(milliseconds) == text


class Thing(msgspec.Struct):
    id: str


def test_an_open_object_takes_another_member() -> None:
    body = fragments.open_object(Thing("1"))
    assert msgspec.json.decode(body + b',"n":2}') == {"id": "1", "n": 2}
