"""A budget of retries: a token bucket that calls fill and retries empty.

Keeps true: over any stretch of time retries are at most ``RETRY_SHARE`` of calls, and
``RETRIES_BURST_MAX`` more. So an engine that fails under its load is not given twice that load
(Google's SRE book, "Handling Overload", has the same tenth).
"""

from __future__ import annotations

RETRY_SHARE = 0.1
RETRIES_BURST_MAX = 10.0


class RetryBudget:
    """One process's budget for one engine."""

    def __init__(self, share: float = RETRY_SHARE, burst_max: float = RETRIES_BURST_MAX) -> None:
        self._share = share
        self._burst_max = burst_max
        self._tokens = burst_max

    def called(self) -> None:
        """Counts a call's first attempt."""
        self._tokens = min(self._burst_max, self._tokens + self._share)

    def take(self) -> bool:
        """Says whether one retry may be made, and counts it."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
