"""The composition root: clients and units from settings.

Nothing below `infra` reads settings or opens a connection by itself; it is handed what it needs,
here. Whoever opens closes: use `engines` as an async context.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
from cassandra.cluster import Session

from events.cassandra import Statements
from events.codec import Codec
from events.idempotency import CassandraIdempotency
from events.leases import CassandraLeases
from events.log import Log
from events.producer import ProducerSettings, RecordProducer
from events.registry import Registry
from events.snowflake import SnowflakeMinter
from infra import trending
from infra.fan_out import KafkaChunks, LogEnds
from infra.settings import Settings
from projections import store as store_module
from projections.accounts.read import AccountsReader
from projections.accounts.unit import NAME as ACCOUNTS
from projections.accounts.unit import Accounts
from projections.bus import TIMEOUT_SECONDS, RedisBus
from projections.collections.read import CollectionsReader
from projections.collections.unit import NAME as COLLECTIONS
from projections.collections.unit import Collections
from projections.engagement.read import EngagementReader
from projections.engagement.threads import ThreadsReader
from projections.engagement.unit import NAME as ENGAGEMENT
from projections.engagement.unit import RECORDS_MAX, Engagement
from projections.generations import Generations, Phase
from projections.keys import Keys
from projections.notifications.read import NotificationsReader
from projections.notifications.unit import NAME as NOTIFICATIONS
from projections.notifications.unit import Notifications
from projections.positions import AppliedPositions
from projections.search.layout import Window
from projections.search.people import PeopleReader
from projections.search.read import SearchReader
from projections.search.unit import NAME as SEARCH
from projections.search.unit import RECORDS_MAX as SEARCH_RECORDS_MAX
from projections.search.unit import Search
from projections.store import Store
from projections.timelines.fan_out import NAME as FAN_OUT
from projections.timelines.fan_out import SLICE_CHUNKS_MAX, FanOut
from projections.timelines.keeper import Keeper, KeeperSettings
from projections.timelines.read import TimelinesReader
from projections.timelines.unit import NAME as TIMELINES
from projections.timelines.unit import Timelines
from projections.trends.unit import NAME as TRENDS
from projections.trends.unit import RECORDS_MAX as TREND_RECORDS_MAX
from projections.tweets.mentions import MentionsReader
from projections.tweets.read import TweetsReader
from projections.tweets.unit import NAME as TWEETS
from projections.tweets.unit import Tweets
from projections.unit import StoredUnit
from schemas.catalog import Topics

REGISTRY_SECONDS_MAX = 10.0
CONNECT_SECONDS_MAX = 15.0
BACKLOG_SECONDS = 5.0

STATE_OF = {FAN_OUT: TIMELINES}
"""Units that live in another one's state, and so in its generation."""


