"""A log with poison in it, workers in the test's own loop, and the operators' desk."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from events.codec import Codec
from events.letters import LetterId, State
from events.log import Log
from events.position import Position
from events.types import Event, LetterDiscarded, RedriveRequested, key_of, topic_of
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Lag, LogView, open_view
from infra.diff.oracle import UNIT_OF
from infra.letters.desk import Desk, Reading
from infra.prepare import prepare_on
from infra.settings import Settings
from streams.settings import WorkerSettings
from streams.worker import run_worker
from tests.oracle import LogRecord, Oracle
from tests.oracle_redrive import meant

LAG_S_MAX = 150.0
UNITS = ("accounts", "tweets", "timelines", "engagement", "collections")
UNKNOWN_SCHEMA = b"\0\x7f\xff\xff\xff"


class Town:
    """Everything at hand."""

    def __init__(self, on: Engines, log: Log, view: LogView, reading: Reading, desk: Desk) -> None:
        self.on = on
        self.log = log
        self.view = view
        self.reading = reading
        self.desk = desk
        self.codec: Codec
        self._ids = (1 << 61) + (secrets.randbits(38) << 20)

    def id(self) -> int:
        """A fresh id, higher than those before."""
        self._ids += 1
        return self._ids

    def say(self, kind: type[Event], **fields: Any) -> Event:
        """An event with the fields that every event has."""
        return kind(event_id=self.id(), occurred_at=time.time_ns() // 1_000_000, **fields)

    async def good(self, event: Event) -> Position:
        """Appends an event."""
        return await self.log.append(event)

    async def poison(self, event: Event, value: bytes | None) -> Position:
        """Appends bytes where an event was meant."""
        return await self.log.append_raw(topic_of(event), key_of(event), value, [])

    async def settled(self, on: Engines | None = None, units: Sequence[str] = UNITS) -> None:
        """Waits until every unit has applied everything, and reads the letters."""
        await Lag(on or self.on, self.view, units).until_zero(LAG_S_MAX)
        await self.reading.refresh()

    async def states(self) -> dict[str, State]:
        """The state of every letter, by its name."""
        await self.reading.refresh()
        return {str(name): state for name, state in (await self.reading.states()).items()}

    async def mend(self, unit: str, at: Position, event: Event | bytes) -> Position:
        """Redrives one letter with an edited body; returns where the request is."""
        body = event if isinstance(event, bytes) else self.codec.encode(event)
        name = LetterId(unit, at.topic, at.partition, at.offset)
        (outcome,) = await self.desk.redrive([name], actor="ada", reason="mended", body=body)
        assert outcome.position is not None, outcome.why
        return outcome.position

    async def oracle(self) -> Oracle:
        """What the log says with all that was decided, which is the same for all units here."""
        ends = await self.view.ends(["redrive"])
        decisions = [one.event async for one in self.view.records({}, ends)]
        decided = [one for one in decisions if isinstance(one, RedriveRequested | LetterDiscarded)]
        told: list[LogRecord] = []
        for topic, unit in UNIT_OF.items():
            ends = await self.view.ends([topic])
            records = [one async for one in self.view.records({}, ends)]
            mine = [one for one in decided if one.topic == topic]
            told += meant(unit, records, mine, self.codec.decode, {})
        return Oracle(told)

    def homes(self, on: Engines) -> HomeTimelines[Any, Any]:
        """Home timelines of a generation."""
        return HomeTimelines(
            compose.timelines_reader(on), compose.tweets_reader(on), compose.accounts_reader(on)
        )


@asynccontextmanager
async def workers(on: Engines, units: Sequence[str] = UNITS) -> AsyncIterator[None]:
    """Feeds units of a generation: every one that there is."""
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(
            run_worker(
                WorkerSettings(
                    on.settings.kafka_bootstrap,
                    group=on.group(unit),
                    topic_prefix=on.settings.topic_prefix,
                    commit_interval_seconds=0.2,
                ),
                compose.UNITS[unit](on),
                compose.reader_codec(on),
                stop,
                registry=CollectorRegistry(),
            )
        )
        for unit in units
    ]
    try:
        yield
    finally:
        stop.set()
        codes = await asyncio.gather(*tasks)
    assert codes == [0] * len(units)


@asynccontextmanager
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Topics of its own, and the desk; no workers."""
    async with AsyncExitStack() as closing:
        on = await closing.enter_async_context(compose.engines(settings))
        await prepare_on(on)
        log = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        view = open_view(on)
        closing.callback(view.close)
        reading = Reading(on)
        closing.push_async_callback(reading.close)
        codec = Codec(await on.registry.publish(), on.registry)
        here = Town(on, log, view, reading, Desk(reading, log, minter, codec))
        here.codec = codec
        yield here
