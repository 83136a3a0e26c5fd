"""People who may be pushed to, the units that know of them, and a push service: for the router."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry
from py_vapid import Vapid02

from events.admin import Admin
from events.log import Log
from events.snowflake import SnowflakeMinter
from events.types import DeliveryAddressAdded, TweetPosted, UsernameClaimed, UserRegistered
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import open_view
from infra.router.metrics import RouterMetrics
from infra.router.web_push import WebPush
from infra.settings import Settings
from tests.integration.infra.generations import Fed
from tests.unit.infra.router.servers import HOST, PushService, push_service

UNITS = ("accounts", "tweets", "timelines", "notifications", "trends")
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

    async def subscribe(self, user: int) -> None:
        """Has a browser of somebody be pushed to."""
        address = self.service.subscribe()
        await self.say(
            DeliveryAddressAdded,
            user_id=user,
            channel="web-push",
            address=address.address,
            p256dh=address.p256dh,
            auth=address.auth,
        )

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

    async def until(self, there: Callable[[], bool], seconds_max: float = SECONDS_MAX) -> None:
        """Feeds the units until something is so."""
        deadline = time.monotonic() + seconds_max
        while not there():
            assert time.monotonic() < deadline, self.service.got
            await self.feed()
            await asyncio.sleep(0.05)

    @property
    def pushed(self) -> list[str]:
        return [shown["id"] for _, shown in self.service.got]


@asynccontextmanager
async def place_of(stack: Settings) -> AsyncIterator[Place]:
    """A log of its own with both people; Alice is to be pushed to."""
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
        await made.subscribe(made.alice)
        made.name = f"@a{tag}"
        yield made
