from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.store import id_timestamp
from projections.timelines.layout import (
    Followers,
    Relations,
    entries,
    in_force,
    pack_ids,
    unpack_ids,
)

ids = st.integers(min_value=1, max_value=(1 << 63) - 1)
id_sets = st.frozensets(ids, max_size=20)


@given(st.lists(ids))
def test_ids_survive_packing(some: list[int]) -> None:
    assert list(unpack_ids(pack_ids(some))) == some
    assert len(pack_ids(some)) == 8 * len(some)


@given(id_sets, id_sets, id_sets, id_sets)
def test_relations_survive_packing(
    following: frozenset[int],
    blocking: frozenset[int],
    blocked_by: frozenset[int],
    muted: frozenset[int],
) -> None:
    relations = Relations(following, blocking | blocked_by, blocking, muted)
    assert Relations.unpack(relations.pack()) == relations


@given(st.lists(ids))
def test_followers_survive_packing_and_a_celebrity_has_none(some: list[int]) -> None:
    packed = Followers(array("q", some)).pack()
    assert Followers.unpack(packed).ids == array("q", some)
    assert Followers.unpack(Followers(None).pack()).ids is None


@given(ids, ids)
def test_id_timestamps_keep_order_and_lie_in_the_past(a: int, b: int) -> None:
    assert (id_timestamp(a) < id_timestamp(b)) == (a < b)
    assert -(1 << 63) < id_timestamp(a) < 0


@pytest.mark.parametrize(
    ("follow", "block", "expected"),
    [(None, None, False), (0, None, False), (5, None, True), (5, 4, True), (5, 6, False)],
)
def test_a_follow_is_in_force_above_the_last_block(
    follow: int | None, block: int | None, expected: bool
) -> None:
    assert in_force(follow, block) is expected


def test_a_deletion_without_its_post_is_no_entry() -> None:
    rows = [(1, 12, 0, 0, None), (1, 11, None, None, True), (1, 10, 0, 0, True), (1, 9, 3, 0, None)]
    assert [entry.tweet_id for entry in entries(rows)] == [12, 9]
