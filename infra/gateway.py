"""A gateway process: the composition of `gateway.build`, served until it is told to stop.

`murmur gateway` runs one in the foreground. Several on one machine share the port; the kernel
spreads connections over them. A SIGTERM lets the requests under way finish.

The keys that sign tokens and pushes are files of mode 0600, made at the first start, so that
`murmur token`, `murmur router` and every gateway process on the machine agree; the key of cursors
is derived from that of tokens.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import uvloop
from prometheus_client import REGISTRY

from events.admin import Admin
from events.codec import Codec
from events.errors import EventsError
from events.log import Log
from events.snowflake import SnowflakeMinter
from gateway.app import Gateway
from gateway.auth import Tokens
from gateway.build import Services, build
from gateway.guards.guards import Guards
from gateway.health import READY_SECONDS_MAX, Check, Health
from gateway.links import Links
from gateway.metrics import GatewayMetrics
from gateway.openings import Openings
from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from gateway.server import Server
from infra import compose, degrading, levels, trending
from infra.compose import Engines
from infra.following import Following, ended
from infra.guarded import Guarded, guarded
from infra.keys import token_key
from infra.letters.desk import Desk, Reading
from infra.letters.watch import watch
from infra.router.vapid import public_key, vapid_key
from infra.settings import Settings, load
from projections.base import RetryableError
from projections.positions import AppliedPositions
from projections.text.language import detect

log = logging.getLogger("murmur.gateway")

DELIVERY_MS_MAX = 6_000
"""An append ends within this and two seconds: before the request, so that its outcome is told."""


class UnitState:
    """Where a unit is, and what it reads; for `X-Wait-For` and `/readyz`."""

    def __init__(self, topics: frozenset[str], applied: AppliedPositions, generation: str) -> None:
        self.topics = topics
        self.applied = applied
        self.generation = generation


def _checks(on: Engines, units: Mapping[str, UnitState], guards: Guards) -> dict[str, Check]:
    """The questions of `/readyz`: the engines, and how far each unit is behind the log.

    A lag is told, and not taken for a fault: it is the same in every gateway process, and taking
    all of them out of service would turn late answers into none.
    """
    settings = on.settings
    admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options, READY_SECONDS_MAX)

    async def lag(unit: UnitState) -> str:
        guards.log.require()
        guards.store.require()
        topics = sorted(unit.topics)
        ends = await asyncio.gather(*map(admin.end_offsets, topics))
        applied = await unit.applied.all()
        behind = sum(
            max(0, end - applied.get(f"{topic}/{partition}", 0))
            for topic, by_partition in zip(topics, ends, strict=True)
            for partition, end in by_partition.items()
        )
        return f"{unit.generation}, {behind} events behind the log"

    engines = {guard.engine: guard.check for guard in guards.all}
    return {**engines, **{name: partial(lag, unit) for name, unit in units.items()}}


def open_tokens(settings: Settings) -> Tokens:
    """Returns what signs and verifies; makes the key file where there is none.

    Raises:
        ValueError: the file holds no such key, or others can read it.
        OSError: the file can be neither read nor made.
    """
    return _tokens(settings, token_key(settings))


def _tokens(settings: Settings, key: bytes) -> Tokens:
    return Tokens(key, lifetime_seconds=settings.token_days * 86_400)


class Composition:
    """Makes gateways of one process: one for each set of generations that comes into service.

    Args:
        behind: The engines, behind their guards.
        log: Appends events.
        minter: Makes ids.
        metrics: Counts.
        key: Secret of tokens and cursors.
        level: The level of degrading.
        codec: Encodes edited bodies of dead letters.
        push_key: What browsers subscribe with.
    """

    def __init__(
        self,
        behind: Guarded,
        log: Log,
        minter: SnowflakeMinter,
        metrics: GatewayMetrics,
        key: bytes,
        level: degrading.Degrading,
        codec: Codec,
        push_key: str,
    ) -> None:
        settings = behind.on.settings
        self.openings = Openings(log, minter, metrics, settings.timeline_opened_hours * 3600)
        self.letters = Reading(behind.on)
        self._desk = Desk(self.letters, log, minter, codec)
        self._behind = behind
        self._log = log
        self._minter = minter
        self._metrics = metrics
        self._key = key
        self._level = level
        self._push_key = push_key
        self._tokens = _tokens(settings, key)

    def build(self, on: Engines) -> tuple[Gateway, Health]:
        """Returns the gateway that reads the generations of ``on``, and its health."""
        units = {
            name: UnitState(make(on).topics, on.applied(name), on.generation(name))
            for name, make in compose.UNITS.items()
        }
        self._level.watch(units)
        self.letters.on = on
        timelines = compose.timelines_reader(on)
        accounts, engagement = compose.accounts_reader(on), compose.engagement_reader(on)
        tweets = CountedTweets(compose.tweets_reader(on), engagement)
        tweets.loads_counts = self._level.loads_counts
        return build(
            Services(
                log=self._log,
                minter=self._minter,
                accounts=accounts,
                tweets=tweets,
                mentions=compose.mentions_reader(on),
                threads=compose.threads_reader(on),
                engagement=engagement,
                authors=timelines.authors,
                graph=timelines.graph,
                home=HomeTimelines(timelines, tweets, accounts),
                collections=compose.collections_reader(on),
                search=compose.search_reader(on),
                people=compose.people_reader(on),
                notifications=compose.notifications_reader(on),
                trends=trending.reader(on),
                links=Links(self._key, on.settings.public_url),
                push_key=self._push_key,
                openings=self.openings,
                units=units,
                tokens=self._tokens,
                tweet_partitions=on.topics.partitions("new-tweets"),
                cursor_secret=self._key,
                checks={
                    **_checks(on, units, self._behind.guards),
                    "level": self._level.check,
                },
                metrics=self._metrics,
                version=_version(),
                guards=self._behind.guards,
                letters=self._desk,
                read_seconds_max=on.settings.gateway_read_s,
                levels=self._level.levels,
                admission=self._level.admission,
            )
        )


async def serve(settings: Settings, stop: asyncio.Event, *, share_port: bool = False) -> None:
    """Serves until `stop` is set, then finishes what is under way.

    Raises:
        RetryableError: an engine is away.
        OSError: the port is taken, or a key cannot be read.
        ValueError: a file holds no such key, or others can read it.
    """
    key = await asyncio.to_thread(token_key, settings)
    push_key = public_key(await vapid_key(settings.vapid_key_path))
    await asyncio.to_thread(detect, "the first call loads the model")
    metrics = GatewayMetrics(REGISTRY)
    async with (
        compose.engines(settings, redis_seconds_max=settings.gateway_redis_s) as engines,
        guarded(engines, metrics) as behind,
        compose.open_log(
            engines,
            delivery_ms_max=DELIVERY_MS_MAX,
            statements=behind.statements,
            producer=behind.producer,
        ) as log,
        compose.open_minter(engines, statements=behind.statements) as minter,
    ):
        on = behind.on
        orders = levels.orders_of(on, behind.statements)
        admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)
        level = degrading.Degrading(settings, behind.guards, admin, orders, metrics)
        codec = Codec(await engines.registry.publish(), engines.registry)
        composition = Composition(behind, log, minter, metrics, key, level, codec, push_key)
        gateway, health = composition.build(on)
        # What lives as long as the process is not looked at again: a full collection of what is
        # imported by now takes 22 ms, and every reader waits behind it.
        gc.collect()
        gc.freeze()
        server = Server(
            gateway, settings.gateway_host, settings.gateway_port, share_port=share_port
        )

        def change(on: Engines) -> None:
            nonlocal health
            gateway, health = composition.build(on)
            server.answer_with(gateway)

        async with level.running():
            await server.start()
            following = asyncio.create_task(Following(on, change).run())
            watching = asyncio.create_task(watch(composition.letters, metrics))
            try:
                await stop.wait()
            finally:
                await ended(following)
                watching.cancel()
            health.draining = True
            await server.stop()
        await composition.openings.close()
        await composition.letters.close()


def _version() -> str:
    try:
        return version("murmuration")
    except PackageNotFoundError:  # run from a folder that was not installed
        return "0"


async def run(settings: Settings, *, share_port: bool) -> None:
    """Serves until SIGTERM or SIGINT; see :func:`serve`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop, share_port=share_port)


def main() -> None:
    """`python -m infra.gateway`: one of several processes that share the port."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        uvloop.run(run(load().settings, share_port=True))
    except (RetryableError, EventsError, OSError, ValueError) as error:
        log.critical("the gateway ends: %s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
