"""What the worker is doing, in words, and since when: the last word of a process that got stuck.

Written by the worker's loop and read by the watchdog's thread; every field is replaced whole, so
that no lock is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """One process's present activity."""

    def __init__(self) -> None:
        self._now: tuple[str, float] = ("starting", time.monotonic())
        self._trouble = ""

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Says ``what`` for as long as the block runs."""
        before = self._now
        self._now = (what, time.monotonic())
        try:
            yield
        finally:
            self._now = before

    def idle(self) -> None:
        """Says that nothing is in hand."""
        self._now = ("waiting for a slice", time.monotonic())

    def trouble(self, what: str) -> None:
        """Says what failed last; empty once it works again."""
        self._trouble = what

    def __str__(self) -> str:
        what, since = self._now
        text = f"{what} for {time.monotonic() - since:.1f} s"
        return f"{text}; last failure: {self._trouble}" if self._trouble else text
