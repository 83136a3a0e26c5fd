"""What a gateway measures: lag in seconds, p99 of what was answered."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway.guards.breaker import Thresholds
from gateway.guards.guard import RECENT_MAX, Guard
from gateway.metrics import GatewayMetrics
from infra.cli.degrade import duration_ms
from infra.cli.output import CommandError
from infra.degrading import CALLS_MIN, WINDOW_LOOKS, Behind, Slowest


def test_the_lag_is_how_long_ago_the_log_ended_where_the_unit_is() -> None:
    behind = Behind()
    assert behind.look(0.0, end=100, applied=100) == 0.0
    assert behind.look(2.0, end=200, applied=150) == 2.0
    assert behind.look(4.0, end=300, applied=200) == 2.0
    assert behind.look(6.0, end=300, applied=200) == 4.0
    assert behind.look(8.0, end=300, applied=300) == 0.0


def test_what_was_behind_from_the_start_lags_since_the_start() -> None:
    behind = Behind()
    assert behind.look(10.0, end=100, applied=0) == 0.0
    assert behind.look(40.0, end=100, applied=50) == 30.0
    assert behind.look(41.0, end=100, applied=100) == 0.0


def _guard() -> Guard:
    async def probe() -> None: ...

    metrics = GatewayMetrics(CollectorRegistry())
    return Guard("store", Thresholds(), probe, metrics)


def test_p99_is_of_the_last_looks_and_of_enough_calls() -> None:
    guard = _guard()
    slowest = Slowest(guard)
    for _ in range(CALLS_MIN - 1):
        guard.answered(9.0)
    assert slowest.look() == 0.0
    guard.answered(9.0)
    assert slowest.look() == 9.0
    for _ in range(98 * CALLS_MIN):
        guard.answered(0.01)
    for _ in range(WINDOW_LOOKS):
        found = slowest.look()
    assert found == 0.01
    assert slowest.look() == 0.0


def test_a_guard_remembers_no_more_calls_than_its_bound() -> None:
    guard = _guard()
    for _ in range(2 * RECENT_MAX):
        guard.answered(0.0)
    assert len(guard.take_recent()) == RECENT_MAX
    assert guard.take_recent() == []


@pytest.mark.parametrize(
    ("text", "found"), [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000)]
)
def test_how_long_is_said_in_units(text: str, found: int) -> None:
    assert duration_ms(text) == found


@pytest.mark.parametrize("text", ["", "10", "m", "0m", "-1m", "1.5h", "1 m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        duration_ms(text)
