"""Two generations, the one that is live and one to replay into: in memory, and on the real engines.

What passes on both is what makes the engines in memory fit to stand in for the real ones in
``tests/model``.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cassandra.cluster import Session

from infra.settings import Settings
from projections.bus import RedisBus
from projections.store import Store
from tests.contracts.case import World
from tests.memory.bus import MemoryBus
from tests.memory.redis import Redis
from tests.memory.store import Database, MemoryStore

SEED_ON_ENGINES = 1
"""Of the histories, the one that `make test` applies to real engines too; in memory it does all."""

OTHER_GENERATION = "t2"
"""One for the session: a generation costs tables."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is shown in memory, and takes minutes on the engines, is left to `make long`."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if params.get("pair") == "engines" and params.get("seed", 1) != SEED_ON_ENGINES:
            item.add_marker(pytest.mark.long)


@dataclass
class Pair:
    """The generation that is live, and the one to replay into."""

    live: World
    other: World


@pytest.fixture(params=["memory", pytest.param("engines", marks=pytest.mark.engines)])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Both, on the same engines."""
    if request.param == "memory":
        redis, database = Redis(), Database()
        return Pair(
            *(
                World(MemoryBus(redis), MemoryStore(database, generation))
                for generation in ("t1", OTHER_GENERATION)
            )
        )
    stack: Settings = request.getfixturevalue("stack")
    bus: RedisBus = request.getfixturevalue("redis")
    session: Session = request.getfixturevalue("cassandra")
    return Pair(
        *(
            World(bus, Store(session, stack.keyspace, generation))
            for generation in (stack.generation, OTHER_GENERATION)
        )
    )


@pytest.fixture
def world(pair: Pair) -> World:
    """The generation that is live."""
    return pair.live


@pytest.fixture
def other_generation(pair: Pair) -> World:
    """The generation to replay into."""
    return pair.other
