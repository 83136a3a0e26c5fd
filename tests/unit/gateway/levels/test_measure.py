"""Levels by measurement: how they rise and fall, whatever the signals do."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.levels.level import Level
from gateway.levels.measure import (
    FAN_OUT,
    LADDERS,
    LAG,
    LOOP,
    STORE,
    Measure,
    MeasureSettings,
    asked,
)

RISE, HOLD = 3.0, 30.0
SETTINGS = MeasureSettings(rise_seconds=RISE, hold_seconds=HOLD)


def run(measure: Measure, signals: Mapping[str, float], start: float, seconds: float) -> list[int]:
    """Looks once a second; returns the levels that it went through."""
    found: list[int] = []
    for at in range(int(seconds) + 1):
        level = measure.observe(signals, start + at)
        if not found or found[-1] != level:
            found.append(int(level))
    return found


def test_it_rises_step_by_step_and_falls_step_by_step() -> None:
    measure = Measure(SETTINGS)
    assert run(measure, {LOOP: 12.0}, 0, 30) == [0, 1, 2, 4]
    assert measure.reason == "event loop at 12.0 of its threshold"
    assert run(measure, {LOOP: 0.0}, 31, 4 * HOLD) == [4, 2, 1, 0]


def test_pull_only_is_entered_by_the_lag_of_the_fan_out_alone() -> None:
    measure = Measure(SETTINGS)
    assert run(measure, {LAG: 5.0}, 0, 60) == [0, 1, 2]
    assert run(measure, {FAN_OUT: 5.0}, 100, 60) == [2, 3]
    assert run(measure, {FAN_OUT: 20.0}, 200, 60) == [3, 4]
    assert run(measure, {FAN_OUT: 3.0}, 300, HOLD + 1) == [4, 3]  # twice that would ask for it
    assert run(measure, {FAN_OUT: 1.9}, 400, HOLD + 1) == [3, 2]


def test_pull_only_is_not_entered_while_the_store_drags_and_not_left_because_it_does() -> None:
    measure = Measure(SETTINGS)
    assert run(measure, {FAN_OUT: 5.0, STORE: 1.0}, 0, 60) == [0, 1, 2]
    assert run(measure, {FAN_OUT: 5.0, STORE: 0.9}, 100, 60) == [2, 3]
    assert run(measure, {FAN_OUT: 5.0, STORE: 1.5}, 200, 60) == [3]


def test_it_never_exceeds_the_highest() -> None:
    measure = Measure(MeasureSettings(highest=Level.NORMAL, rise_seconds=0))
    assert run(measure, dict.fromkeys(LADDERS, 1000.0), 0, 10) == [0]
    measure = Measure(MeasureSettings(highest=Level.STALE, rise_seconds=0))
    assert run(measure, dict.fromkeys(LADDERS, 1000.0), 0, 10) == [1, 2]


def test_a_burst_and_what_hovers_change_nothing() -> None:
    measure = Measure(SETTINGS)
    for at in range(101):  # a second above, a second below
        assert measure.observe({LOOP: 3.0 * (at % 2)}, float(at)) is Level.NORMAL
    assert run(measure, {LOOP: 1.0}, 200, 5) == [0, 1]
    for at in range(300, 500):
        assert measure.observe({LOOP: 0.6 if at % 2 else 0.9}, float(at)) is Level.LEAN


@pytest.mark.parametrize(
    ("signals", "level"),
    [({}, 0), ({LOOP: 0.99}, 0), ({LOOP: 1.0, LAG: 2.0}, 2), ({LAG: 20.0}, 4), ({FAN_OUT: 4.0}, 3)],
)
def test_what_the_signals_ask_for(signals: dict[str, float], level: int) -> None:
    assert asked(signals, Level.NORMAL)[0] == level


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(sorted(LADDERS)), st.floats(0, 50), max_size=6),
            st.floats(0.1, 40),
        ),
        max_size=60,
    )
)
def test_the_rate_of_change_is_bounded_whatever_the_signals(
    looks: list[tuple[dict[str, float], float]],
) -> None:
    measure, now, before = Measure(SETTINGS), 0.0, Level.NORMAL
    changed_at = float("-inf")
    for signals, pause in looks:
        now += pause
        level = measure.observe(signals, now)
        if level is not before:
            step = level - before
            assert step in (1, -1) or {level, before} == {Level.STALE, Level.READ_ONLY}
            assert now - changed_at >= (RISE if step > 0 else HOLD)
            changed_at = now
        before = level
