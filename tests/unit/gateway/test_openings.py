"""That a user was here is said once a period, and the reader neither waits nor learns of it."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from events.errors import BrokerUnreachable
from events.position import Position
from events.types import Event, TimelineOpened
from gateway.metrics import GatewayMetrics
from gateway.openings import APPENDS_MAX, RETRY_SECONDS, Openings
from tests.unit.gateway.fakes import FakeMinter
from tests.unit.gateway.world import World

PERIOD_SECONDS = 600.0


class SlowLog:
    """A log that answers when it is let through, or fails."""

    def __init__(self) -> None:
        self.users: list[int] = []
        self.let_through = asyncio.Event()
        self.error: Exception | None = None

    async def append(self, event: Event) -> Position:
        await self.let_through.wait()
        if self.error is not None:
            raise self.error
        assert isinstance(event, TimelineOpened)
        self.users.append(event.user_id)
        return Position("user-activity", 0, len(self.users) - 1)


class Street:
    """Openings over a slow log and a clock that stands still."""

    def __init__(self, users_max: int = 100) -> None:
        self.now = 0.0
        self.log = SlowLog()
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.openings = Openings(
            self.log,  # type: ignore[arg-type]  # appends, and is asked for nothing else
            FakeMinter(),
            self.metrics,
            PERIOD_SECONDS,
            users_max=users_max,
            clock=lambda: self.now,
        )

    def count(self, outcome: str) -> float:
        name, labels = "murmur_gateway_openings_total", {"outcome": outcome}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_user_is_noted_once_a_period() -> None:
    street = Street()
    street.log.let_through.set()
    for user in (1, 2, 1):
        street.openings.opened(user)
    await street.openings.close()
    assert sorted(street.log.users) == [1, 2]
    street.now = PERIOD_SECONDS - 1
    street.openings.opened(1)
    street.now = PERIOD_SECONDS
    street.openings.opened(1)
    await street.openings.close()
    assert sorted(street.log.users) == [1, 1, 2]
    assert street.count("appended") == 3


async def test_a_failure_is_counted_and_tried_again_later() -> None:
    street = Street()
    street.log.let_through.set()
    street.log.error = BrokerUnreachable("away")
    street.openings.opened(1)
    await street.openings.close()
    street.log.error = None
    street.openings.opened(1)
    await street.openings.close()
    assert (street.log.users, street.count("failed")) == ([], 1)
    street.now = RETRY_SECONDS
    street.openings.opened(1)
    await street.openings.close()
    assert street.log.users == [1]


async def test_what_is_held_is_bounded() -> None:
    street = Street(users_max=3)
    for user in range(1, APPENDS_MAX + 11):
        street.openings.opened(user)
    assert street.count("skipped") == 10
    street.log.let_through.set()
    await street.openings.close()
    assert len(street.log.users) == APPENDS_MAX
    street.openings.opened(1)  # forgotten long ago: noted again
    await street.openings.close()
    assert street.log.users[-1] == 1


async def test_the_first_page_is_an_opening_and_no_reader_waits_for_it(world: World) -> None:
    alice = await world.register("alice")
    for _ in range(3):
        await world.tweet(alice)
    page = await world.call(200, "GET", "/api/timeline/home?count=1", user=alice)
    cursor = page["meta"]["next_cursor"]
    await world.call(200, "GET", f"/api/timeline/home?count=1&cursor={cursor}", user=alice)
    await world.openings.close()
    opened = [event for event in world.log.events if isinstance(event, TimelineOpened)]
    assert [event.user_id for event in opened] == [alice]


async def test_further_pages_are_no_opening_and_an_absent_log_is_no_error(world: World) -> None:
    alice = await world.register("alice")
    for _ in range(3):
        await world.tweet(alice)
    world.log.error = BrokerUnreachable("away")
    page = await world.call(200, "GET", "/api/timeline/home?count=1", user=alice)
    await world.openings.close()
    world.log.error = None
    cursor = page["meta"]["next_cursor"]
    await world.call(200, "GET", f"/api/timeline/home?count=1&cursor={cursor}", user=alice)
    await world.openings.close()
    assert not [event for event in world.log.events if isinstance(event, TimelineOpened)]
