"""The registry of generations: the same on the real store and on the one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_hex

import pytest

from events.cassandra import Statements
from events.errors import StoreUnavailable
from infra.settings import Settings
from projections.generations import (
    NO_PREFIX,
    WHOLE,
    Bounds,
    GenerationError,
    Generations,
    Pointer,
    State,
)
from projections.positions import POSITIONS_TABLE, begin_at, forget_positions, stored_positions
from tests.contracts.case import World
from tests.memory.statements import MemoryStatements
from tests.memory.store import Database

FIRST = "g1"
_ROW = "INSERT INTO {keyspace}.generations_serving (scope, unit, serving) VALUES (?, ?, ?)"
_GONE = "DELETE FROM {keyspace}.generations_serving WHERE scope = ? AND unit = ?"


@pytest.fixture(params=["memory", pytest.param("engines", marks=pytest.mark.engines)])
def statements(request: pytest.FixtureRequest) -> Statements:
    """Of the store in memory, and of the real one."""
    if request.param == "memory":
        return MemoryStatements(Database())
    stack: Settings = request.getfixturevalue("stack")
    return Statements(request.getfixturevalue("cassandra"), stack.keyspace)


@pytest.fixture(params=["", "prefix-"], ids=["no prefix", "prefix"])
def prefix(request: pytest.FixtureRequest) -> str:
    """A topic prefix; the empty one is what an installation has that shares nothing."""
    return f"{request.param}{token_hex(4)}-" if request.param else ""


@pytest.fixture
async def registry(statements: Statements, prefix: str) -> Generations:
    """A registry with its tables."""
    found = Generations(statements, prefix, FIRST)
    await found.create()
    return found


@pytest.fixture
async def unit(statements: Statements, prefix: str, registry: Generations) -> AsyncIterator[str]:
    """A unit that no other test has; whatever is left of it afterwards is a row that is dropped."""
    name = f"unit{token_hex(6)}"
    yield name
    for one in await registry.of(name):
        await registry.dropping(one)
        await registry.dropped(one)
    await statements.run(_GONE, (prefix or NO_PREFIX, name))


async def test_a_generation_lives_and_serves(registry: Generations, unit: str, prefix: str) -> None:
    assert await registry.pointer(unit) == Pointer(FIRST)
    made = await registry.begin(unit, layout=2, buckets=16, now_ms=5)
    assert made.name.startswith("g2_") if prefix else made.name == "g2"
    assert await registry.of(unit) == [made] and await registry.building(unit, made.name)
    with pytest.raises(GenerationError, match="being built already"):
        await registry.begin(unit, layout=2, buckets=16, now_ms=6)
    await registry.ready(made)
    assert not await registry.building(unit, made.name)
    served = await registry.serve(unit, made.name, instead_of=FIRST, since_ms=7)
    assert await registry.pointer(unit) == served == Pointer(made.name, FIRST, 7)
    (ready,) = await registry.of(unit)
    with pytest.raises(GenerationError, match="is in service"):
        await registry.dropping(ready)
    await registry.serve(unit, FIRST, instead_of=made.name, since_ms=8)
    await registry.dropping(ready)
    assert await registry.pointer(unit) == Pointer(FIRST)  # there is no way back to it
    (dropping,) = await registry.of(unit)
    assert dropping.state is State.DROPPING
    await registry.dropped(dropping)
    assert await registry.of(unit) == []
    again = await registry.begin(unit, layout=2, buckets=16, now_ms=9)
    assert again.name.startswith("g3")  # a name is given once


async def test_of_two_engineers_one_learns_that_the_other_was_first(
    registry: Generations, unit: str
) -> None:
    one = await registry.begin(unit, layout=1, buckets=16, now_ms=5)
    part = Bounds(only=(7,))
    other = await registry.begin(unit, layout=1, buckets=16, now_ms=6, bounds=part)
    assert [found.bounds for found in await registry.of(unit)] == [WHOLE, part]
    await registry.serve(unit, one.name, instead_of=FIRST, since_ms=0)
    with pytest.raises(GenerationError, match="in service by now"):
        await registry.serve(unit, other.name, instead_of=FIRST, since_ms=0)
    await registry.ready(one)
    with pytest.raises(GenerationError, match="not building any more"):
        await registry.ready(one)
    await registry.serve(unit, FIRST, instead_of=one.name, since_ms=0)


async def test_the_store_refuses_an_empty_key(statements: Statements, unit: str) -> None:
    # Why the scope of no prefix has a name; the store in memory must not hide it.
    with pytest.raises(StoreUnavailable, match="Key may not be empty"):
        await statements.run(_ROW, ("", unit, FIRST))


async def test_positions_that_are_forgotten_stay_so(world: World) -> None:
    """A worker that slept through a drop writes with the timestamp of an offset."""
    await world.store.create("positions", POSITIONS_TABLE)
    unit = f"unit{token_hex(6)}"
    await begin_at(world.store, unit, "t", {0: 3, 1: 4}, "id")
    assert await stored_positions(world.store, unit) == {"t/0": 3, "t/1": 4}
    await forget_positions(world.store, unit, ["t"])
    await begin_at(world.store, unit, "t", {0: 5, 2: 6}, "id")
    assert await stored_positions(world.store, unit) == {}
