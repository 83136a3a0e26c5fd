"""Which generations of each unit there are, and which one is in service.

A generation is one building of a unit's state from the log: tables ``name_g2``, keys ``g2:…`` and a
consumer group of its own. Here is what is known of them, in the store, beside the state itself.

Keeps true: a generation's name is given once; one row says which generation of a unit serves, and
it is changed by lightweight transactions that name what it replaces, so of two engineers one learns
that the other was first. A change is written before the moment at which it takes effect
(``since_ms``), so that every process that looks at least as often changes over at that moment.

Life of a generation: ``building`` (nobody reads it, and no timeline of it is cached), ``ready`` (it
has reached the live end and is fed until it is dropped, whether it serves or not), ``dropping``,
``dropped``: its row stays, so that its name is never given again and a process that slept through
all of it finds nothing to write to. One that was built of a part of the log is ``partial``: to be
looked at, never to serve.

Bounded by: a handful of rows a unit, one partition of the store per scope.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from events.cassandra import Statements
from projections.base import ProjectionError

_GENERATIONS = """
CREATE TABLE IF NOT EXISTS {keyspace}.generations (
    scope text, unit text, generation text, state text, layout int, buckets int, bounds text,
    created_ms bigint, PRIMARY KEY (scope, unit, generation)
)"""
_SERVING = """
CREATE TABLE IF NOT EXISTS {keyspace}.generations_serving (
    scope text, unit text, serving text, before text, since_ms bigint, PRIMARY KEY (scope, unit)
)"""
_ROWS = """
SELECT unit, generation, state, layout, buckets, bounds, created_ms
FROM {keyspace}.generations WHERE scope = ?"""
_STATE = """
SELECT state FROM {keyspace}.generations WHERE scope = ? AND unit = ? AND generation = ?"""
_INSERT = """
INSERT INTO {keyspace}.generations
(scope, unit, generation, state, layout, buckets, bounds, created_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"""
_MOVE = """
UPDATE {keyspace}.generations SET state = ? WHERE scope = ? AND unit = ? AND generation = ?
IF state = ?"""
_POINTERS = """
SELECT unit, serving, before, since_ms FROM {keyspace}.generations_serving WHERE scope = ?"""
_BEGIN_SERVING = """
INSERT INTO {keyspace}.generations_serving (scope, unit, serving, before, since_ms)
VALUES (?, ?, ?, ?, ?) IF NOT EXISTS"""
_SERVE = """
UPDATE {keyspace}.generations_serving SET serving = ?, before = ?, since_ms = ?
WHERE scope = ? AND unit = ? IF serving = ?"""

_NUMBERED = re.compile(r"g(\d+)")


class GenerationError(ProjectionError):
    """What was asked of a generation cannot be done; the message says what to do instead."""


class State(StrEnum):
    """Where a generation is in its life."""

    BUILDING = "building"
    PARTIAL = "partial"
    READY = "ready"
    DROPPING = "dropping"
    DROPPED = "dropped"


class Bounds(msgspec.Struct, frozen=True, omit_defaults=True):
    """What part of the log a generation is built of; the default is all of it.

    Attributes:
        first: First offset by ``topic/partition``; absent for the earliest.
        end: Offset after the last by ``topic/partition``; absent for no end.
        only: Users whose events alone are applied; empty for all.
    """

    first: dict[str, int] = {}
    end: dict[str, int] = {}
    only: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether that is all of the log."""
        return self == WHOLE


WHOLE = Bounds()


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of one unit.

    Attributes:
        unit: The unit's name.
        name: Such as ``g2``.
        state: Where it is in its life.
        layout: Version of its keys and tables.
        buckets: Redis buckets that its keys are spread over.
        created_ms: When it was begun, milliseconds since 1970.
        bounds: What part of the log it is built of.
    """

    unit: str
    name: str
    state: State
    layout: int
    buckets: int
    created_ms: int
    bounds: Bounds = WHOLE


class Pointer(msgspec.Struct, frozen=True):
    """Which generation of a unit serves.

    Attributes:
        serving: The one that does, from ``since_ms`` on.
        before: The one that did before that; None for none.
        since_ms: When ``serving`` takes effect, milliseconds since 1970.
    """

    serving: str
    before: str | None = None
    since_ms: int = 0

    def at(self, now_ms: int) -> str:
        """Returns the generation that serves at a moment."""
        return self.serving if now_ms >= self.since_ms or not self.before else self.before


NO_PREFIX = "(none)"
"""The scope of an installation without a prefix; no prefix is written with brackets."""


class Generations:
    """The registry of one scope.

    Args:
        statements: Runs statements; every method may raise its ``StoreUnavailable``.
        scope: Whose generations: installations that share a keyspace differ in it (the prefix of
            their topics, which may be empty).
        first: Name of the generation that a unit begins with.
    """

    def __init__(self, statements: Statements, scope: str, first: str) -> None:
        self._statements = statements
        self._scope = scope or NO_PREFIX  # a key of the store may not be empty
        self.first = first

    async def create(self) -> None:
        """Makes the tables where they are missing."""
        await self._statements.create(_GENERATIONS)
        await self._statements.create(_SERVING)

    async def all(self) -> list[Generation]:
        """Returns every generation there is, the oldest of a unit first."""
        return [one for one in await self._rows() if one.state is not State.DROPPED]

    async def of(self, unit: str) -> list[Generation]:
        """Returns a unit's generations, the oldest first."""
        return [one for one in await self.all() if one.unit == unit]

    async def pointers(self) -> dict[str, Pointer]:
        """Returns which generation serves by unit; a unit without one serves its first."""
        rows = await self._statements.run(_POINTERS, (self._scope,))
        return {
            row["unit"]: Pointer(row["serving"], row["before"] or None, row["since_ms"])
            for row in rows
        }

    async def pointer(self, unit: str) -> Pointer:
        """Returns which generation of a unit serves."""
        return (await self.pointers()).get(unit) or Pointer(self.first)

    async def building(self, unit: str, name: str) -> bool:
        """Whether a generation is still being built; asked of a quorum, so never an old yes."""
        rows = await self._statements.run(_STATE, (self._scope, unit, name))
        return bool(rows) and rows[0]["state"] in (State.BUILDING, State.PARTIAL)

    async def register_first(self, shapes: Mapping[str, tuple[int, int]], *, now_ms: int) -> None:
        """Notes the generation that units begin with; a unit that has any is left as it is.

        Args:
            shapes: By unit the version of its keys and tables, and its number of Redis buckets.
            now_ms: Milliseconds since 1970.
        """
        known = {one.unit for one in await self._rows()}
        for unit in shapes.keys() - known:
            layout, buckets = shapes[unit]
            first = Generation(
                unit=unit,
                name=self.first,
                state=State.READY,
                layout=layout,
                buckets=buckets,
                created_ms=now_ms,
            )
            await self._insert(first)

    async def begin(
        self, unit: str, *, layout: int, buckets: int, now_ms: int, bounds: Bounds = WHOLE
    ) -> Generation:
        """Begins a unit's next generation, under a name that none had before.

        Raises:
            GenerationError: another one of the same kind is being built.
        """
        there = [one for one in await self._rows() if one.unit == unit]
        state = State.BUILDING if bounds.whole else State.PARTIAL
        if state is State.BUILDING and any(one.state is state for one in there):
            raise GenerationError(f"a generation of {unit} is being built already")
        number = 1 + max([_number(one.name) for one in there], default=1)
        while True:
            made = Generation(
                unit=unit,
                name=self._name(number),
                state=state,
                layout=layout,
                buckets=buckets,
                created_ms=now_ms,
                bounds=bounds,
            )
            if await self._insert(made):
                return made
            number += 1

    async def ready(self, one: Generation) -> None:
        """Says that a generation has reached the live end.

        Raises:
            GenerationError: it is not being built any more.
        """
        await self._move(one, State.READY)

    async def dropping(self, one: Generation) -> None:
        """Says that a generation is going away: nobody feeds or reads it from now on.

        Raises:
            GenerationError: it serves, or has changed meanwhile.
        """
        pointer = await self.pointer(one.unit)
        if one.name == pointer.serving:
            raise GenerationError(
                f"{one.name} of {one.unit} is in service; promote another one first"
            )
        if one.state is not State.DROPPING:
            await self._move(one, State.DROPPING)
        if pointer.before == one.name:
            await self._point(one.unit, pointer.serving, Pointer(pointer.serving, None, 0))

    async def dropped(self, one: Generation) -> None:
        """Says that nothing is left of a generation."""
        await self._move(msgspec.structs.replace(one, state=State.DROPPING), State.DROPPED)

    async def serve(self, unit: str, name: str, *, instead_of: str, since_ms: int) -> Pointer:
        """Puts a generation into service in another one's place.

        Args:
            unit: The unit.
            name: The generation.
            instead_of: The one that serves now.
            since_ms: The moment at which it takes effect.

        Raises:
            GenerationError: another one serves by now.
        """
        pointer = Pointer(name, instead_of, since_ms)
        await self._point(unit, instead_of, pointer)
        return pointer

    async def _point(self, unit: str, expected: str, pointer: Pointer) -> None:
        values = (pointer.serving, pointer.before or "", pointer.since_ms)
        if unit not in await self.pointers() and expected == self.first:
            first = (self._scope, unit, self.first, "", 0)
            await self._statements.run(_BEGIN_SERVING, first)
        answer = await self._statements.run(_SERVE, (*values, self._scope, unit, expected))
        if not answer[0]["applied"]:
            raise GenerationError(
                f"{unit}: {answer[0].get('serving')} is in service by now, and not {expected}; "
                f"look again with `murmur generations`"
            )

    async def _rows(self) -> list[Generation]:
        rows = await self._statements.run(_ROWS, (self._scope,), serial=True)
        found = [_generation(row) for row in rows]
        return sorted(found, key=lambda one: (one.unit, one.created_ms, one.name))

    async def _move(self, one: Generation, state: State) -> None:
        values = (state, self._scope, one.unit, one.name, one.state)
        answer = await self._statements.run(_MOVE, values)
        if not answer[0]["applied"]:
            raise GenerationError(
                f"{one.name} of {one.unit} is not {one.state} any more; "
                f"look again with `murmur generations`"
            )

    async def _insert(self, one: Generation) -> bool:
        values: Sequence[Any] = (
            self._scope,
            one.unit,
            one.name,
            one.state,
            one.layout,
            one.buckets,
            msgspec.json.encode(one.bounds).decode(),
            one.created_ms,
        )
        return bool((await self._statements.run(_INSERT, values))[0]["applied"])

    def _name(self, number: int) -> str:
        """Tables of all scopes are in one keyspace, so a prefix is part of the name."""
        if self._scope == NO_PREFIX:
            return f"g{number}"
        return f"g{number}_{zlib.crc32(self._scope.encode()):08x}"


def _number(name: str) -> int:
    found = _NUMBERED.match(name)
    return int(found.group(1)) if found else 1


def _generation(row: Mapping[str, Any]) -> Generation:
    return Generation(
        unit=row["unit"],
        name=row["generation"],
        state=State(row["state"]),
        layout=row["layout"],
        buckets=row["buckets"],
        created_ms=row["created_ms"],
        bounds=msgspec.convert(json.loads(row["bounds"]), Bounds),
    )


class Phase:
    """Whether a worker's generation is being built; once it is not, it never is again.

    Args:
        generations: The registry.
        unit: The worker's unit.
        name: Its generation.
    """

    def __init__(self, generations: Generations, unit: str, name: str) -> None:
        self._generations = generations
        self._unit = unit
        self._name = name
        self._building = True

    async def building(self) -> bool:
        """Returns whether it is; asked after a slice's facts are durable, it is never an old yes.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        if self._building:
            self._building = await self._generations.building(self._unit, self._name)
        return self._building


async def never_building() -> bool:
    """Of a generation that was not begun by a replay."""
    return False
