"""The appender: how many, how fast, and what happens when the log cannot take an event."""

from __future__ import annotations

import asyncio
import time

import pytest

from events.errors import AppendRefused, OutcomeUnknown, QueueFull
from events.position import Position
from events.types import Event
from infra.simulate.appender import IN_FLIGHT_MAX, Appender
from infra.simulate.clock import WallClock, virtual_ids
from infra.simulate.generator import Plan

PLAN = Plan(users=20, seed=1)


class FakeMinter:
    def __init__(self) -> None:
        self._mint = virtual_ids(WallClock())

    async def mint_many(self, count: int) -> list[int]:
        return [self._mint() for _ in range(count)]


class FakeLog:
    """Takes events, after the failures that it is told to have."""

    def __init__(self, *failures: Exception) -> None:
        self.events: list[Event] = []
        self.failures = list(failures)
        self.in_flight = self.in_flight_most = 0

    async def append(self, event: Event) -> Position:
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if self.failures:
            raise self.failures.pop()
        self.events.append(event)
        return Position("new-tweets", 0, len(self.events))


async def appender_of(log: FakeLog) -> Appender:
    return await Appender.open(log, FakeMinter(), PLAN)


async def test_it_appends_as_many_as_asked_in_the_generators_order() -> None:
    log = FakeLog()
    appender = await appender_of(log)
    await appender.run(rate=0, events=7_003, stop=asyncio.Event())
    assert len(log.events) == appender.appended == 7_003
    firsts = list(dict.fromkeys(event.event_id for event in log.events))
    assert len(firsts) < 7_003  # duplicates
    assert log.in_flight_most <= IN_FLIGHT_MAX


async def test_the_rate_is_kept_on_average() -> None:
    log = FakeLog()
    appender = await appender_of(log)
    started = time.monotonic()
    await appender.run(rate=2_000, events=1_000, stop=asyncio.Event())
    # Load is 1 on average and at most 1.8 without a burst, 5.4 in one.
    assert time.monotonic() - started > 1_000 / 2_000 / 5.5


async def test_it_stops_when_told() -> None:
    log = FakeLog()
    appender = await appender_of(log)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)
    async with asyncio.timeout(5):
        await appender.run(rate=1_000, events=None, stop=stop)
    assert len(log.events) == appender.appended > 0


async def test_a_full_queue_is_waited_for_and_the_unknown_is_counted() -> None:
    log = FakeLog(QueueFull("full"), OutcomeUnknown("timeout", None), QueueFull("full"))
    appender = await appender_of(log)
    await appender.run(rate=0, events=50, stop=asyncio.Event())
    assert (appender.appended, appender.unknown, appender.retried) == (49, 1, 2)


async def test_a_refusal_ends_the_run() -> None:
    appender = await appender_of(FakeLog(AppendRefused("no such topic")))
    with pytest.raises(ExceptionGroup) as caught:
        await appender.run(rate=0, events=50, stop=asyncio.Event())
    assert isinstance(caught.value.exceptions[0], AppendRefused)
