"""Generations of units built in this process from one log, for what compares and repairs them.

A population acts; its log is cut into slices and applied, as a worker would. Generations have names
of their own and are dropped at the end: what a comparison enumerates are whole tables.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import groupby
from typing import Any

from events.admin import Admin
from events.log import Log
from events.slices import Record, Slice
from events.snowflake import SnowflakeMinter
from events.types import Event
from infra import compose, trending
from infra.compose import Engines
from infra.demo.convergence import LogView, Offsets, open_view
from infra.diff.views import KINDS_OF_UNIT
from infra.settings import Settings
from infra.simulate.appender import Appender
from infra.simulate.generator import Plan
from infra.tasks import cancelled
from projections.base import Unit
from tests.conftest import is_thrown_away

TOPIC_ID = "here"
SLICE_MAX = 200
DROP_S_MAX = 90.0
USERS = 40

QUICK_TRENDS = {
    "trend_slot_s": 0.2,
    "trend_late_s": 2.0,
    "trend_score_min": 1.0,
    "trend_volume_min": 3,
    "trend_place_volume_min": 1,
    "trend_young_hours": 0.0,
}
"""What trends among so few, within so short a time."""


class Fed:
    """One generation of one unit, and how far it was fed."""

    def __init__(self, on: Engines, unit: Unit, view: LogView) -> None:
        self.on = on
        self.unit = unit
        self._view = view
        self._at: Offsets = {}

    async def feed(self, ends: Offsets | None = None) -> None:
        """Applies the log up to ``ends``, or to where it ends now."""
        upto = ends or await self._view.ends(self.unit.topics)
        records = [record async for record in self._view.records(self._at, upto)]
        records.sort(key=lambda record: record[:3])
        for place, of_place in groupby(records, key=lambda record: (record.topic, record[1])):
            await self._apply(place, [Record(r.offset, r.appended_at, r.event) for r in of_place])
        # What is no event (a dead letter) is covered as well.
        for place, end in upto.items():
            if end > self._at.get(place, 0):
                await self.unit.apply(Slice(*place, TOPIC_ID, self._at.get(place, 0), end, []))
                self._at[place] = end

    async def _apply(self, place: tuple[str, int], records: list[Record]) -> None:
        for at in range(0, len(records), SLICE_MAX):
            part = records[at : at + SLICE_MAX]
            end = part[-1].offset + 1
            start = self._at.get(place, 0)
            await self.unit.apply(Slice(*place, TOPIC_ID, start, end, part))
            self._at[place] = end


class Town:
    """A log with a population, and the generations that were built of it."""

    def __init__(self, on: Engines, log: Log, minter: SnowflakeMinter, people: Appender) -> None:
        self.on = on
        self.log = log
        self.minter = minter
        self.people = people
        self._closing = AsyncExitStack()
        self._tables: list[str] = []
        self._tag = secrets.token_hex(3)
        self._built: dict[tuple[str, str], Fed] = {}

    @property
    def users(self) -> list[int]:
        """The population."""
        return [person.user_id for person in self.people.simulation.people]

    async def act(self, events: int) -> None:
        """Lets the population act."""
        await self.people.run(rate=0, events=events, stop=asyncio.Event())

    async def append(self, kind: type[Event], **fields: Any) -> Event:
        """Appends an event with an id of its own."""
        event = kind(event_id=await self.minter.mint(), occurred_at=1, **fields)
        await self.log.append(event)
        return event

    def view(self) -> LogView:
        """A view of the log; closed at the end."""
        view = open_view(self.on)
        self._closing.callback(view.close)
        return view

    async def built(self, unit: str, name: str) -> Fed:
        """A generation of a unit, fed up to where the log ends; built when first asked for."""
        found = self._built.get((unit, name))
        if found is None:
            found = self._built[unit, name] = await self._build(unit, name)
        await found.feed()
        return found

    async def _build(self, unit: str, name: str) -> Fed:
        on = self.on.at(dict.fromkeys(KINDS_OF_UNIT, self.name(name)))
        made = compose.UNITS[unit](on)
        await made.open()
        self._closing.push_async_callback(made.close)
        if unit == "trends":
            await self._closing.enter_async_context(running(trending.leader(on).run()))
        self._tables += [on.store_of(unit).table(table) for table in (*made.tables, "positions")]
        return Fed(on, made, self.view())

    def name(self, generation: str) -> str:
        """The whole name of a generation."""
        return f"d{self._tag}{generation}"

    async def close(self) -> None:
        """Drops what was built, where anybody could meet it.

        To drop a table, Cassandra begins a new log and flushes what the old one holds of all
        tables; that is seconds for each, and in the way of every other test.
        """
        await self._closing.aclose()
        if is_thrown_away(self.on.settings):
            return
        for table in dict.fromkeys(self._tables):
            drop = partial(self.on.session.execute, timeout=DROP_S_MAX)
            await asyncio.to_thread(drop, f"DROP TABLE IF EXISTS {table}")


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Has work go on meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancelled(task)


@asynccontextmanager
async def town(stack: Settings, *, events: int, seed: int) -> AsyncIterator[Town]:
    """A population that has acted on topics of its own."""
    prefix = {"topic_prefix": f"t{secrets.token_hex(5)}-"}
    settings = stack.model_copy(update={**prefix, **QUICK_TRENDS})
    async with AsyncExitStack() as closing:
        on = await closing.enter_async_context(compose.engines(settings))
        admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)
        await admin.ensure_topics(1)
        log = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        plan = Plan(users=USERS, seed=seed, follows_mean=8.0, day_seconds=20.0)
        made = Town(on, log, minter, await Appender.open(log, minter, plan))
        closing.push_async_callback(made.close)
        await made.act(events)
        yield made
