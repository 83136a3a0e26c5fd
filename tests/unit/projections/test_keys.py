from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.keys import SLOTS, Keys, slot_of

ids = st.integers(min_value=1, max_value=(1 << 63) - 1)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),  # CRC16/XMODEM's check value, Redis cluster specification
        (b"{user1000}.following", slot_of(b"user1000")),
        (b"foo{}{bar}", slot_of(b"foo{}{bar}")),  # an empty tag is no tag
        (b"foo{{bar}}zap", slot_of(b"{bar")),
    ],
)
def test_slots_are_those_of_the_cluster_specification(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@given(ids)
def test_all_keys_of_a_bucket_share_a_slot_with_its_positions(entity_id: int) -> None:
    keys = Keys("g1", "timelines", 64)
    bucket = keys.bucket(entity_id)
    assert 0 <= bucket < 64
    assert slot_of(keys.of("timeline", entity_id)) == slot_of(keys.positions(bucket))
    assert slot_of(keys.of("tweet", entity_id) + b":lease") == slot_of(keys.of("tweet", entity_id))


@given(st.lists(ids))
def test_keys_by_bucket_are_those_of_each_entity_in_order(entities: list[int]) -> None:
    keys = Keys("g1", "timelines", 8)
    expected: dict[int, list[bytes]] = {}
    for entity in entities:
        expected.setdefault(keys.bucket(entity), []).append(keys.of("timeline", entity))
    assert keys.by_bucket("timeline", entities) == expected


def test_snowflake_ids_of_one_millisecond_and_of_many_spread_over_buckets() -> None:
    keys = Keys("g1", "timelines", 16)
    for ids_of in (range(1 << 60, (1 << 60) + 4096), range(1 << 60, 1 << 61, 1 << 48)):
        counts = Counter(keys.bucket(entity_id) for entity_id in ids_of)
        assert len(counts) == 16
        assert max(counts.values()) < 2 * len(ids_of) / 16


def test_buckets_are_different_slots() -> None:
    keys = Keys("g1", "timelines", 64)
    assert len({slot_of(keys.positions(bucket)) for bucket in range(64)}) == 64 < SLOTS
