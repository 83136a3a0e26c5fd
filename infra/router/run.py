"""A router process: follows ``new-tweets`` from where the last one was, and pushes.

The first router of a log begins at its end: what was posted before anybody could be pushed to is
told in the app. Several may run; each reads everything, and the ledger has each notification sent
by one of them. Readers follow the generations in service, as the gateway's do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

from events.cassandra import Statements
from events.errors import RetryableError as EventsRetryable
from events.log import Log
from events.slices import LogRecord
from events.snowflake import SnowflakeMinter, time_of
from events.types import DeliveryAddressRemoved
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets, open_view
from infra.diff import keys
from infra.following import Following, ended
from infra.router.ledger import Ledger
from infra.router.ports import Pushes
from infra.router.route import Reads, Router
from projections.base import RetryableError
from projections.notifications.layout import WEB_PUSH, Address
from projections.notifications.unit import NAME

TOPIC = "new-tweets"
DECIDING = ("tweets", NAME)
"""Units that must have applied a tweet before it is decided who is pushed to."""

APPLIED_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02
PAUSE_SECONDS = 1.0

log = logging.getLogger("murmur.router")


def reads_of(on: Engines) -> Reads:
    """Returns the reading sides that decide."""
    return Reads(
        compose.accounts_reader(on),
        compose.timelines_reader(on).graph,
        compose.tweets_reader(on),
        compose.notifications_reader(on),
    )


def ledger_of(on: Engines) -> Ledger:
    """Returns the ledger of the log that these engines' settings name."""
    return Ledger(Statements(on.session, on.settings.keyspace), f"log:{on.settings.topic_prefix}")


class Applied:
    """Waits until the units that decide have applied records.

    Attributes:
        on: At the generations in service.
    """

    def __init__(self, on: Engines) -> None:
        self.on = on

    async def __call__(self, records: Sequence[LogRecord]) -> None:
        """Returns when they have, or after ``APPLIED_SECONDS_MAX``."""
        wanted: dict[str, int] = {}
        for record in records:
            source = f"{record.topic}/{record.partition}"
            wanted[source] = max(wanted.get(source, 0), record.offset + 1)
        deadline = time.monotonic() + APPLIED_SECONDS_MAX
        for unit in DECIDING:
            applied = self.on.applied(unit)
            for source, end in wanted.items():
                while time.monotonic() < deadline:
                    if await applied.at(source) >= end:
                        break
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


async def run(on: Engines, pushes: Pushes, stop: asyncio.Event) -> dict[str, int]:
    """Routes until told to stop; returns how many notifications had what outcome.

    Raises:
        RetryableError, EventsError, KafkaException: an engine was away at the beginning.
    """
    ledger = ledger_of(on)
    await ledger.create()
    async with compose.open_log(on) as appending, compose.open_minter(on) as minter:
        applied = Applied(on)
        router = Router(reads_of(on), ledger, pushes, Ending(appending, minter), applied)

        def change(there: Engines) -> None:
            router.reads, applied.on = reads_of(there), there

        following = asyncio.create_task(Following(on, change).run())
        try:
            await _follow(on, router, ledger, stop)
        finally:
            await ended(following)
    return router.counts


async def _follow(on: Engines, router: Router, ledger: Ledger, stop: asyncio.Event) -> None:
    view = open_view(on)
    try:
        stored = await ledger.positions()
        start: Offsets = {at: stored.get(at, end) for at, end in (await view.ends([TOPIC])).items()}
        await ledger.reached(start)
        following = view.follow(start)
        try:
            async for records, upto in following:
                if records and not await _routed(router, records, stop):
                    break  # the next router reads them again
                moved = {at: offset for at, offset in upto.items() if offset != start[at]}
                if moved:
                    await ledger.reached(moved)
                    start = upto
                if stop.is_set():
                    break
        finally:
            await following.aclose()
    finally:
        view.close()


async def _routed(router: Router, records: Sequence[LogRecord], stop: asyncio.Event) -> bool:
    """Routes, again and again while an engine is away; False when told to stop before."""
    while True:
        try:
            await router.route(records)
        except (RetryableError, EventsRetryable) as error:
            log.warning("pushes wait: %s", error)
            if stop.is_set():
                return False
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return True


async def mailed(on: Engines) -> AsyncIterator[int]:
    """Yields the users who have any address."""
    tables = [keys.Table("notice_addresses", ("user_id",))]
    async for user in keys.every([on.store_of(NAME)], tables):
        assert isinstance(user, int)
        yield user
