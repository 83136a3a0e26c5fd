"""A worker process: a unit, fed by the loop of `streams` with slices of the log in memory.

It resumes where the unit says, applies in order, buries what cannot be read, leaves alone what was
decided upon, tries again what an engine refused for a moment, and starts anew when the unit says
that Redis lost writes. Faust and the consumer group are not there: a test hands out the slices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from prometheus_client import CollectorRegistry

from events.ranges import Raw
from infra.generations import state_of
from projections.base import RetryableError, StateLost
from streams.activity import Activity
from streams.agents import SliceLoop
from streams.dead_letters import DeadLetter, DeadLetters
from streams.decisions import Decisions
from streams.errors import Restart, Stopping
from streams.ledger import RawSlice
from streams.metrics import Metrics
from streams.redrive import Redrives
from streams.retry import PASSING, Persistence
from streams.settings import WorkerSettings
from tests.memory.line import Crashed
from tests.model.log import PARTITIONS, TOPIC_ID, Source
from tests.model.processes import Engines, Process, process, unit_of
from tests.model.words import Words

ALL = 1 << 30
_IDS = dict.fromkeys(PARTITIONS, TOPIC_ID)

T = TypeVar("T")

failures = Words("streams")
"""What ended a worker that ought to have gone on."""


def _nothing() -> None:
    """What is told of a slice that is durable; the model looks at its unit."""


@lru_cache
def _metrics(unit: str) -> Metrics:
    return Metrics(unit, CollectorRegistry())


class _Once(Persistence):
    """Gives a slice back when an engine was away for a moment; it keeps its place."""

    async def until_done(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except PASSING as error:
            raise Stopping(str(error)) from error


class _Letters(DeadLetters):
    """Where one process buries."""

    def __init__(self, on: Process) -> None:
        super().__init__("memory", "dead-letters")
        self._on = on

    async def append(self, letters: Sequence[DeadLetter]) -> None:
        line, topic = self._on.line, self._on.of.log.letters
        await line.pause()
        for one in letters[: line.admit(len(letters))]:
            topic.append(Raw(len(topic), 0, None, one.record.value, one.headers()))
        if letters:
            line.check()


class Worker:
    """One worker process, started anew as often as it ends.

    Attributes:
        loop: What feeds the unit; another one with each process.
        at: The next offset by source.
        horizon: Where a zombie's slices end: what it had fetched when it lost its partitions. None
            for a worker that has its partitions.

    Args:
        on: The engines.
        unit: The unit.
        generation: Of the unit.
        share: Which member it is, of how many; they deal the partitions among them.
    """

    def __init__(
        self, on: Engines, unit: str, generation: str, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._on = on
        self._share = share
        self._starting = asyncio.Lock()
        self.name = unit
        self.state = state_of(unit)
        self.generation = generation
        self.at: dict[Source, int] = {}
        self.horizon: dict[Source, int] | None = None
        self._make()

    def _make(self) -> None:
        self.process = process(self._on, {self.state: self.generation})
        self.unit = unit_of(self.process, self.name)
        self.loop = self._made_loop()
        member, members = self._share
        self.sources = self._on.log.sources(self.unit.topics)[member::members]

    def _made_loop(self) -> SliceLoop:
        settings = WorkerSettings("memory", self.process.group(self.name))
        log, unit = self._on.log, self.unit
        decisions = Decisions(unit.name, settings, log, log.shelf)
        stopping, metrics, activity = asyncio.Event(), _metrics(unit.name), Activity()
        return SliceLoop(
            unit,
            log.shelf,
            _Letters(self.process),
            _IDS,
            settings,
            _Once(stopping, metrics, activity, 0.0),
            metrics,
            activity,
            stopping,
            Redrives(unit.name, unit.topics, decisions, log, log.shelf, settings),
        )

    async def start(self) -> None:
        """Begins where the unit says, as often as it takes."""
        while True:
            try:
                await self.unit.open()
                for source in self.sources:
                    at = await self.unit.resume(*source, TOPIC_ID)
                    assert at is None or at <= self._on.log.end(source), (self.name, source, at)
                    self.at[source] = at or 0
            except Crashed:
                self._make()
            except RetryableError:
                continue
            else:
                return

    async def restart(self, ended: SliceLoop | None = None) -> None:
        """Is killed and started again; unless another process has taken over from ``ended``."""
        async with self._starting:
            if ended in (None, self.loop):
                self.process.line.killed = True
                self._make()
                await self.start()

    async def go(self, source: Source, most: int) -> bool | None:
        """Goes a slice on; who is killed is started again.

        Slices of several partitions may be in hand at once, as in the product.

        Returns:
            Whether the process lives on; None where there was nothing to do.
        """
        async with self._starting:
            loop, piece = self.loop, self.next(source, most)
        if piece is None or await self.apply(piece):
            return None if piece is None else True
        await self.restart(loop)
        return False

    def successor(self) -> Worker:
        """Returns the process that takes over; it is to be started."""
        return Worker(self._on, self.name, self.generation, self._share)

    def depose(self) -> None:
        """Has lost its partitions and does not know it."""
        self.horizon = {source: self._on.log.end(source) for source in self.sources}

    @property
    def lags(self) -> list[Source]:
        """Returns the partitions with records that are not applied."""
        return [source for source in self.sources if self.at[source] < self._on.log.end(source)]

    def next(self, source: Source, most: int) -> RawSlice | None:
        """Returns the next slice of a partition, None where there is nothing."""
        below = ALL if self.horizon is None else self.horizon[source]
        return self._on.log.slice(source, self.at[source], most, below)

    async def apply(self, piece: RawSlice) -> bool:
        """Applies a slice; returns whether the process lives on, and had not to start anew."""
        loop, line = self.loop, self.process.line
        if await (await loop.take(piece, _nothing)):
            source = piece.tp.topic, piece.tp.partition
            if loop is self.loop:
                self.at[source] = max(self.at[source], piece.end)
        elif loop.ended.done():
            end = loop.ended.result()
            gone = self.horizon is not None and "unconfigured table" in str(end)
            assert isinstance(end, Restart) or line.killed or gone, f"{end}\n{failures}"
            return False
        return True

    async def beat(self) -> bool:
        """Says where it is to the buckets; returns as :meth:`apply`."""
        try:
            await self.unit.heartbeat()
        except RetryableError:
            return True
        except (Crashed, StateLost):
            return False
        return True
