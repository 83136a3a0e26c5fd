"""Standing workers: processes for each generation of a unit that the registry says is fed.

Keeps true: a generation that a replay has finished is fed within ``LOOK_SECONDS``, one that is
dropped no longer, one of another layout never (the release that built it feeds it); a process that
crashed, was killed or asks for a new one (`streams.errors`) gets one. While the store is away the
processes that there are go on.

Bounded by: ``count`` processes per unit and generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from events.errors import EventsError
from infra import generations
from infra.compose import Engines
from infra.demo.children import Worker
from projections.generations import GenerationError
from streams.errors import Defect, Restart

LOOK_SECONDS = 1.0
RESTARTED = (Restart.exit_code, Defect.exit_code)
# Beyond the worker's own grace, before it is killed.
GRACE_EXTRA_S = 5.0


@dataclass(frozen=True)
class _Fed:
    worker: Worker
    keeping: asyncio.Task[None]


class Feeding:
    """Keeps the processes of some units.

    Args:
        on: The engines.
        units: The units.
        count: Processes per unit and generation.
        say: Told what starts, ends and is started anew.
        first_port: First port of the metrics, one up per process; 0 chooses.
    """

    def __init__(
        self,
        on: Engines,
        units: Sequence[str],
        count: int,
        say: Callable[[str], None],
        *,
        first_port: int = 0,
    ) -> None:
        self._on = on
        self._units = units
        self._count = count
        self._say = say
        self._next_port = first_port
        self._said: set[str] = set()
        self._fed: dict[tuple[str, str, int], _Fed] = {}

    async def run(self, stopped: asyncio.Event) -> None:
        """Feeds until ``stopped`` is set; ends every process before it returns.

        Raises:
            ChildFailed: a process ended for a reason that starting it again would not cure.
        GenerationError: there is nothing that this program may feed.
        """
        try:
            while not stopped.is_set():
                await self._look()
                await self._pause(stopped)
        finally:
            await self._end(list(self._fed))

    async def _look(self) -> None:
        """Starts and ends what the registry says."""
        try:
            wanted = {
                (unit, generation, at)
                for unit in self._units
                for generation in await self._fit(unit)
                for at in range(self._count)
            }
        except EventsError as error:
            self._say(f"which generations are fed is not known anew: {error}")
            return
        await self._end([key for key in self._fed if key not in wanted])
        for key in sorted(wanted - self._fed.keys()):
            await self._start(*key)

    async def _fit(self, unit: str) -> list[str]:
        """Returns the generations that are fed and that this program may write to."""
        fit = []
        for one in await generations.fed(self._on, unit):
            why = generations.misfit(self._on, one)
            if why is None:
                fit.append(one.name)
            elif why not in self._said:
                self._said.add(why)
                self._say(f"not fed: {why}")
        if not fit:
            raise GenerationError(f"there is no generation of {unit} that this program may feed")
        return fit

    async def _start(self, unit: str, generation: str, at: int) -> None:
        port = self._next_port
        self._next_port += 1 if port else 0
        # No folder for logs: a worker's words go to this terminal.
        worker = Worker(unit, None, {}, port=port, generation=generation)
        await worker.start()
        self._say(f"{worker.name}: pid {worker.pid}, metrics at {worker.metrics_url}")
        keeping = asyncio.create_task(worker.supervise(self._say, RESTARTED))
        self._fed[unit, generation, at] = _Fed(worker, keeping)

    async def _pause(self, stopped: asyncio.Event) -> None:
        """Waits for the next look, or less: until the stop, or an end that is for good."""
        stop = asyncio.create_task(stopped.wait())
        keeping = {one.keeping: key for key, one in self._fed.items()}
        try:
            done, _ = await asyncio.wait(
                {stop, *keeping}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stop.cancel()
        for task, key in keeping.items():
            if task in done:
                await self._judge(key, task)

    async def _judge(self, key: tuple[str, str, int], task: asyncio.Task[None]) -> None:
        """Lets a process go whose generation was dropped under it; any other end is an error."""
        unit, generation, _ = key
        if generation in await self._fit(unit):
            task.result()
        self._fed.pop(key)

    async def _end(self, keys: Sequence[tuple[str, str, int]]) -> None:
        going = [self._fed.pop(key) for key in keys]
        for one in going:
            one.keeping.cancel()
        await asyncio.gather(*(one.keeping for one in going), return_exceptions=True)
        grace_s = self._on.settings.worker_grace_s + GRACE_EXTRA_S
        await asyncio.gather(*(one.worker.stop(grace_s) for one in going))
