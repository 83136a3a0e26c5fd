"""What the worker is doing, in words, and since when: the last word of a process that got stuck.

Written by the worker's loop and read by the watchdog's thread; every field is replaced whole, so
that no lock is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class _Doing:
    what: str
    since: float = field(default_factory=time.monotonic)


class Activity:
    """One process's present activities: one for each slice in hand, and the heartbeat."""

    def __init__(self) -> None:
        self._under_way: tuple[_Doing, ...] = ()
        self._otherwise = _Doing("starting")
        self._trouble = ""

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Says ``what`` for as long as the block runs."""
        this = _Doing(what)
        self._under_way = (*self._under_way, this)
        try:
            yield
        finally:
            self._under_way = tuple(one for one in self._under_way if one is not this)
            self._otherwise = _Doing("waiting for a slice")

    def trouble(self, what: str) -> None:
        """Says what failed last; empty once it works again."""
        self._trouble = what

    def __str__(self) -> str:
        """Returns what has been done for longest, and how much else is."""
        oldest, *others = self._under_way or (self._otherwise,)
        text = f"{oldest.what} for {time.monotonic() - oldest.since:.1f} s"
        if others:
            text += f" and {len(others)} more"
        return f"{text}; last failure: {self._trouble}" if self._trouble else text
