"""Where followers are cut, as plain data."""

from __future__ import annotations

import itertools
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.timelines.audience import backfill_chunk, end_of, fan_out_chunk
from projections.timelines.chunks import END, Cuts, _name, _named

IDS = st.integers(0, END - 1)
FIRSTS = st.lists(IDS, unique=True, max_size=8).map(lambda ids: array("q", sorted({0, *ids})))


def cuts(active: array[int], every: array[int] | None = None) -> Cuts:
    return Cuts(active, active if every is None else every)


@given(FIRSTS, FIRSTS)
def test_cuts_come_back_from_the_cache(active: array[int], every: array[int]) -> None:
    assert Cuts.unpack(cuts(active, every).pack()) == cuts(active, every)


@given(FIRSTS, IDS)
def test_every_id_is_in_one_chunk(active: array[int], follower: int) -> None:
    (one,) = [r for r in cuts(active).ranges() if r[0] <= follower < r[1]]
    assert cuts(active).touched_by(follower) == {one[0]}
    assert cuts(active).within(follower, follower + 1) == [one]


@given(FIRSTS, FIRSTS)
def test_a_range_of_before_is_a_union_of_the_finer_chunks(
    coarse: array[int], more: array[int]
) -> None:
    fine = cuts(array("q", sorted({*coarse, *more})))
    for first, end in cuts(coarse).ranges():
        parts = fine.within(first, end)
        assert (parts[0][0], parts[-1][1]) == (first, end)
        assert all(one[1] == two[0] for one, two in itertools.pairwise(parts))


@given(FIRSTS, FIRSTS, IDS)
def test_a_follow_touches_the_chunk_that_is_about_to_be_too(
    active: array[int], more: array[int], follower: int
) -> None:
    every = array("q", sorted({*active, *more}))
    touched = cuts(active, every).touched_by(follower)
    assert touched == cuts(active).touched_by(follower) | cuts(every).touched_by(follower)


def test_who_is_not_large_has_no_chunks() -> None:
    nobody = cuts(array("q"))
    assert (nobody.ranges(), nobody.within(0, END), nobody.touched_by(7)) == ([], [], set())


@given(IDS, IDS)
def test_a_chunk_is_named_by_author_and_first_id(author: int, first: int) -> None:
    assert _named(_name(author, first)) == (author, first)


@pytest.mark.parametrize("end", [8, END])
def test_an_event_says_its_range(end: int) -> None:
    assert end_of(fan_out_chunk(1, 2, 3, 4, end)) == end
    assert end_of(backfill_chunk(1, 2, 3, 4, end)) == end


def test_planning_again_says_the_same() -> None:
    assert fan_out_chunk(1, 2, 3, 4, 8) == fan_out_chunk(1, 2, 3, 4, 8)
