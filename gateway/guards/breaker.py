"""A circuit breaker: an engine that fails or drags is not asked until a probe says it is back.

    closed ──(share of bad calls)──> open ──(a probe succeeds)──> half-open ──(successes)──> closed
                                      ^                               │
                                      └───────(any call is bad)───────┘

- *closed*: every call goes through and is counted in a window. A call is bad when the engine
  failed or did not answer in time, or took ``slow_seconds`` and more. It opens once there are
  ``bad_min`` bad calls in the window and they are ``bad_share`` of all; or, since an engine that is
  silent is known by the calls that wait for it and not by those that it answered before, once
  ``bad_in_a_row`` calls were bad with none that was good between. One stall fails many calls at
  the same moment; so the bad calls must come over ``bad_seconds`` at least.
- *open*: nothing goes through but probes; whoever asks is told at once when to come again.
- *half-open*: ``trials_max`` calls at a time go through; ``successes_min`` good ones close it.

Keeps true: no call is decided by the wall clock, and none is kept waiting. Time is an argument, so
that tests need none. Why not a library: decision 0090.

Bounded by: ``WINDOW_SECONDS`` counters.
"""

from __future__ import annotations

import enum
from collections import deque

import msgspec

WINDOW_SECONDS = 10
"""How far back calls are counted; one counter a second."""


class State(enum.IntEnum):
    """Of a breaker; the number is what the metric shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker changes its state.

    Attributes:
        bad_min: Bad calls in the window before it opens.
        bad_share: Share of bad calls from which on it opens.
        bad_in_a_row: So many bad calls open it, whatever was before.
        bad_seconds: Time from the first of the bad calls to the last.
        slow_seconds: A call that took this long is bad, though it was answered.
        trials_max: Calls at a time while half-open.
        successes_min: Good calls that close it.
    """

    bad_min: int = 3
    bad_share: float = 0.5
    bad_in_a_row: int = 5
    bad_seconds: float = 0.0
    slow_seconds: float = float("inf")
    trials_max: int = 4
    successes_min: int = 3


class Breaker:
    """The state machine of one engine.

    Args:
        thresholds: When it changes its state.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._at = thresholds
        self._window: deque[list[int]] = deque(maxlen=WINDOW_SECONDS)  # [second, all, bad]
        self._in_a_row = 0
        self._bad_since = 0.0
        self._trials = 0
        self._successes = 0
        self.state = State.CLOSED

    def admit(self) -> bool:
        """Says whether a call may be made; one that may is ended with :meth:`ended`."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN or self._trials >= self._at.trials_max:
            return False
        self._trials += 1
        return True

    def ended(self) -> None:
        """Gives back what :meth:`admit` took, whatever became of the call."""
        self._trials = max(0, self._trials - 1)

    def answered(self, seconds: float, now: float) -> State:
        """Counts a call that was answered after so many seconds; returns the state after it."""
        if seconds >= self._at.slow_seconds:
            return self.failed(now)
        self._in_a_row = 0
        if self.state is State.HALF_OPEN:
            self._successes += 1
            if self._successes >= self._at.successes_min:
                self.state = State.CLOSED
        elif self.state is State.CLOSED:
            self._count(now, 0)
        return self.state

    def failed(self, now: float) -> State:
        """Counts a call that failed or was not answered in time; returns the state after it."""
        if self.state is State.HALF_OPEN:
            return self.open()
        if self.state is State.CLOSED:
            self._count(now, 1)
            if self._in_a_row == 0:
                self._bad_since = now
            self._in_a_row += 1
            lasting = now - self._bad_since >= self._at.bad_seconds
            made = sum(counter[1] for counter in self._window)
            bad = sum(counter[2] for counter in self._window)
            share = bad >= self._at.bad_min and bad >= self._at.bad_share * made
            if lasting and (share or self._in_a_row >= self._at.bad_in_a_row):
                return self.open()
        return self.state

    def open(self) -> State:
        """Opens it; what was counted is forgotten."""
        self.state = State.OPEN
        self._window.clear()
        self._in_a_row = 0
        return self.state

    def probed(self) -> State:
        """Says that a probe of an open breaker was answered."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN
            self._trials = self._successes = 0
        return self.state

    def _count(self, now: float, bad: int) -> None:
        second = int(now)
        while self._window and self._window[0][0] <= second - WINDOW_SECONDS:
            self._window.popleft()
        if not self._window or self._window[-1][0] != second:
            self._window.append([second, 0, 0])
        self._window[-1][1] += 1
        self._window[-1][2] += bad
