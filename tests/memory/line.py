"""One process's connections to the engines in memory: slow by chance, cut off where a test says.

An *operation* is one row written, one statement read or one Redis command. A line that was told to
break does so many of them, the last perhaps without its answer, and then either fails once
(:class:`~projections.base.RetryableError`, as an engine that was away for a moment) or for good
(:class:`Crashed`, as a process that was killed: whatever of it still runs reaches no engine).
"""

from __future__ import annotations

import asyncio
from random import Random

from projections.base import RetryableError

PAUSES = (0, 0, 1, 1, 2, 2, 3, 5, 20)
"""Turns of the event loop that a request takes; who is held up for long meets what others did."""


class Crashed(Exception):
    """The process was killed."""


class Line:
    """What stands between a process and the engines.

    Args:
        chance: Decides how long each request takes, in turns of the event loop, so that what runs
            side by side is mixed differently in each run; None: no time at all.
    """

    def __init__(self, chance: Random | None = None) -> None:
        self.chance = chance
        self._left: int | None = None
        self._kills = False
        self.killed = False
        """Whether it has broken for good."""

    def breaks_after(self, operations: int, *, kills: bool) -> None:
        """Breaks after so many more operations."""
        self._left, self._kills = operations, kills

    def mend(self) -> None:
        """Takes back what :meth:`breaks_after` said."""
        self._left, self._kills = None, False

    async def pause(self) -> None:
        """Takes time."""
        if self.chance is not None:
            for _ in range(self.chance.choice(PAUSES)):
                await asyncio.sleep(0)

    def admit(self, operations: int) -> int:
        """Returns how many of a request's operations are done; ask :meth:`check` after them."""
        if self.killed:
            return 0
        if self._left is None:
            return operations
        done = min(operations, self._left)
        self._left -= done
        return done

    def check(self, *, whole: bool = True) -> None:
        """Raises if the line has broken by now, or this request was not done as a whole.

        Raises:
            RetryableError: for this once.
            Crashed: for good.
        """
        if whole and self._left != 0 and not self.killed:
            return
        if self._kills or self.killed:
            self.killed = True
            raise Crashed
        self._left = None
        raise RetryableError("cut off")
