"""Two generations on the real engines: the one that is live, and one to replay into."""

from __future__ import annotations

import pytest
from cassandra.cluster import Session

from infra.settings import Settings
from projections.bus import RedisBus
from projections.store import Store
from tests.contracts.case import World

OTHER_GENERATION = "t2"
"""One for the session: a generation costs tables."""


@pytest.fixture
def world(stack: Settings, redis: RedisBus, cassandra: Session) -> World:
    """The generation that is live."""
    return World(redis, Store(cassandra, stack.keyspace, stack.generation))


@pytest.fixture
def other_generation(stack: Settings, redis: RedisBus, cassandra: Session) -> World:
    """The generation to replay into."""
    return World(redis, Store(cassandra, stack.keyspace, OTHER_GENERATION))