@dataclass(frozen=True)
class Engines:
    """Connected clients of the engines that projections stand on.

    Attributes:
        settings: Where they are.
        bus: Redis.
        session: The store.
        store: The tables of the generation that units begin with; see :meth:`store_of`.
        registry: Of the schemas.
        serving: The generation that is in service, by unit; absent for the first.
    """

    settings: Settings
    bus: RedisBus
    session: Session
    store: Store
    registry: Registry
    serving: Mapping[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> Topics:
        """The topics' names on the broker."""
        return Topics(self.settings.topic_prefix, self.settings.site)

    @property
    def generations(self) -> Generations:
        """The registry of the units' generations."""
        settings = self.settings
        statements = Statements(self.session, settings.keyspace)
        return Generations(statements, settings.topic_prefix, settings.generation)

    def at(self, serving: Mapping[str, str]) -> Engines:
        """Returns the same engines with other generations of some units."""
        return replace(self, serving={**self.serving, **serving})

    def generation(self, unit: str) -> str:
        """Returns the generation of a unit that readers and workers made of this are of."""
        return self.serving.get(STATE_OF.get(unit, unit), self.settings.generation)

    def store_of(self, unit: str) -> Store:
        """Returns the tables of the unit's generation."""
        return self.store.of(self.generation(unit))

    def keys(self, unit: str) -> Keys:
        """Names the unit's keys; a topic prefix (as tests use) makes a scope of its own."""
        return Keys(self.generation(unit), self.settings.topic_prefix + unit, self.buckets(unit)[0])

    def buckets(self, unit: str) -> tuple[int, str]:
        """Returns how many buckets a unit's keys lie in, and the setting that says so."""
        if unit == SEARCH:
            return self.settings.search_shards, "MURMUR_SEARCH_SHARDS"
        return self.settings.buckets, "MURMUR_BUCKETS"

    def applied(self, unit: str) -> AppliedPositions:
        """Where a unit is, as readers see it."""
        return AppliedPositions(self.bus, self.store_of(unit), self.keys(unit))

    def group(self, unit: str) -> str:
        """Returns the consumer group of a unit: one per generation, and per topic prefix."""
        return f"murmur.{self.settings.topic_prefix}{self.generation(unit)}.{unit}"


@asynccontextmanager
async def engines(
    settings: Settings, *, redis_seconds_max: float = TIMEOUT_SECONDS
) -> AsyncIterator[Engines]:
    """Connects to Redis, the store and the registry; closes them at the end.

    Every unit is in the generation that serves now; whoever runs for long looks again.

    Args:
        settings: Where they are.
        redis_seconds_max: Longest time of one batch of Redis commands.

    Raises:
        RetryableError: one of them is away.
    """
    async with AsyncExitStack() as closing:
        bus = await open_redis(settings, seconds_max=redis_seconds_max)
        closing.push_async_callback(bus.close)
        session = await open_cassandra(settings)
        closing.push_async_callback(close_cassandra, session)
        client = await closing.enter_async_context(httpx.AsyncClient(timeout=REGISTRY_SECONDS_MAX))
        store = Store(session, settings.keyspace, settings.generation)
        on = Engines(settings, bus, session, store, Registry(settings.registry_url, client))
        await on.generations.create()
        pointers = await on.generations.pointers()
        now_ms = int(time.time() * 1000)
        yield on.at({unit: pointer.at(now_ms) for unit, pointer in pointers.items()})


async def open_redis(settings: Settings, *, seconds_max: float = TIMEOUT_SECONDS) -> RedisBus:
    """Connects to Redis.

    Raises:
        RetryableError: it is away.
    """
    return await RedisBus.connect(settings.redis_url, timeout_seconds=seconds_max)


async def open_cassandra(settings: Settings) -> Session:
    """Connects to the store and makes sure that the keyspace exists.

    Raises:
        RetryableError: it is away.
    """
    return await store_module.connect(
        settings.cassandra_hosts,
        keyspace=settings.keyspace,
        username=settings.cassandra_username,
        password=settings.cassandra_password.get_secret_value(),
        timeout_seconds=CONNECT_SECONDS_MAX,
    )


async def close_cassandra(session: Session) -> None:
    """Closes the session and all its connections."""
    await asyncio.to_thread(session.cluster.shutdown)


@asynccontextmanager
async def open_log(
    on: Engines,
    *,
    delivery_ms_max: int = 10_000,
    statements: Statements | None = None,
    producer: Callable[[ProducerSettings], RecordProducer] = RecordProducer,
) -> AsyncIterator[Log]:
    """Registers the schemas and opens the log for appending; closes it at the end.

    Args:
        on: The engines.
        delivery_ms_max: How long an append may take before its outcome is told.
        statements: Runs those of the idempotency keys.
        producer: Makes what sends the records.

    Raises:
        RetryableError: the registry or the store is away.
    """
    codec = Codec(await on.registry.publish(), on.registry)
    statements = statements or Statements(on.session, on.settings.keyspace)
    idempotency = CassandraIdempotency(statements)
    await idempotency.create()
    settings = ProducerSettings(
        bootstrap=on.settings.kafka_bootstrap,
        options=on.settings.kafka_options,
        delivery_ms_max=delivery_ms_max,
    )
    log = Log(settings, codec, on.topics, idempotency, producer=producer)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def open_minter(
    on: Engines, *, statements: Statements | None = None
) -> AsyncIterator[SnowflakeMinter]:
    """Leases a machine id and mints under it; gives it back at the end.

    Args:
        on: The engines.
        statements: Runs those of the leases.

    Raises:
        RetryableError: the store is away, or every machine id is held.
    """
    leases = CassandraLeases(statements or Statements(on.session, on.settings.keyspace))
    await leases.create()
    minter = SnowflakeMinter(leases)
    await minter.open()
    try:
        yield minter
    finally:
        await minter.close()


def _accounts(on: Engines) -> Accounts:
    return Accounts(on.bus, on.store_of(ACCOUNTS), on.keys(ACCOUNTS))


def _tweets(on: Engines) -> Tweets:
    return Tweets(on.bus, on.store_of(TWEETS), on.keys(TWEETS))


def _timelines(on: Engines) -> Timelines:
    return Timelines(
        on.bus,
        on.store_of(TIMELINES),
        on.keys(TIMELINES),
        chunk_log=_chunks(on),
        popular_threshold=min(on.settings.popular_threshold, on.settings.celebrity_threshold),
        timeline_length=on.settings.timeline_length,
        inactive_days=on.settings.inactive_days,
        building=Phase(on.generations, TIMELINES, on.generation(TIMELINES)).building,
    )


def _fan_out(on: Engines) -> FanOut:
    return FanOut(
        on.bus,
        on.store_of(FAN_OUT),
        on.keys(FAN_OUT),
        timelines=on.keys(TIMELINES),
        chunk_log=_chunks(on),
        timeline_length=on.settings.timeline_length,
        generation=_chunks_of(on),
    )


def _chunks(on: Engines) -> KafkaChunks:
    return KafkaChunks(on, _chunks_of(on))


def _chunks_of(on: Engines) -> str | None:
    """The generation that chunks name; those of the first have none, as before there were more."""
    generation = on.generation(TIMELINES)
    return None if generation == on.settings.generation else generation


def _engagement(on: Engines) -> Engagement:
    return Engagement(on.bus, on.store_of(ENGAGEMENT), on.keys(ENGAGEMENT))


def _collections(on: Engines) -> Collections:
    return Collections(on.bus, on.store_of(COLLECTIONS), on.keys(COLLECTIONS))


def search_window(on: Engines) -> Window:
    """Bounds of the real-time tier."""
    settings = on.settings
    return Window(
        tweets=settings.search_segment_tweets,
        segments=settings.search_segments,
        hours=settings.search_window_hours,
    )


def _search(on: Engines) -> Search:
    return Search(on.bus, on.store_of(SEARCH), on.keys(SEARCH), search_window(on))


def _notifications(on: Engines) -> Notifications:
    return Notifications(on.bus, on.store_of(NOTIFICATIONS), on.keys(NOTIFICATIONS))


UNITS: dict[str, Callable[[Engines], StoredUnit]] = {
    ACCOUNTS: _accounts,
    TWEETS: _tweets,
    TIMELINES: _timelines,
    FAN_OUT: _fan_out,
    ENGAGEMENT: _engagement,
    COLLECTIONS: _collections,
    SEARCH: _search,
    NOTIFICATIONS: _notifications,
    TRENDS: trending.unit,
}
"""The units there are, by name."""

SLICE_RECORDS_MAX = {
    ENGAGEMENT: RECORDS_MAX,
    FAN_OUT: SLICE_CHUNKS_MAX,
    SEARCH: SEARCH_RECORDS_MAX,
    TRENDS: TREND_RECORDS_MAX,
}
"""Records in one slice, of units that want others than the usual number."""


def tier_keeper(on: Engines) -> Keeper:
    """Who promotes and demotes authors; runs in the processes that deliver chunks."""
    settings = on.settings
    return Keeper(
        on.bus,
        on.store_of(TIMELINES),
        on.keys(TIMELINES),
        reader=timelines_reader(on),
        chunk_log=_chunks(on),
        flow=LogEnds(on),
        timelines=on.applied(TIMELINES),
        fan_out=on.applied(FAN_OUT),
        settings=KeeperSettings(
            celebrity_threshold=settings.celebrity_threshold,
            popular_threshold=settings.popular_threshold,
            survey_seconds=settings.tier_survey_s,
            backlog_seconds=min(BACKLOG_SECONDS, settings.tier_survey_s),
            backlog_chunks_max=settings.backlog_chunks_max,
        ),
    )


def accounts_reader(on: Engines) -> AccountsReader:
    """The accounts unit's reading side."""
    return AccountsReader(on.bus, on.store_of(ACCOUNTS), on.keys(ACCOUNTS))


def tweets_reader(on: Engines) -> TweetsReader:
    """The tweets unit's reading side."""
    return TweetsReader(on.bus, on.store_of(TWEETS), on.keys(TWEETS))


def mentions_reader(on: Engines) -> MentionsReader:
    """The tweets unit's lists of whom tweets speak to."""
    return MentionsReader(on.store_of(TWEETS))


def threads_reader(on: Engines) -> ThreadsReader:
    """The engagement unit's reading side for conversations."""
    return ThreadsReader(on.store_of(ENGAGEMENT))


def engagement_reader(on: Engines) -> EngagementReader:
    """The engagement unit's reading side."""
    return EngagementReader(on.bus, on.store_of(ENGAGEMENT), on.keys(ENGAGEMENT))


def collections_reader(on: Engines) -> CollectionsReader:
    """The collections unit's reading side."""
    return CollectionsReader(on.bus, on.store_of(COLLECTIONS), on.keys(COLLECTIONS))


def search_reader(on: Engines) -> SearchReader:
    """The search unit's reading side: the blender of both tiers."""
    return SearchReader(on.bus, on.store_of(SEARCH), on.keys(SEARCH))


def people_reader(on: Engines) -> PeopleReader:
    """The search unit's reading side for users by name."""
    return PeopleReader(on.store_of(SEARCH))


def notifications_reader(on: Engines) -> NotificationsReader:
    """The notifications unit's reading side."""
    return NotificationsReader(on.bus, on.store_of(NOTIFICATIONS), on.keys(NOTIFICATIONS))


def timelines_reader(on: Engines) -> TimelinesReader:
    """The timelines unit's reading side."""
    return TimelinesReader(
        on.bus,
        on.store_of(TIMELINES),
        on.keys(TIMELINES),
        timeline_length=on.settings.timeline_length,
        inactive_days=on.settings.inactive_days,
    )


def reader_codec(on: Engines) -> Codec:
    """A codec that reads what any registered schema wrote, and writes nothing."""
    return Codec({}, on.registry)
