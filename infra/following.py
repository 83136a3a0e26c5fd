"""A long-lived reader follows the generations: it changes over when another one comes into service.

Keeps true: what is read from changes as a whole, at the moment that the registry names, and only
once the generation that comes has applied what the one that goes had applied by then; so a reader
does not see a tweet go away again. While the store is away, the last known generations serve.

Bounded by: one query a second; ``BEHIND_SECONDS_MAX`` for the one that comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from events.errors import EventsError
from infra.compose import Engines
from projections.base import RetryableError
from projections.generations import Pointer
from projections.positions import reached

LOOK_SECONDS = 1.0
"""How often the registry is looked at; a change is announced longer before (``replay.promote``)."""

POLL_SECONDS = 0.02
BEHIND_SECONDS_MAX = 5.0

log = logging.getLogger(__name__)


class Following:
    """Changes over a process that reads.

    Args:
        on: The engines, at the generations that are read now.
        change: Takes the engines at those that serve from now on; must not wait.
    """

    def __init__(self, on: Engines, change: Callable[[Engines], None]) -> None:
        self._on = on
        self._change = change
        self._pointers: Mapping[str, Pointer] = {}

    async def run(self) -> None:
        """Follows until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._pause())
            await self._follow()  # at the moment named, however slow the store is just then

    async def look(self) -> None:
        """Looks once, and changes over if it is time."""
        try:
            self._pointers = await self._on.generations.pointers()
        except EventsError as error:
            log.warning("the generations in service are not known anew: %s", error)
        await self._follow()

    def _pause(self) -> float:
        now_ms = time.time() * 1000
        coming = [p.since_ms - now_ms for p in self._pointers.values() if p.since_ms > now_ms]
        return min([LOOK_SECONDS, *(ms / 1000 for ms in coming)])

    async def _follow(self) -> None:
        now_ms = int(time.time() * 1000)
        first = self._on.settings.generation
        serving = {unit: pointer.at(now_ms) for unit, pointer in self._pointers.items()}
        changed = {
            unit: name
            for unit, name in serving.items()
            if self._on.serving.get(unit, first) != name
        }
        if not changed:
            return
        there = self._on.at(changed)
        for unit in changed:
            await self._caught_up(unit, there)
        self._change(there)
        self._on = there
        for unit, name in changed.items():
            log.info("unit %s is read from its generation %s from now on", unit, name)

    async def _caught_up(self, unit: str, there: Engines) -> None:
        """Waits until the generation that comes has applied what the present one has."""
        deadline = time.monotonic() + BEHIND_SECONDS_MAX
        try:
            wanted = await self._on.applied(unit).all()
            while not reached(await there.applied(unit).all(), wanted):
                if time.monotonic() > deadline:
                    log.warning("unit %s: the generation in service lags behind the last", unit)
                    return
                await asyncio.sleep(POLL_SECONDS)
        except RetryableError as error:
            log.warning("unit %s changes its generation while the store is away: %s", unit, error)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancels a task that runs for ever, and raises what ended it before, if anything did."""
    if task.done():
        task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
