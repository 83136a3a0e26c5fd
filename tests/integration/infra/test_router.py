"""The router on the engines: live traffic alone, from where the last one was, and once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from py_vapid import Vapid02

from events.admin import Admin
from events.log import Log
from events.snowflake import SnowflakeMinter
from events.types import DeliveryAddressAdded, TweetPosted, UsernameClaimed, UserRegistered
from gateway.levels.level import Level, Order
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import open_view
from infra.levels import now_ms, orders_of
from infra.router.ledger import Ledger
from infra.router.metrics import RouterMetrics
from infra.router.run import lags, ledger_of, run
from infra.router.web_push import WebPush
from infra.settings import Settings
from tests.integration.infra.generations import Fed
from tests.unit.infra.router.servers import HOST, PushService, push_service

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

UNITS = ("accounts", "tweets", "timelines", "notifications")
SECONDS_MAX = 60.0


class Place:
    """Two people, the units that know of them, and a push service."""

    def __init__(
        self, on: Engines, log: Log, minter: SnowflakeMinter, pushes: WebPush, got: PushService
    ) -> None:
        self.on = on
        self.pushes = pushes
        self.service = got
        self.fed: list[Fed] = []
        self._log = log
        self._minter = minter
        self.alice = self.bob = 0
        self.metrics = RouterMetrics(CollectorRegistry())
        self.name = ""

    async def say(self, kind: Any, **fields: Any) -> int:
        event_id = fields.pop("event_id", 0) or await self._minter.mint()
        now_ms = int(time.time() * 1000)
        await self._log.append(kind(event_id=event_id, occurred_at=now_ms, **fields))
        return event_id

    async def register(self, name: str) -> int:
        user = await self._minter.mint()
        await self.say(UsernameClaimed, username_key=name, username=name, user_id=user)
        await self.say(UserRegistered, user_id=user, username=name, name=name, created_at=1)
        return user

    async def tweet(self, text: str) -> str:
        """Bob says something; returns what a push of it is called."""
        tweet_id = await self._minter.mint()
        await self.say(
            TweetPosted,
            event_id=tweet_id,
            tweet_id=tweet_id,
            user_id=self.bob,
            text=text,
            created_at=int(time.time() * 1000),
            conversation_id=tweet_id,
        )
        return f"mention:{tweet_id}"

    async def feed(self) -> None:
        for fed in self.fed:
            await fed.feed()

    async def until(self, there: Callable[[], bool]) -> None:
        """Feeds the units until something is so."""
        deadline = time.monotonic() + SECONDS_MAX
        while not there():
            assert time.monotonic() < deadline, self.service.got
            await self.feed()
            await asyncio.sleep(0.05)

    @property
    def pushed(self) -> list[str]:
        return [shown["id"] for _, shown in self.service.got]


@pytest.fixture
async def place(stack: Settings) -> AsyncIterator[Place]:
    settings = stack.model_copy(update={"topic_prefix": f"t{secrets.token_hex(5)}-"})
    key = Vapid02()
    key.generate_keys()
    async with AsyncExitStack() as closing:
        on = await closing.enter_async_context(compose.engines(settings))
        admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)
        await admin.ensure_topics(1)
        log = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        service = await closing.enter_async_context(push_service())
        pushes = WebPush(key, "mailto:ops@example.com", [HOST])
        made = Place(on, log, minter, await closing.enter_async_context(pushes), service)
        for unit in UNITS:
            view = open_view(on)
            closing.callback(view.close)
            writing = compose.UNITS[unit](on)
            await writing.open()
            closing.push_async_callback(writing.close)
            made.fed.append(Fed(on, writing, view))
        tag = secrets.token_hex(4)
        made.alice, made.bob = await made.register(f"a{tag}"), await made.register(f"b{tag}")
        address = service.subscribe()
        await made.say(
            DeliveryAddressAdded,
            user_id=made.alice,
            channel="web-push",
            address=address.address,
            p256dh=address.p256dh,
            auth=address.auth,
        )
        made.name = f"@a{tag}"
        yield made


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
    while not await ledger.positions():
        await asyncio.wait({router}, timeout=0.1)
        assert not router.done(), router.result()
    return router


async def test_what_is_due_at_level_one_is_kept_and_pushed_after_it(place: Place) -> None:
    ledger, orders = ledger_of(place.on), orders_of(place.on)
    await ledger.create()
    await orders.create()
    await orders.order(Order(Level.LEAN, int(now_ms()) + 120_000, actor="ada"))
    stop = asyncio.Event()
    router = await routing_from_now(place, ledger, stop)
    kept = await place.tweet(place.name)
    view = open_view(place.on)

    def lag() -> float:
        labels = {"topic": "new-tweets", "partition": "0"}
        return place.metrics.registry.get_sample_value("murmur_router_lag", labels) or 0.0

    await place.until(lambda: lag() == 1)
    assert place.pushed == []
    assert sum((await lags(view, ledger)).values()) == 1
    await orders.withdraw()
    await place.until(lambda: place.pushed == [kept])
    await place.until(lambda: lag() == 0)
    view.close()
    stop.set()
    assert await router == {"delivered": 1}
