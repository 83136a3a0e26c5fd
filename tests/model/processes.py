"""The processes of a Murmuration in memory: a worker for each unit, keepers, gateways.

Each has connections of its own, so that it can be cut off after any single write. A worker does
with slices what `streams` does: it resumes where the unit says, applies in order, tries again what
an engine refused for a moment, and starts anew when the unit says that Redis lost writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from events.slices import Slice
from projections.accounts.unit import Accounts
from projections.base import RetryableError, StateLost, Unit
from projections.bus import RedisBus
from projections.collections.unit import Collections
from projections.engagement.layout import Limits
from projections.engagement.unit import Engagement
from projections.keys import Keys
from projections.positions import AppliedPositions
from projections.store import Store
from projections.timelines.fan_out import FanOut
from projections.timelines.keeper import Keeper, KeeperSettings
from projections.timelines.read import TimelinesReader
from projections.timelines.unit import Timelines
from projections.tweets.unit import Tweets
from tests.memory.bus import MemoryBus
from tests.memory.line import Crashed, Line
from tests.memory.redis import Redis, Snapshot
from tests.memory.store import Database, MemoryStore
from tests.model.log import TOPIC_ID, Appending, MemoryLog, Source

BUCKETS = 3
TIMELINE_LENGTH = 6
POPULAR_FROM = 2
CELEBRITIES_FROM = 3
UNITS = ("accounts", "tweets", "timelines", "fan-out", "engagement", "collections")
ALL = 1 << 30


class Engines(Protocol):
    """The engines, how processes reach them, and what may happen to Redis.

    Attributes:
        log: The broker, and what was read of it.
        limits: Of the membership that engagement keeps in Redis.
        scope: Begins the names of what a run keeps, so that no other run sees it.
        base: Lowest of the ids that no other run has, in their low bits.
    """

    log: MemoryLog
    limits: Limits
    scope: str
    base: int

    def bus(self, line: Line) -> RedisBus: ...

    def store(self, generation: str, line: Line) -> Store: ...

    async def sync(self) -> None:
        """Makes what was appended readable."""
        ...

    async def remember(self, positions: Sequence[bytes]) -> None:
        """What Redis holds now is what it may go back to, if these keys are all there."""
        ...

    async def forget(self, lost: Callable[[bytes], bool]) -> None:
        """Redis goes back to what is remembered, of those keys; it forgets them if nothing is."""
        ...

    async def evict(self, picked: Callable[[int], bool]) -> None:
        """Redis drops keys that expire, by their place among all of them."""
        ...

    async def later(self, seconds: int) -> None:
        """So much time has passed for what expires in Redis."""
        ...


class MemoryEngines:
    """Those in memory: :class:`Engines`."""

    scope = ""
    base = 0

    def __init__(self, limits: Limits | None = None) -> None:
        self.log = MemoryLog()
        self.limits = limits or Limits()
        self.redis = Redis()
        self._database = Database()
        self._snapshot = Snapshot({}, {})

    def bus(self, line: Line) -> RedisBus:
        return MemoryBus(self.redis, line)

    def store(self, generation: str, line: Line) -> Store:
        return MemoryStore(self._database, generation, line)

    async def sync(self) -> None: ...

    async def remember(self, positions: Sequence[bytes]) -> None:
        if all(key in self.redis.values for key in positions):
            self._snapshot = self.redis.snapshot()

    async def forget(self, lost: Callable[[bytes], bool]) -> None:
        self.redis.restore(self._snapshot, lost)

    async def evict(self, picked: Callable[[int], bool]) -> None:
        keys = sorted(self.redis.expiry)
        self.redis.evict(key for at, key in enumerate(keys) if picked(at))

    async def later(self, seconds: int) -> None:
        self.redis.forward(seconds * 1000)


class Process:
    """Connections of one process to one generation.

    Args:
        on: The engines.
        generation: Of its unit.
    """

    def __init__(self, on: Engines, generation: str = "g1") -> None:
        self.line = Line()
        self.bus = on.bus(self.line)
        self.store = on.store(generation, self.line)
        self.log = Appending(on, self.line)
        self._scope = on.scope
        self.generation = generation

    def move(self, on: MemoryEngines) -> None:
        """Goes over to other engines, as if they had been these all along."""
        other = Process(on, self.generation)
        assert isinstance(self.bus, MemoryBus) and isinstance(self.store, MemoryStore)
        self.bus.move(on.redis)
        assert isinstance(other.store, MemoryStore)
        self.store.move(other.store)

    def keys(self, unit: str) -> Keys:
        """Returns the names of a unit's keys."""
        return Keys(self._scope + self.generation, self._scope + unit, BUCKETS)

    def applied(self, unit: str) -> AppliedPositions:
        """Returns where a unit is."""
        return AppliedPositions(self.bus, self.store, self.keys(unit))


