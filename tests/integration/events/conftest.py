"""The event library on the session's engines, with this test's own topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cassandra.cluster import Session

from events.admin import Admin
from events.cassandra import Statements
from events.codec import Codec
from events.idempotency import CassandraIdempotency
from events.log import Log
from events.producer import ProducerSettings
from events.reader import Reader
from events.registry import Registry
from infra.settings import Settings
from schemas.catalog import Topics

Opener = Callable[..., Awaitable[Log]]


@dataclass(frozen=True)
class Events:
    """Everything of the library, opened; topics exist and are this test's own."""

    settings: Settings
    topics: Topics
    admin: Admin
    registry: Registry
    codec: Codec
    reader: Reader
    keys: CassandraIdempotency
    open_log: Opener


@pytest.fixture(scope="session")
async def registry(stack: Settings) -> AsyncIterator[Registry]:
    async with httpx.AsyncClient(timeout=30) as client:
        yield Registry(stack.registry_url, client)


@pytest.fixture(scope="session")
async def statements(stack: Settings, cassandra: Session) -> Statements:
    return Statements(cassandra, stack.keyspace)


@pytest.fixture
async def events(
    settings: Settings, registry: Registry, statements: Statements
) -> AsyncIterator[Events]:
    topics = Topics(settings.topic_prefix, "local")
    admin = Admin(settings.kafka_bootstrap, topics)
    await admin.ensure_topics()
    keys = CassandraIdempotency(statements, ttl_seconds=600)
    await keys.create()
    codec = Codec(await registry.publish(), registry)
    logs: list[Log] = []

    async def open_log(**changes: Any) -> Log:
        producer = ProducerSettings(**{"bootstrap": settings.kafka_bootstrap, **changes})
        log = Log(producer, codec, topics, keys)
        await log.open()
        logs.append(log)
        return log

    reader = Reader(settings.kafka_bootstrap, topics, Codec({}, registry))
    yield Events(settings, topics, admin, registry, codec, reader, keys, open_log)
    for log in logs:
        await log.close(1)
