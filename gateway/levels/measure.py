"""The level that a process's own measurements ask for.

A *signal* is a measurement divided by its threshold, the value from which on it asks for level 1;
twice that asks for level 2, and so on (``LADDERS``). Which signal may ask for which level:

- *load* (event loop, requests under way, p99 of Redis and of the store): 1 and 2, which make reads
  cheaper; and 4, of the event loop alone, when the process can hardly answer at all;
- *lag* of a unit: 1 and 2, which leave the engines to the workers, and 4, which lets them catch up;
- *lag of the fan-out*: 3 as well. Pushing is what it lags at, and pull only does without. But
  reading then costs the store more, so not while the store is what drags.

Keeps true, whatever the signals do (``settings`` name the times):

1. it rises by one level at a time, and only after ``rise_seconds`` in which the signals asked for
   more all along;
2. it falls by one level at a time, and only after ``hold_seconds`` in which they would have asked
   for less with their thresholds halved: what hovers at a threshold changes nothing;
3. it never exceeds ``highest``.

So it changes at most once in ``rise_seconds``, and what a level took off the load cannot end it at
once. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.levels.level import Level

LOOP, UNDER_WAY = "event loop", "requests under way"
REDIS, STORE = "redis p99", "store p99"
LAG, FAN_OUT = "lag", "fan-out lag"

_LOAD = {Level.LEAN: 1.0, Level.STALE: 2.0}
LADDERS: Mapping[str, Mapping[Level, float]] = {
    LOOP: {**_LOAD, Level.READ_ONLY: 10.0},
    UNDER_WAY: _LOAD,
    REDIS: _LOAD,
    STORE: _LOAD,
    LAG: {**_LOAD, Level.READ_ONLY: 20.0},
    FAN_OUT: {**_LOAD, Level.PULL_ONLY: 4.0, Level.READ_ONLY: 20.0},
}
"""By signal: how many times its threshold asks for each level."""

CALM = 2.0
"""A level is left when the signals, times this, do not ask for it."""


class MeasureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When levels change.

    Attributes:
        highest: The highest level that is entered by measurement.
        rise_seconds: How long the signals must ask for a higher level.
        hold_seconds: How long they must not ask for the present one.
    """

    highest: Level = Level.READ_ONLY
    rise_seconds: float = 3.0
    hold_seconds: float = 30.0


class Measure:
    """Turns signals into a level."""

    def __init__(self, settings: MeasureSettings) -> None:
        self._settings = settings
        self._above_since: float | None = None
        self._calm_since: float | None = None
        self.level = Level.NORMAL
        self.reason = ""

    def observe(self, signals: Mapping[str, float], now: float) -> Level:
        """Takes one look; returns the level from now on.

        Args:
            signals: By name, as multiples of their thresholds.
            now: Seconds on a clock that only goes forward.
        """
        wanted, reason = asked(signals, self.level, self._settings.highest)
        calm, _ = asked(
            {name: CALM * value for name, value in signals.items()},
            self.level,
            self._settings.highest,
        )
        self._above_since = _since(self._above_since, wanted > self.level, now)
        self._calm_since = _since(self._calm_since, calm < self.level, now)
        if wanted >= self.level and wanted is not Level.NORMAL:
            self.reason = reason
        if _passed(self._above_since, self._settings.rise_seconds, now):
            self.level = _next(signals, self.level, wanted)
            self._above_since = self._calm_since = None
        elif _passed(self._calm_since, self._settings.hold_seconds, now):
            self.level = _previous(signals, self.level)
            self._calm_since = None
        return self.level


def asked(
    signals: Mapping[str, float], present: Level, highest: Level = Level.READ_ONLY
) -> tuple[Level, str]:
    """Returns the highest level that a signal asks for, and which one in words."""
    found, why = Level.NORMAL, ""
    for name, value in signals.items():
        for level, times in LADDERS[name].items():
            if found < level <= highest and value >= times and _sane(level, signals, present):
                found, why = level, f"{name} at {value:.1f} of its threshold"
    return found, why


def _sane(level: Level, signals: Mapping[str, float], present: Level) -> bool:
    """Pull only is not entered while the store drags: it would read still more of it."""
    entering = level is Level.PULL_ONLY and present < level
    return not (entering and signals.get(STORE, 0.0) >= 1.0)


def _next(signals: Mapping[str, float], present: Level, wanted: Level) -> Level:
    """Returns the next level on the way up; level 3 only for what asks for it."""
    after = Level(present + 1)
    if after is Level.PULL_ONLY and wanted > after:
        times = LADDERS[FAN_OUT][Level.PULL_ONLY]
        if signals.get(FAN_OUT, 0.0) < times or not _sane(after, signals, present):
            return wanted
    return after


def _previous(signals: Mapping[str, float], present: Level) -> Level:
    """Returns the next level on the way down; level 3 only where its own lag is not over."""
    before = Level(present - 1)
    lag = CALM * signals.get(FAN_OUT, 0.0)
    if before is Level.PULL_ONLY and lag < LADDERS[FAN_OUT][before]:
        return Level.STALE
    return before


def _since(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def _passed(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since >= seconds
