"""The router on the engines: live traffic alone, from where the last one was, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.levels.level import Level, Order
from infra import compose
from infra.demo.convergence import open_view
from infra.levels import now_ms, orders_of
from infra.router.ledger import Ledger
from infra.router.run import lags, ledger_of, run
from infra.settings import Settings
from tests.integration.infra.generations import Fed
from tests.integration.infra.router_place import Place, place_of

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


@pytest.fixture
async def place(stack: Settings) -> AsyncIterator[Place]:
    async with place_of(stack) as found:
        yield found


async def test_live_traffic_is_pushed_once_and_goes_on_where_it_was(place: Place) -> None:
    name, ledger = place.name, ledger_of(place.on)
    await ledger.create()
    await place.tweet(f"{name} before there was any router")
    await place.feed()

    async def routing(expected: list[str], say: list[str]) -> None:
        stop = asyncio.Event()
        router = await routing_from_now(place, ledger, stop)
        expected += [await place.tweet(text) for text in say]
        await place.until(lambda: len(place.pushed) >= len(expected))
        stop.set()
        counts = await router
        assert place.pushed == expected, counts

    expected: list[str] = []
    await routing(expected, [f"hello {name}", f"{name} again"])
    expected.append(await place.tweet(f"{name} while nobody routes"))
    await routing(expected, [])
    await routing(expected, [])
    again = compose.UNITS["notifications"](place.on.at({"notifications": "t2"}))
    await again.open()  # a rebuild of the unit has no effect outside
    view = open_view(place.on)
    await Fed(place.on.at({"notifications": "t2"}), again, view).feed()
    view.close()
    assert place.pushed == expected


async def routing_from_now(
    place: Place, ledger: Ledger, stop: asyncio.Event
) -> asyncio.Task[dict[str, int]]:
    """Returns a router that has begun."""
    router = asyncio.create_task(run(place.on, place.pushes, stop, place.metrics))
    while ("new-tweets", 0) not in await ledger.positions():
        await asyncio.wait({router}, timeout=0.1)
        assert not router.done(), router.result()
    return router


async def test_what_is_due_at_level_one_is_kept_and_pushed_after_it(place: Place) -> None:
    ledger, orders = ledger_of(place.on), orders_of(place.on)
    await ledger.create()
    await place.feed()  # whose name it is must be known when the post is read
    await orders.create()
    await orders.order(Order(Level.LEAN, int(now_ms()) + 120_000, actor="ada"))
    stop = asyncio.Event()
    await place.feed()  # whose name it is is known
    router = await routing_from_now(place, ledger, stop)
    kept = await place.tweet(place.name)
    view = open_view(place.on)

    def lag() -> float:
        families = place.metrics.lag.collect()
        return sum(sample.value for family in families for sample in family.samples)

    await place.until(lambda: lag() == 1)
    assert place.pushed == []
    assert sum((await lags(view, ledger)).values()) == 1
    await orders.withdraw()
    await place.until(lambda: place.pushed == [kept])
    await place.until(lambda: lag() == 0)
    view.close()
    stop.set()
    assert await router == {"delivered": 1}
