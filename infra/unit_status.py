"""How a unit is: lag, positions, speed, dead letters, and what is wrong with it in words.

Read from the log and from the unit's own state, never from a worker, so that it holds when no
worker runs. Bounded by what `events.letters` keeps of the dead letters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from events.admin import Admin
from events.errors import TopicMismatch
from infra import compose
from infra.compose import Engines
from infra.letters.desk import Census, Reading, census
from infra.settings import Settings
from projections.base import Unit

BETWEEN_LOOKS_S = 1.0
KAFKA_S_MAX = 10.0
# Fewer events than this are on their way at any moment under load.
LAG_WORTH_A_WORD = 1_000

Places = dict[str, int]
"""Offset by `topic/partition`, logical names."""


@dataclass
class UnitStatus:
    """One unit as it is now."""

    name: str
    workers: int
    committed: Places
    applied: Places
    ends: Places
    events_per_s: float
    dead_letters: int
    oldest_letter_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def lag(self) -> int:
        """Events between what the group committed and the end of the log."""
        return sum(max(0, end - self.committed.get(at, 0)) for at, end in self.ends.items())

    @property
    def behind(self) -> int:
        """Events that the unit has not applied yet."""
        return sum(max(0, end - self.applied.get(at, 0)) for at, end in self.ends.items())

    def applied_words(self) -> str:
        """The applied positions, topics that are still empty left out."""
        return " ".join(f"{at}@{self.applied.get(at, 0)}" for at, end in self.ends.items() if end)

    def shown(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {
            "name": self.name,
            "workers": self.workers,
            "committed_lag": self.lag,
            "behind": self.behind,
            "applied": self.applied,
            "ends": self.ends,
            "events_per_s": round(self.events_per_s, 1),
            "dead_letters": self.dead_letters,
            "oldest_letter_s": round(self.oldest_letter_s),
            "problems": self.problems,
        }


async def look(settings: Settings) -> list[UnitStatus]:
    """Every unit's state; takes a little over `BETWEEN_LOOKS_S`.

    Raises:
        RetryableError: an engine is away.
    """
    async with compose.engines(settings) as on:
        admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)
        units = [make(on) for make in compose.UNITS.values()]
        letters = await _dead_letters(on)
        first = await asyncio.gather(*(_applied(on, unit.name) for unit in units))
        await asyncio.sleep(BETWEEN_LOOKS_S)
        return list(
            await asyncio.gather(
                *(
                    _unit(on, admin, unit, before, letters)
                    for unit, before in zip(units, first, strict=True)
                )
            )
        )


async def _applied(on: Engines, unit: str) -> Places:
    return await on.applied(unit).all()


async def _unit(
    on: Engines, admin: Admin, unit: Unit, before: Places, letters: Mapping[str, Census]
) -> UnitStatus:
    group = on.group(unit.name)
    buried = letters.get(unit.name, Census())
    try:
        ends = {
            f"{topic}/{partition}": end
            for topic in sorted(unit.topics)
            for partition, end in (await admin.end_offsets(topic)).items()
        }
    except TopicMismatch as error:
        gone = UnitStatus(unit.name, 0, {}, before, {}, 0.0, buried.count)
        gone.problems.append(f"{error}; `murmur up` makes missing topics")
        return gone
    committed, workers, applied = await asyncio.gather(
        admin.committed(group),
        admin.members(group),
        _applied(on, unit.name),
    )
    moved = sum(max(0, applied.get(at, 0) - before.get(at, 0)) for at in applied)
    found = UnitStatus(
        name=unit.name,
        workers=workers,
        committed={f"{topic}/{partition}": at for (topic, partition), at in committed.items()},
        applied=applied,
        ends=ends,
        events_per_s=moved / BETWEEN_LOOKS_S,
        dead_letters=buried.count,
        oldest_letter_s=time.time() - buried.oldest_at / 1000 if buried.count else 0.0,
    )
    found.problems.extend(problems_of(found))
    return found


def problems_of(unit: UnitStatus) -> list[str]:
    """What an operator should know, worst first."""
    words = [
        f"its position {at}@{position} is beyond the end of the log ({unit.ends[at]}): this state "
        "was built from another log; rebuild the unit in a new generation"
        for at, position in unit.applied.items()
        if at in unit.ends and position > unit.ends[at]
    ]
    if unit.behind and not unit.workers:
        words.append(
            f"{unit.behind} events wait and no worker runs; start `murmur worker {unit.name}`"
        )
    elif unit.behind > LAG_WORTH_A_WORD and not unit.events_per_s:
        words.append(f"{unit.behind} events wait and nothing moves; look at its worker's output")
    elif unit.behind > LAG_WORTH_A_WORD:
        wait_s = unit.behind / unit.events_per_s
        words.append(f"{unit.behind} events behind, about {wait_s:.0f} s at this speed")
    if unit.dead_letters:
        words.append(
            f"{unit.dead_letters} events could not be applied, the oldest for "
            f"{unit.oldest_letter_s / 60:.0f} min; see `murmur dead-letters list --unit "
            f"{unit.name}`"
        )
    return words


async def _dead_letters(on: Engines) -> dict[str, Census]:
    """Open dead letters by unit."""
    reading = Reading(on)
    try:
        await reading.refresh()
        return census(reading.book, await reading.states())
    except TopicMismatch:
        return {}  # a missing topic is told of for each unit
    finally:
        await reading.close()
