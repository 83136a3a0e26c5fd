"""The breaker's states, with time as an argument; and the budget of retries."""

from __future__ import annotations

from gateway.guards.breaker import WINDOW_SECONDS, Breaker, State, Thresholds
from gateway.guards.budget import RETRIES_BURST_MAX, RETRY_SHARE, RetryBudget

AT = Thresholds(bad_min=3, bad_share=0.5, slow_seconds=1.0, trials_max=2, successes_min=2)


def opened() -> Breaker:
    breaker = Breaker(AT)
    for _ in range(AT.bad_min):
        breaker.failed(0.0)
    assert breaker.state is State.OPEN
    return breaker


def test_it_opens_by_failures_once_they_are_enough() -> None:
    breaker = Breaker(AT)
    assert breaker.failed(0.0) is breaker.failed(0.1) is State.CLOSED
    assert breaker.failed(0.2) is State.OPEN
    assert not breaker.admit()


def test_a_small_share_of_failures_does_not_open_it() -> None:
    breaker = Breaker(AT)
    for n in range(1_000):
        breaker.answered(0.01, n / 100)
        breaker.answered(0.01, n / 100)
        breaker.failed(n / 100)
    assert breaker.state is State.CLOSED


def test_it_opens_by_slowness_though_every_call_is_answered() -> None:
    breaker = Breaker(AT)
    for n in range(AT.bad_min):
        assert breaker.state is State.CLOSED
        breaker.answered(AT.slow_seconds, float(n))
    assert breaker.state is State.OPEN


def test_silence_opens_it_however_much_was_answered_before() -> None:
    breaker = Breaker(AT)
    for n in range(1_000):
        breaker.answered(0.01, n / 1_000)
    for _ in range(AT.bad_in_a_row):
        assert breaker.state is State.CLOSED
        breaker.failed(1.0)
    assert breaker.state is State.OPEN


def test_many_failures_of_one_moment_are_one_stall() -> None:
    breaker = Breaker(Thresholds(bad_seconds=0.5))
    for _ in range(100):
        assert breaker.failed(1.0) is State.CLOSED
    assert breaker.failed(1.4) is State.CLOSED
    breaker.answered(0.01, 1.4)
    assert breaker.failed(1.5) is State.CLOSED
    assert breaker.failed(2.0) is State.OPEN


def test_what_is_past_the_window_is_forgotten() -> None:
    breaker = Breaker(AT)
    breaker.failed(0.0)
    breaker.failed(0.0)
    assert breaker.failed(WINDOW_SECONDS + 1.0) is State.CLOSED


def test_half_open_lets_a_few_through_and_closes_on_their_success() -> None:
    breaker = opened()
    assert breaker.probed() is State.HALF_OPEN
    assert [breaker.admit() for _ in range(3)] == [True, True, False]
    breaker.ended()
    assert breaker.admit()
    assert breaker.answered(0.1, 1.0) is State.HALF_OPEN
    assert breaker.answered(0.1, 1.0) is State.CLOSED
    # What was bad before it opened does not count any more.
    assert breaker.failed(1.0) is State.CLOSED


def test_half_open_one_bad_call_opens_it_again() -> None:
    failed, slow = opened(), opened()
    failed.probed()
    slow.probed()
    assert failed.failed(1.0) is State.OPEN
    assert slow.answered(AT.slow_seconds, 1.0) is State.OPEN


def test_late_results_of_an_open_breaker_change_nothing() -> None:
    breaker = opened()
    assert breaker.answered(0.1, 1.0) is State.OPEN
    assert breaker.failed(1.0) is State.OPEN


def test_retries_are_a_tenth_of_the_calls_and_a_burst() -> None:
    budget = RetryBudget()
    calls, retries = 5_000, 0
    for _ in range(calls):
        budget.called()
        retries += budget.take()
    assert RETRY_SHARE * calls <= retries <= RETRY_SHARE * calls + RETRIES_BURST_MAX
