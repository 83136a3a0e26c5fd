"""Which of two records counts, and what redrives add to the counts of a cached entry."""

from __future__ import annotations

import pytest

from projections.engagement.layout import Adjustment, Counts, pack
from projections.engagement.redriven import first_of, like_of, referred
from projections.versions import first, latest


@pytest.mark.parametrize(
    ("ordinary", "redriven", "like"),
    [
        ((None, None), (9, latest(5)), 9),
        ((8, latest(3)), (9, latest(5)), 9),
        ((8, latest(7)), (9, latest(5)), 8),
        ((0, latest(7)), (9, latest(5)), 0),
        ((8, latest(3)), (0, latest(5)), 0),
        ((8, latest(5)), (8, latest(5)), 8),
        ((8, latest(3)), (None, None), 8),
        ((None, None), (None, None), 0),
    ],
)
def test_of_a_users_likes_the_last_counts(
    ordinary: tuple[int | None, int | None], redriven: tuple[int | None, int | None], like: int
) -> None:
    assert like_of(*ordinary, *redriven) == like


def test_of_two_posts_the_first_counts() -> None:
    assert first_of("a", first(3), "b", first(5)) == "a"
    assert first_of("a", first(5), "b", first(3)) == "b"
    assert first_of(None, None, "b", first(3)) == "b"
    assert first_of("a", first(5), None, None) == "a"


def test_a_redriven_post_counts_until_it_is_deleted() -> None:
    row = (7, 1, None, None, None, None, None, 5, 0, 0, first(3), None)
    one = referred(row)
    assert (one.counted, one.stands, one.every) == ((0, 0, 0), (5, 0, 0), frozenset({("reply", 5)}))
    deleted = referred((*row[:6], True, *row[7:]))
    assert (deleted.counted, deleted.stands) == ((0, 0, 0), (0, 0, 0))


def test_a_redriven_deletion_takes_back_what_was_counted() -> None:
    one = referred((7, 1, 5, 0, 6, first(3), None, None, None, None, None, True))
    assert (one.counted, one.stands, one.redriven) == ((5, 0, 6), (0, 0, 0), True)


def test_an_entry_shows_its_registers_and_what_redrives_add() -> None:
    rows = [
        ("engagements/1", 40, 10, 100, None, None, None),
        ("new-tweets/2", 9, None, None, 3, 2, 1),
        ("redrive/0", 4, None, 5, None, None, None),
        ("redriven", 0, None, None, None, None, None),
    ]
    added = Adjustment(likes=-1, replies=1, retweets=-2)
    assert Counts.unpack(pack(rows, added)) == Counts(0, 4, 9, 1, 105)
    assert Counts.unpack(pack(rows[:2])) == Counts(2, 3, 10, 1, 100)
