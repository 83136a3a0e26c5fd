"""Time and ids for simulated events.

Two sources of each, so that the generator itself stays pure: virtual time with ids made from it
for tests (the same seed gives the same events, byte for byte), wall time with ids of the real
minter for a live run (ids and times near now, and a second run of a seed repeats no id).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from events.snowflake import SEQUENCE_MAX, TIME_SHIFT, compose, wall_clock_ms

Ids: TypeAlias = Callable[[], int]
"""Mints the next id; ascending within one process."""


class Clock(Protocol):
    """Where the generator reads the time of the next event."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def advance(self, load: float) -> None:
        """One event has happened while the population was ``load`` times as busy as on average."""
        ...


class WallClock:
    """The machine's clock; whoever consumes the events sets the pace."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return wall_clock_ms()

    def advance(self, load: float) -> None:
        """Nothing: time passes by itself."""


class VirtualClock:
    """Time that passes by ``1 / (rate * load)`` seconds an event.

    Args:
        start_ms: First instant, milliseconds since the Unix epoch.
        rate: Events a second at average load.
    """

    def __init__(self, start_ms: int, rate: float) -> None:
        self._now_ms = float(start_ms)
        self._step_ms = 1000.0 / rate

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return int(self._now_ms)

    def advance(self, load: float) -> None:
        """Let the time of one event pass."""
        self._now_ms += self._step_ms / load


def virtual_ids(clock: Clock, machine: int = 0) -> Ids:
    """Snowflake ids from a virtual clock; past 4,096 in one millisecond they run ahead of it."""
    last = 0

    def mint() -> int:
        nonlocal last
        first = compose(clock.now_ms(), machine, 0)
        if first > last:
            last = first
        elif last & SEQUENCE_MAX == SEQUENCE_MAX:
            last += (1 << TIME_SHIFT) - SEQUENCE_MAX
        else:
            last += 1
        return last

    return mint
