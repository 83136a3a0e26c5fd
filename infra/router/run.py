"""A router process: follows the log from where the last one was; pushes, and has addresses
confirmed.

The first router of a log begins at its end: what was posted before anybody could be pushed to is
told in the app. Several may run; each reads everything, and the ledger has each notification sent
by one of them. Readers follow the generations in service, as the gateway's do. While pushes are off
(:mod:`.pausing`) it reads no further.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from events.cassandra import Statements
from events.errors import RetryableError as EventsRetryable
from events.log import Log
from events.slices import LogRecord
from events.snowflake import SnowflakeMinter, time_of
from events.types import DeliveryAddressRemoved
from infra import compose, trending
from infra.compose import Engines
from infra.demo.convergence import LogView, Offsets, open_view
from infra.diff import keys
from infra.following import Following, ended
from infra.levels import heard, orders_of
from infra.router.confirming import Confirmations, Mailing
from infra.router.ledger import Ledger
from infra.router.metrics import RouterMetrics
from infra.router.pausing import Pausing, Stopped
from infra.router.ports import Pushes
from infra.router.route import Reads, Router
from infra.router.trends import TrendPushes
from projections.base import RetryableError
from projections.notifications.layout import WEB_PUSH, Address
from projections.notifications.unit import NAME

TOPICS = ("new-tweets", "user-activity")
"""What is pushed about, and where addresses are proposed."""

DECIDING = ("tweets", NAME)
"""Units that must have applied a tweet before it is decided who is pushed to."""

APPLIED_SECONDS_MAX = 5.0
"""Before it is said that pushes wait for a unit; they do until it has applied what they are about,
or until that is too old to be pushed."""

POLL_SECONDS = 0.02
PAUSE_SECONDS = 1.0
"""Before what failed is tried again, and what is waiting."""

TREND_SECONDS = 5.0
"""How often it is looked whether anything began to trend."""

LAG_SECONDS = 5.0
"""How often the log is asked where it ends, for the metric."""

log = logging.getLogger("murmur.router")


def reads_of(on: Engines) -> Reads:
    """Returns the reading sides that decide."""
    return Reads(
        compose.accounts_reader(on),
        compose.timelines_reader(on).graph,
        compose.tweets_reader(on),
        compose.notifications_reader(on),
        trending.reader(on),
    )


def ledger_of(on: Engines, of: str = "log") -> Ledger:
    """Returns the ledger of the log that these engines' settings name.

    Args:
        on: The engines.
        of: ``log``; or ``mail``, for what is counted apart from pushes.
    """
    return Ledger(Statements(on.session, on.settings.keyspace), f"{of}:{on.settings.topic_prefix}")


class Applied:
    """Waits until the units that decide have applied records.

    Attributes:
        on: At the generations in service.
    """

    def __init__(self, on: Engines) -> None:
        self.on = on

    async def __call__(self, records: Sequence[LogRecord]) -> None:
        """Returns when they have.

        Raises:
            RetryableError: one of the units has not yet; a decision now could be the wrong one.
        """
        wanted: dict[str, int] = {}
        for record in records:
            source = f"{record.topic}/{record.partition}"
            wanted[source] = max(wanted.get(source, 0), record.offset + 1)
        deadline = time.monotonic() + APPLIED_SECONDS_MAX
        for unit in DECIDING:
            applied = self.on.applied(unit)
            for source, end in wanted.items():
                while await applied.at(source) < end:
                    if time.monotonic() > deadline:
                        raise RetryableError(f"{unit} has not applied {source} up to {end}")
                    await asyncio.sleep(POLL_SECONDS)


class Ending:
    """Says to the log that nobody is at an address any more."""

    def __init__(self, appending: Log, minter: SnowflakeMinter) -> None:
        self._log = appending
        self._minter = minter

    async def __call__(self, user_id: int, address: Address) -> None:
        """Appends it."""
        event_id = await self._minter.mint()
        event = DeliveryAddressRemoved(
            event_id=event_id,
            occurred_at=time_of(event_id),
            user_id=user_id,
            channel=WEB_PUSH,
            address=address.address,
        )
        await self._log.append(event)


async def run(
    on: Engines,
    pushes: Pushes,
    stop: asyncio.Event,
    metrics: RouterMetrics,
    mailing: Mailing | None = None,
) -> dict[str, int]:
    """Routes until told to stop; returns how many notifications had what outcome.

    Raises:
        RetryableError, EventsError, KafkaException: an engine was away at the beginning.
    """
    ledger, orders, pausing = ledger_of(on), orders_of(on), Pausing(stop, metrics)
    await ledger.create()
    await orders.create()
    # What an operator ordered before holds for the first push.
    await pausing.told(await orders.said())
    async with AsyncExitStack() as closing:
        appending = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        view = open_view(on)
        closing.callback(view.close)
        applied = Applied(on)
        router = Router(
            reads_of(on), ledger, pushes, Ending(appending, minter), applied, pausing, metrics
        )

        confirmations = Confirmations(ledger_of(on, "mail"), mailing, metrics)

        def change(there: Engines) -> None:
            router.reads, applied.on = reads_of(there), there

        # Whoever sees a position of any kind knows that the log's are there: trends come after.
        start = await _started(view, ledger)
        for beside in (
            Following(on, change).run(),
            heard(orders, pausing.told),
            _observe(view, ledger, metrics),
            _tell_trends(TrendPushes(router, ledger), pausing),
        ):
            closing.push_async_callback(ended, asyncio.create_task(beside))
        await _follow(view, start, router, confirmations, ledger, stop)
    return router.counts


async def _started(view: LogView, ledger: Ledger) -> Offsets:
    """Returns where to begin: where the last router was, or at the end, and says so."""
    stored = await ledger.positions()
    ends = await view.ends(TOPICS)
    start: Offsets = {at: stored.get(at, end) for at, end in ends.items()}
    await ledger.reached(start)
    return start


async def _follow(
    view: LogView,
    start: Offsets,
    router: Router,
    confirmations: Confirmations,
    ledger: Ledger,
    stop: asyncio.Event,
) -> None:
    following = view.follow(start)
    again_at = 0.0
    try:
        async for records, upto in following:
            if records or (router.waiting and time.monotonic() > again_at):
                if not await _routed(router, confirmations, records, stop):
                    break  # the next router reads them again
                again_at = time.monotonic() + PAUSE_SECONDS
            moved = {at: offset for at, offset in upto.items() if offset != start[at]}
            if moved and not router.waiting:
                await ledger.reached(moved)
                start = upto
            if stop.is_set():
                break
    finally:
        await following.aclose()


async def _routed(
    router: Router,
    confirmations: Confirmations,
    records: Sequence[LogRecord],
    stop: asyncio.Event,
) -> bool:
    """Routes, again and again while an engine is away; False when told to stop before."""
    while True:
        try:
            await confirmations.route(records)
            await router.route(records)
        except Stopped:
            return False
        except (RetryableError, EventsRetryable) as error:
            log.warning("pushes wait: %s", error)
            router.metrics.retries.inc()
            if stop.is_set():
                return False
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return True


async def _tell_trends(trends: TrendPushes, allowed: Pausing) -> None:
    while True:
        try:
            await allowed()
            await trends.turn()
        except Stopped:
            return
        except (RetryableError, EventsRetryable) as error:
            log.warning("pushes of trends wait: %s", error)
        await asyncio.sleep(TREND_SECONDS)


async def lags(view: LogView, ledger: Ledger) -> Offsets:
    """Returns how many records of each partition were not dealt with; empty before any router.

    Raises:
        RetryableError, EventsError: an engine is away.
    """
    reached = await ledger.positions()
    ends = await view.ends(TOPICS) if reached else {}
    return {at: max(0, end - reached.get(at, end)) for at, end in ends.items()}


async def _observe(view: LogView, ledger: Ledger, metrics: RouterMetrics) -> None:
    while True:
        try:
            for (topic, partition), lag in (await lags(view, ledger)).items():
                metrics.lag.labels(topic, str(partition)).set(lag)
        except (RetryableError, EventsRetryable) as error:
            log.debug("the lag is not known: %s", error)
        await asyncio.sleep(LAG_SECONDS)


async def mailed(on: Engines) -> AsyncIterator[int]:
    """Yields the users who have any address."""
    tables = [keys.Table("notice_addresses", ("user_id",))]
    async for user in keys.every([on.store_of(NAME)], tables):
        assert isinstance(user, int)
        yield user
