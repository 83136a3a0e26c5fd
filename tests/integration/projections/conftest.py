"""One generation on the real engines."""

from __future__ import annotations

import pytest
from cassandra.cluster import Session

from infra.settings import Settings
from projections.bus import RedisBus
from projections.store import Store
from tests.contracts.case import World


@pytest.fixture
def world(stack: Settings, redis: RedisBus, cassandra: Session) -> World:
    """The generation that is live."""
    return World(redis, Store(cassandra, stack.keyspace, stack.generation))