def timelines_reader(of: Process) -> TimelinesReader:
    """The timelines unit's reading side."""
    return TimelinesReader(
        of.bus, of.store, of.keys("timelines"), timeline_length=TIMELINE_LENGTH, inactive_days=1
    )


def _accounts(of: Process, _limits: Limits) -> Unit:
    return Accounts(of.bus, of.store, of.keys("accounts"))


def _tweets(of: Process, _limits: Limits) -> Unit:
    return Tweets(of.bus, of.store, of.keys("tweets"))


def _timelines(of: Process, _limits: Limits) -> Unit:
    return Timelines(
        of.bus,
        of.store,
        of.keys("timelines"),
        chunk_log=of.log,
        popular_threshold=POPULAR_FROM,
        timeline_length=TIMELINE_LENGTH,
        inactive_days=1,
    )


def _fan_out(of: Process, _limits: Limits) -> Unit:
    return FanOut(
        of.bus,
        of.store,
        of.keys("fan-out"),
        timelines=of.keys("timelines"),
        chunk_log=of.log,
        timeline_length=TIMELINE_LENGTH,
    )


def _engagement(of: Process, limits: Limits) -> Unit:
    return Engagement(of.bus, of.store, of.keys("engagement"), limits)


def _collections(of: Process, _limits: Limits) -> Unit:
    return Collections(of.bus, of.store, of.keys("collections"))


_MADE: dict[str, Callable[[Process, Limits], Unit]] = dict(
    zip(UNITS, (_accounts, _tweets, _timelines, _fan_out, _engagement, _collections), strict=True)
)


class Worker:
    """One worker process, started anew as often as it ends.

    Attributes:
        at: The next offset by source.
        share: Which member it is, of how many; they deal the partitions among them.
        horizon: Where a zombie's slices end: what it had fetched when it lost its partitions. None
            for a worker that has its partitions.
    """

    def __init__(
        self, on: Engines, unit: str, generation: str = "g1", share: tuple[int, int] = (0, 1)
    ) -> None:
        self._on = on
        self._share = share
        self.name = unit
        self.generation = generation
        self.at: dict[Source, int] = {}
        self.horizon: dict[Source, int] | None = None
        self._make()

    def _make(self) -> None:
        self.process = Process(self._on, self.generation)
        self.unit = _MADE[self.name](self.process, self._on.limits)
        member, members = self._share
        self.sources = self._on.log.sources(self.unit.topics)[member::members]

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

    async def restart(self) -> None:
        """Is killed and started again."""
        self._make()
        await self.start()

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

    def next(self, source: Source, most: int) -> Slice | None:
        """Returns the next slice of a partition, None where there is nothing."""
        below = ALL if self.horizon is None else self.horizon[source]
        return self._on.log.slice(source, self.at[source], most, below)

    async def apply(self, piece: Slice) -> bool:
        """Applies a slice; returns whether the process lives on, and had not to start anew."""
        try:
            await self.unit.apply(piece)
        except RetryableError:
            return True  # the slice keeps its place
        except (Crashed, StateLost):
            return False
        source = piece.topic, piece.partition
        self.at[source] = max(self.at[source], piece.end)
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


def keeper(on: Engines, generation: str = "g1") -> tuple[Process, Keeper]:
    """A process that keeps the tiers."""
    process = Process(on, generation)
    return process, Keeper(
        process.bus,
        process.store,
        process.keys("timelines"),
        reader=timelines_reader(process),
        chunk_log=process.log,
        flow=process.log,
        timelines=process.applied("timelines"),
        fan_out=process.applied("fan-out"),
        settings=KeeperSettings(
            celebrity_threshold=CELEBRITIES_FROM,
            popular_threshold=POPULAR_FROM,
            read_seconds_max=0.0,
        ),
    )


def mixed(chance: Random | None, *processes: Process) -> None:
    """Lets the requests of processes take time by chance, or none."""
    for process in processes:
        process.line.chance = chance
