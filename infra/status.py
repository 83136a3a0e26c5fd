"""How everything is: engines, units, dead letters, and what is wrong in words.

Bounded by: `SAMPLE_S` for the rate, `DEAD_LETTERS_MAX` letters read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from events.admin import Admin
from events.errors import EventsError
from events.reader import Reader
from infra import compose
from infra.compose import Engines
from infra.settings import Settings
from infra.stack import state
from projections.base import RetryableError

SAMPLE_S = 1.0
DEAD_LETTERS_MAX = 100_000
LAG_NAMED = 1_000
"""A committed lag from which on it is named as something wrong."""


class PartitionStatus(msgspec.Struct, frozen=True):
    """One source partition of a unit.

    Attributes:
        end: Next offset that the log will write.
        committed: Next offset by the consumer group; None before its first commit.
        applied: Next offset that the unit will apply, by its own state.
    """

    end: int
    committed: int | None
    applied: int


class UnitStatus(msgspec.Struct, frozen=True):
    """One unit.

    Attributes:
        lag: Committed lag, events, over all partitions.
        events_per_s: Events applied a second, sampled now.
        dead_letters: Records that this unit gave up on.
        positions: By ``topic/partition``.
        problems: What is wrong, in words; empty when nothing is.
    """

    lag: int
    events_per_s: float
    dead_letters: int
    positions: dict[str, PartitionStatus]
    problems: list[str]


class EngineStatus(msgspec.Struct, frozen=True):
    """One engine of the local stack, as its launcher sees it."""

    phase: str
    address: str
    pid: int | None
    memory_mb: int | None
    problem: str


class Status(msgspec.Struct, frozen=True):
    """Everything that `murmur status` shows."""

    engines: dict[str, EngineStatus]
    units: dict[str, UnitStatus]
    problems: list[str]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not any(unit.problems for unit in self.units.values())


async def look(settings: Settings) -> Status:
    """Asks everything once; what does not answer is a problem in words, not an error."""
    engines, problems = _engines(settings.data_dir)
    try:
        async with compose.engines(settings) as on:
            units = await _units(on)
    except (RetryableError, EventsError) as error:
        return Status(engines, {}, [*problems, f"{error}; `murmur up --detach` starts the stack"])
    return Status(engines, units, problems)


def _engines(data_dir: Path) -> tuple[dict[str, EngineStatus], list[str]]:
    stack = state.read(data_dir)
    if stack is None or not stack.alive():
        return {}, []
    found: dict[str, EngineStatus] = {}
    problems: list[str] = []
    for name, engine in stack.engines.items():
        process = engine.identity()
        memory = process.resident_mb() if process else None
        found[name] = EngineStatus(engine.phase, engine.address, engine.pid, memory, engine.problem)
        if engine.phase not in ("ready", "external"):
            words = f": {engine.problem}" if engine.problem else ""
            problems.append(f"{name} is {engine.phase}{words}; see `murmur logs {name}`")
    return found, problems


async def _units(on: Engines) -> dict[str, UnitStatus]:
    admin = Admin(on.settings.kafka_bootstrap, on.topics, on.settings.kafka_options)
    topics = {name: sorted(make(on).topics) for name, make in compose.UNITS.items()}
    names = sorted({topic for wanted in topics.values() for topic in wanted})
    before = {unit: await on.applied(unit).all() for unit in topics}
    answers, letters, _ = await asyncio.gather(
        asyncio.gather(*map(admin.end_offsets, names)), dead_letters(on), asyncio.sleep(SAMPLE_S)
    )
    ends = dict(zip(names, answers, strict=True))
    found: dict[str, UnitStatus] = {}
    for unit, wanted in topics.items():
        applied = await on.applied(unit).all()
        committed = await admin.committed(on.group(unit))
        positions = {
            f"{topic}/{partition}": PartitionStatus(
                end, committed.get((topic, partition)), applied.get(f"{topic}/{partition}", 0)
            )
            for topic in wanted
            for partition, end in sorted(ends[topic].items())
        }
        moved = sum(applied.values()) - sum(before[unit].values())
        found[unit] = _unit(positions, moved / SAMPLE_S, letters.get(unit, 0))
    return found


def _unit(positions: dict[str, PartitionStatus], rate: float, letters: int) -> UnitStatus:
    lags = {source: at.end - (at.committed or 0) for source, at in positions.items()}
    lag = sum(lags.values())
    problems = []
    if letters:
        problems.append(f"{letters} dead letters; read them with `murmur events tail dead-letters`")
    if lag and not rate:
        problems.append(f"{lag} events behind and not moving; is `murmur worker` running for it?")
    elif lag >= LAG_NAMED:
        worst = max(lags, key=lambda source: lags[source])
        problems.append(f"{lag} events behind, most in {worst}; more workers take it sooner")
    for source, at in positions.items():
        if at.applied > at.end:
            problems.append(
                f"{source}: the state is at {at.applied}, the log ends at {at.end}: it is another "
                f"log than this state was built from"
            )
    return UnitStatus(lag, rate, letters, positions, problems)


async def dead_letters(on: Engines) -> Mapping[str, int]:
    """Counts dead letters by unit; one that was appended twice counts once."""
    reader = Reader(
        on.settings.kafka_bootstrap,
        on.topics,
        compose.reader_codec(on),
        on.settings.kafka_options,
    )
    seen: dict[str, set[tuple[bytes, ...]]] = {}
    count = 0
    async for letter in reader.tail("dead-letters", follow=False):
        headers = dict(letter.headers)
        origin = tuple(headers.get(f"dl_{part}", b"") for part in ("topic", "partition", "offset"))
        seen.setdefault(headers.get("dl_unit", b"").decode(), set()).add(origin)
        count += 1
        if count >= DEAD_LETTERS_MAX:
            break
    return {unit: len(origins) for unit, origins in seen.items()}
