"""What follows from a state, and how the threshold follows the backlog."""

from __future__ import annotations

from projections.timelines.keeper import Threshold
from projections.timelines.tiers import Row, State, view_of

LOOKS = Threshold.PATIENCE


def test_a_state_decides_who_pushes_who_pulls_and_what_is_collected() -> None:
    view = view_of([Row(number, state, "") for number, state in enumerate(State)])
    promoting, celebrity, demoting, draining = range(4)
    assert view.pulled == {celebrity, demoting, draining}
    assert view.unpushed == {celebrity}
    assert view.collected == {promoting, celebrity, demoting}


def test_who_is_not_pushed_is_pulled_and_collected() -> None:
    view = view_of([Row(number, state, "") for number, state in enumerate(State)])
    assert view.unpushed <= view.pulled & view.collected


def test_the_threshold_is_lowered_while_the_backlog_stays_and_raised_again() -> None:
    threshold = Threshold(1_000, 100, backlog_max=50)
    assert [threshold.observe(51) for _ in range(LOOKS)] == [False] * (LOOKS - 1) + [True]
    assert threshold.now == 500
    for _ in range(10 * LOOKS):
        threshold.observe(1_000_000)
    assert threshold.now == 100
    for _ in range(10 * LOOKS):
        threshold.observe(0)
    assert threshold.now == 1_000


def test_a_burst_changes_nothing() -> None:
    threshold = Threshold(1_000, 100, backlog_max=50)
    for _ in range(20):
        assert not any(threshold.observe(backlog) for backlog in (60, 60, 30))
    assert threshold.now == 1_000


def test_a_middling_backlog_neither_lowers_nor_raises() -> None:
    threshold = Threshold(1_000, 100, backlog_max=50)
    for _ in range(LOOKS):
        threshold.observe(51)
    assert not any(threshold.observe(40) for _ in range(5 * LOOKS))
    assert threshold.now == 500
