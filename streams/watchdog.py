"""The watchdog: ends a process whose commits are frozen while there is lag.

It runs in a thread of its own, because what it must notice may be an event loop that never returns.
The loop feeds it ``observe`` about once a second. Stuck is a partition that is behind the log's end
and whose committed offset does not move, or that was assigned and has no position yet; stuck too is
a loop that has stopped feeding. After ``stall_seconds`` it says its last word and ends the process,
so that a supervisor starts another, which resumes from the state.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faust.types import TP

from streams.activity import Activity
from streams.errors import Stalled


@dataclass(frozen=True)
class Progress:
    """Where one partition stands.

    Attributes:
        committed: The group's committed offset, ``None`` when there is none.
        end: The log's last stable offset, ``None`` before the first fetch.
        resumed: Whether the unit has said where to read from.
    """

    committed: int | None
    end: int | None
    resumed: bool = True

    @property
    def lag(self) -> int:
        """Offsets that are not committed yet, as far as is known."""
        return max(0, (self.end or 0) - (self.committed or 0))

    @property
    def behind(self) -> bool:
        """Whether there is something left to do."""
        return not self.resumed or self.lag > 0


class Stalls:
    """Since when which partition is stuck. Times are ``time.monotonic()`` seconds."""

    def __init__(self, now: float) -> None:
        self._seen: dict[TP, tuple[Progress, float]] = {}
        self._observed = now

    def observe(self, now: float, progress: Mapping[TP, Progress]) -> None:
        """Takes what is true now; partitions that are not named are no longer ours."""
        seen = {}
        for tp, new in progress.items():
            old, since = self._seen.get(tp, (new, now))
            moved = not new.behind or not old.behind or new.committed != old.committed
            seen[tp] = (new, now if moved else since)
        self._seen, self._observed = seen, now

    def longest(self, now: float) -> tuple[TP | None, Progress | None, float]:
        """The partition stuck longest and for how many seconds; no partition: the loop itself."""
        silent = now - self._observed
        stuck = [(now - since, tp, p) for tp, (p, since) in self._seen.items() if p.behind]
        if stuck:
            seconds, tp, progress = max(stuck, key=lambda item: item[0])
            return tp, progress, seconds
        return None, None, silent


def last_word(
    unit: str, tp: TP | None, progress: Progress | None, seconds: float, activity: Activity
) -> str:
    """One line that says what froze, where, for how long, and what the worker was doing."""
    if tp is None or progress is None:
        return f"unit {unit}: the event loop has not answered for {seconds:.0f} s; {activity}"
    place = f"{tp.topic}/{tp.partition}"
    if not progress.resumed:
        return f"unit {unit}: {place} has had no position for {seconds:.0f} s; {activity}"
    return (
        f"unit {unit}: commits of {place} are frozen at offset {progress.committed or 0} for "
        f"{seconds:.0f} s with {progress.lag} behind (the log ends at {progress.end}); {activity}"
    )


def end_process(word: str) -> None:
    """Prints every thread's stack and then the last word, and ends the process."""
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    print(word, file=sys.stderr, flush=True)
    os._exit(Stalled.exit_code)


class Watchdog:
    """The thread; ``end`` is what it does about a stall."""

    def __init__(
        self,
        unit: str,
        stall_seconds: float,
        activity: Activity,
        end: Callable[[str], None] = end_process,
    ) -> None:
        self._unit = unit
        self._bound = stall_seconds
        self._activity = activity
        self._end = end
        self._stopped = threading.Event()
        self.stalls = Stalls(time.monotonic())
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stops to watch, at once."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._bound / 4)):
            tp, progress, seconds = self.stalls.longest(time.monotonic())
            if seconds > self._bound:
                self._end(last_word(self._unit, tp, progress, seconds, self._activity))
                return
