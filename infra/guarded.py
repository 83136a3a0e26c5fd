"""The gateway's engines behind guards: one composition of breakers, deadlines and what they wrap.

Everything that the gateway reads with is made of the engines returned here, so that no reader, and
none that is added, can reach an engine past its guard. Why these thresholds: decision 0090.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from events.admin import Admin
from events.cassandra import Statements
from events.idempotency import CassandraIdempotency
from events.producer import RECONNECT_MS_MAX, ProducerSettings, RecordProducer
from gateway.guards.breaker import Thresholds
from gateway.guards.bus import GuardedBus
from gateway.guards.guard import Guard
from gateway.guards.guards import Guards
from gateway.guards.log import GuardedProducer
from gateway.guards.store import GuardedStatements, GuardedStore
from gateway.limits import STORE_SLOW_SECONDS
from gateway.metrics import GatewayMetrics
from infra.compose import Engines

PROBE_SECONDS_MAX = 1.0

STORE = Thresholds(bad_min=5, slow_seconds=STORE_SLOW_SECONDS)
# A slow Redis is not given up: what would be read instead is slower still. One connection that is
# lost or overdue fails all that wait for it at once, which is one bad moment and not many.
REDIS = Thresholds(bad_seconds=0.5)
# One append that meets no broker is enough: it took seconds to find out.
LOG = Thresholds(bad_min=1, bad_share=0.0, trials_max=8, successes_min=1)


@dataclass(frozen=True)
class Guarded:
    """What the gateway is made of.

    Attributes:
        on: The engines, store and Redis behind their guards.
        guards: Of the three engines.
        statements: Lightweight transactions, behind the store's guard.
        producer: Makes the log's producer, behind its guard.
    """

    on: Engines
    guards: Guards
    statements: Statements
    producer: Callable[[ProducerSettings], RecordProducer]


@asynccontextmanager
async def guarded(on: Engines, metrics: GatewayMetrics) -> AsyncIterator[Guarded]:
    """Puts guards before the engines; stops their probes at the end.

    Args:
        on: The engines, connected.
        metrics: Where the guards are shown.
    """
    settings = on.settings
    guards = _guards(on, metrics)
    store = GuardedStore(
        on.session,
        settings.keyspace,
        settings.generation,
        guards.store,
        metrics,
        seconds_max=settings.gateway_store_s,
    )
    bus = GuardedBus(on.bus, guards.redis, seconds_max=settings.gateway_redis_s)
    statements = GuardedStatements(
        on.session, settings.keyspace, guards.store, seconds_max=settings.gateway_store_s
    )
    try:
        yield Guarded(
            replace(on, bus=bus, store=store),
            guards,
            statements,
            lambda chosen: GuardedProducer(chosen, guards.log),
        )
    finally:
        await guards.close()


def _guards(on: Engines, metrics: GatewayMetrics) -> Guards:
    settings = on.settings
    # A read at QUORUM of a table of ours, which is more than a node that listens.
    keys = CassandraIdempotency(Statements(on.session, settings.keyspace))
    options = {"reconnect.backoff.max.ms": str(RECONNECT_MS_MAX), **settings.kafka_options}
    admin = Admin(settings.kafka_bootstrap, on.topics, options)

    async def store() -> None:
        await keys.get("probe")

    async def redis() -> None:
        await on.bus.call("EXISTS", on.keys("gateway").applied)

    async def log() -> None:
        await admin.answers(PROBE_SECONDS_MAX)

    return Guards(
        store=Guard("store", STORE, store, metrics, probe_seconds=PROBE_SECONDS_MAX),
        redis=Guard("redis", REDIS, redis, metrics, probe_seconds=PROBE_SECONDS_MAX),
        log=Guard(
            "log", LOG, log, metrics, probe_seconds=2 * PROBE_SECONDS_MAX, probe_closes=False
        ),
    )
