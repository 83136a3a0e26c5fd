"""Which level is in force: the order, the shared claims, what this process measured."""

from __future__ import annotations

from gateway.levels.level import Claim, Feature, Level, Levels, Order, Said

CLAIM = Claim("a:1", Level.PULL_ONLY, "fan-out lag")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def now(levels: Levels) -> Level:
    return levels.now


def test_an_order_holds_alone_until_it_ends() -> None:
    clock, told = Clock(), list[tuple[Level, str]]()
    levels = Levels(clock, lambda level, why: told.append((level, why)))
    levels.measured(Level.STALE, "event loop")
    assert now(levels) == Level.STALE
    said = Said(Order(Level.NORMAL, until_ms=5_000, actor="ada", reason="a test"), (CLAIM,))
    levels.heard(said)
    assert now(levels) == Level.NORMAL
    levels.measured(Level.READ_ONLY, "event loop")
    assert now(levels) == Level.NORMAL
    clock.now = 5_000.0
    levels.heard(said)
    assert now(levels) == Level.READ_ONLY
    assert told == [
        (Level.STALE, "measured: event loop"),
        (Level.NORMAL, "ordered by ada: a test"),
        (Level.READ_ONLY, "measured: event loop"),
    ]
    assert levels.shown() == "4: read-only (measured: event loop)"


def test_what_another_process_measured_counts_from_pull_only_on() -> None:
    levels = Levels(Clock())
    levels.heard(Said(None, (Claim("a:1", Level.STALE, "event loop"),)))
    assert now(levels) == Level.NORMAL
    levels.heard(Said(None, (Claim("a:1", Level.STALE), CLAIM)))
    assert now(levels) == Level.PULL_ONLY
    assert levels.why == "measured by a:1: fan-out lag"
    levels.heard(Said())
    assert now(levels) == Level.NORMAL and levels.why == ""


def test_each_level_takes_away_what_it_says() -> None:
    by_level = {}
    for level in Level:
        levels = Levels(Clock())
        levels.heard(Said(Order(level)))
        features = [feature for feature in Feature if levels.has(feature)]
        by_level[int(level)] = (len(features), levels.cached_only, levels.read_only)
    every = len(Feature)
    assert by_level == {
        0: (every, False, False),
        1: (0, False, False),
        2: (0, True, False),
        3: (0, False, False),
        4: (0, True, True),
    }


def test_a_refusal_says_when_to_come_again() -> None:
    clock = Clock()
    levels = Levels(clock)
    levels.heard(Said(Order(Level.READ_ONLY, until_ms=11_000)))
    assert dict(levels.refusal().headers)["retry-after"] == "10"
    levels.heard(Said(Order(Level.READ_ONLY, until_ms=3_600_000)))
    assert dict(levels.refusal().headers)["retry-after"] == "60"
    levels.heard(Said(Order(Level.READ_ONLY)))
    assert dict(levels.refusal().headers)["retry-after"] == "30"
