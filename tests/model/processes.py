"""The processes of a Murmuration in memory, and how they reach the engines.

Each has connections of its own, so that it can be cut off after any single write, and units and
readers as `infra.compose` makes them of such connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from events.cassandra import Statements
from infra import compose, trending
from infra.compose import Engines as Clients
from infra.generations import state_of
from infra.settings import Settings
from projections.bus import RedisBus
from projections.engagement.layout import Limits
from projections.engagement.unit import Engagement
from projections.generations import Generations, Phase
from projections.store import Store
from projections.timelines.fan_out import FanOut
from projections.timelines.keeper import Keeper, KeeperSettings
from projections.timelines.unit import Timelines
from projections.trends.leader import Leader
from projections.unit import StoredUnit
from tests.memory.bus import MemoryBus
from tests.memory.line import Line
from tests.memory.redis import Redis, Snapshot
from tests.memory.statements import MemoryStatements
from tests.memory.store import Database, MemoryStore
from tests.model.log import Appending, MemoryLog

STATES = (
    *("accounts", "tweets", "timelines", "engagement", "collections", "search", "notifications"),
    "trends",
)
"""Units with generations of their own."""

UNITS = (*STATES[:3], "fan-out", *STATES[3:])

SMALL = Settings.model_construct(
    buckets=3,
    timeline_length=6,
    popular_threshold=2,
    celebrity_threshold=3,
    inactive_days=1,
    search_segment_tweets=2,
    search_segments=2,
    search_window_hours=168,
    trend_slot_s=5.0,
    trend_late_s=2.0,
    trend_score_min=0.5,
    trend_volume_min=1,
    trend_place_volume_min=0,
    trend_young_hours=0.0,
    trend_never=(),
)
"""Settings of a town of five."""


class Engines(Protocol):
    """The engines, how processes reach them, and what may happen to Redis.

    Attributes:
        log: The broker, and what was read of it.
        limits: Of the membership that engagement keeps in Redis.
        settings: Their topic prefix and generation begin the names of what a run keeps, so that no
            other run sees it.
        base: Lowest of the ids that no other run has, in their low bits.
    """

    log: MemoryLog
    limits: Limits
    settings: Settings
    base: int

    def bus(self, line: Line) -> RedisBus: ...

    def store(self, line: Line) -> Store: ...

    def statements(self, line: Line) -> Statements: ...

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

    settings = SMALL
    base = 0

    def __init__(self, limits: Limits | None = None) -> None:
        self.log = MemoryLog()
        self.limits = limits or Limits()
        self.redis = Redis()
        self._database = Database()
        self._snapshot = Snapshot({}, {})

    def bus(self, line: Line) -> RedisBus:
        return MemoryBus(self.redis, line)

    def store(self, line: Line) -> Store:
        return MemoryStore(self._database, self.settings.generation, line)

    def statements(self, line: Line) -> Statements:
        return MemoryStatements(self._database, line)

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


@dataclass(frozen=True, kw_only=True)
class Process(Clients):
    """Connections of one process; a generation of each unit, as :class:`infra.compose.Engines`.

    Attributes:
        of: The engines.
        line: What it is connected by.
        statements: Runs those about tables without a generation.
    """

    of: Engines
    line: Line
    statements: Statements

    @property
    def generations(self) -> Generations:
        return Generations(self.statements, self.settings.topic_prefix, self.settings.generation)

    def at(self, serving: Mapping[str, str]) -> Process:
        return replace(self, serving={**self.serving, **serving})

    @property
    def chunks(self) -> Appending:
        """The log of chunks."""
        generation = self.generation("timelines")
        return Appending(
            self.of, self.line, None if generation == self.settings.generation else generation
        )


_NONE: Any = None
"""The session and the registry, which nothing here reaches for."""


def process(
    on: Engines, serving: Mapping[str, str] | None = None, line: Line | None = None
) -> Process:
    """Returns a new process.

    Args:
        on: The engines.
        serving: Generations by unit; the first where it says nothing.
        line: What it is connected by; one of its own by default.
    """
    line = line or Line()
    return Process(
        settings=on.settings,
        bus=on.bus(line),
        session=_NONE,
        store=on.store(line),
        registry=_NONE,
        serving=serving or {},
        of=on,
        line=line,
        statements=on.statements(line),
    )


def unit_of(on: Process, name: str) -> StoredUnit:
    """Returns a unit's writing side."""
    match name:
        case "timelines":
            return Timelines(
                on.bus,
                on.store_of(name),
                on.keys(name),
                chunk_log=on.chunks,
                popular_threshold=on.settings.popular_threshold,
                timeline_length=on.settings.timeline_length,
                inactive_days=on.settings.inactive_days,
                building=Phase(on.generations, name, on.generation(name)).building,
            )
        case "fan-out":
            generation = on.generation(name)
            return FanOut(
                on.bus,
                on.store_of(name),
                on.keys(name),
                timelines=on.keys(state_of(name)),
                chunk_log=on.chunks,
                timeline_length=on.settings.timeline_length,
                generation=None if generation == on.settings.generation else generation,
            )
        case "engagement":
            return Engagement(on.bus, on.store_of(name), on.keys(name), on.of.limits)
    return compose.UNITS[name](on)


def keeper(on: Engines, generation: str) -> tuple[Process, Keeper]:
    """A process that keeps the tiers."""
    there = process(on, {"timelines": generation})
    return there, Keeper(
        there.bus,
        there.store_of("timelines"),
        there.keys("timelines"),
        reader=compose.timelines_reader(there),
        chunk_log=there.chunks,
        flow=there.chunks,
        timelines=there.applied("timelines"),
        fan_out=there.applied("fan-out"),
        settings=KeeperSettings(
            celebrity_threshold=there.settings.celebrity_threshold,
            popular_threshold=there.settings.popular_threshold,
            read_seconds_max=0.0,
        ),
    )


def trend_leader(
    on: Engines,
    generation: str,
    now_ms: Callable[[], int],
    *,
    name: str | None = None,
    line: Line | None = None,
) -> Leader:
    """Who works out trends.

    Args:
        on: The engines.
        generation: Of the trends.
        now_ms: The leader's clock.
        name: Of the row by which is led; the unit's by default.
        line: What the process is connected by; one of its own by default.
    """
    there = process(on, {"trends": generation}, line)
    return Leader(
        there.bus,
        there.store_of("trends"),
        there.keys("trends"),
        flow=there.chunks,
        shape=trending.shape(there.settings),
        rules=trending.rules(there.settings),
        now_ms=now_ms,
        name=name,
    )


def mixed(chance: Random | None, *lines: Line) -> None:
    """Lets the requests of processes take time by chance, or none."""
    for line in lines:
        line.chance = chance
