"""One generation on the real engines."""

from __future__ import annotations

import pytest
from cassandra.cluster import Session

from infra.settings import Settings
from projections.bus import RedisBus
from projections.store import Store
from tests.contracts.case import World
from tests.integration.projections.tiers_scene import Scene


@pytest.fixture
def world(stack: Settings, redis: RedisBus, cassandra: Session) -> World:
    """The generation that is live."""
    return World(redis, Store(cassandra, stack.keyspace, stack.generation))


@pytest.fixture
async def scene(world: World) -> Scene:
    """A star and another, each followed by every fan."""
    scene = Scene(world)
    await scene.open()
    for fan in scene.fans:
        scene.follow(fan, scene.star)
        scene.follow(fan, scene.other)
    await scene.drain()
    return scene
