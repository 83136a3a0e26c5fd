"""A world whose gateway stands behind proxies, with clients of it."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from events.log import Log
from events.snowflake import SnowflakeMinter, time_of
from events.types import TweetDeleted, UserBlocked
from infra import compose
from infra.demo.children import GatewayProcess
from infra.demo.convergence import feed
from infra.gateway import open_tokens
from infra.settings import Settings
from tests.faults.clients import Clients, Told, of
from tests.faults.proxy import Proxy, kafka_port, proxied, redis_port
from tests.faults.world import World, world
from tests.oracle import Oracle

EVENTS = 3_000
CHANGES = 12
READY_S_MAX = 60.0
logger = logging.getLogger(__name__)


@dataclass
class Town:
    """A world whose gateway stands behind proxies."""

    here: World
    log: Log
    minter: SnowflakeMinter
    proxies: dict[str, Proxy]
    clients: Clients
    deleted: set[int]
    blocked: dict[int, int]
    seed: int
    gateway: GatewayProcess

    async def oracle(self) -> Oracle:
        oracle = Oracle()
        await feed(oracle, self.here.view, {}, await self.here.view.ends())
        return oracle

    async def converged(self) -> Oracle:
        """The oracle of all there is, once the workers applied it."""
        await self.here.converge()
        return await self.oracle()

    async def planned(self) -> list[TweetDeleted | UserBlocked]:
        """Deletions of what homes show, and blocks of those whom they show.

        Made before the fault: while it lasts this process is to be a proxy and a client.
        """
        oracle = await self.oracle()
        posted, made = oracle._posted, list[TweetDeleted | UserBlocked]()
        users = [user for user in self.clients.users if user not in self.blocked]
        for reader in self.clients.chance.sample(users, len(users)):
            shown = [posted[tweet] for tweet in oracle.home(reader)[:20]]
            if not shown or len(made) == CHANGES:
                continue
            event_id = await self.minter.mint()
            at = time_of(event_id)
            other = next((tweet.user_id for tweet in shown if tweet.user_id != reader), 0)
            if other and self.clients.chance.random() < 0.5:
                made.append(
                    UserBlocked(
                        event_id=event_id, occurred_at=at, user_id=reader, target_user_id=other
                    )
                )
                continue
            gone = shown[0]
            made.append(
                TweetDeleted(
                    event_id=event_id,
                    occurred_at=at,
                    tweet_id=gone.tweet_id,
                    user_id=gone.user_id,
                    conversation_id=gone.conversation_id,
                    reply_to_id=gone.reply_to_id,
                    reply_to_user_id=gone.reply_to_user_id,
                    quote_of_id=gone.quote_of_id,
                    quote_of_user_id=gone.quote_of_user_id,
                    retweet_of_id=gone.retweet_of_id,
                    retweet_of_user_id=gone.retweet_of_user_id,
                )
            )
        return made

    async def apply(self, changes: Sequence[TweetDeleted | UserBlocked]) -> None:
        """Appends changes, past the proxies; returns once the workers applied them."""
        for change in changes:
            await self.log.append(change)
            if isinstance(change, UserBlocked):
                self.blocked[change.user_id] = change.target_user_id
            else:
                self.deleted.add(change.tweet_id)
        await self.here.converge()

    def leaks(self, told: Sequence[Told], oracle: Oracle) -> list[str]:
        """What is shown of what is deleted or blocked, or cannot be seen for another reason."""
        found = []
        for one in of(told, "home", where=lambda one: one.status == 200):
            page = one.page()
            for tweet in (*page.data, *page.includes.tweets):
                if int(tweet.id) in self.deleted:
                    found.append(f"{one.user} is shown {tweet.id}, which is deleted")
                if int(tweet.author_id) == self.blocked.get(one.user):
                    found.append(f"{one.user} is shown {tweet.author_id}, whom he blocks")
        tweets = of(told, "tweet", where=lambda one: one.status == 200)
        return found + [
            f"{one.user} is shown {one.asked_for}, which cannot be seen"
            for one in tweets
            if oracle.tweet(one.asked_for) is None
        ]

    async def shown(self, name: str) -> dict[str, int]:
        """A gauge or counter of the gateway, by engine where it has that label."""
        text = (await self.clients.client.get("/metrics")).text
        return {
            sample.labels.get("engine", ""): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"murmur_gateway_{name}"
        }

    async def engines(self) -> dict[str, tuple[bool, bool]]:
        """By engine: whether its check of ``/readyz`` is passed, and its breaker is closed."""
        ready = await self.clients.client.get("/readyz")
        assert ready.status_code == 200, ready.text
        checks, states = ready.json()["checks"], await self.shown("breaker_state")
        return {name: (checks[name]["ok"], states[name] == 0) for name in self.proxies}


def taken_for_absent(
    told: Sequence[Told], oracle: Oracle, inactive: Collection[int] = ()
) -> list[str]:
    """What was answered 404 though it is there.

    Args:
        told: The answers.
        oracle: What can be seen at the end, which always could be, but for:
        inactive: Accounts that were not visible for a while.
    """
    gone = [one for one in told if one.status == 404]
    users = [one for one in of(gone, "user") if oracle.visible(one.asked_for)]
    lines = [f"404 for user {one.asked_for}" for one in users if one.asked_for not in inactive]
    for one in of(gone, "tweet"):
        tweet = oracle.tweet(one.asked_for)
        if tweet and not {tweet.user_id, tweet.retweet_of_user_id} & set(inactive):
            lines.append(f"404 for tweet {one.asked_for}")
    return lines


@asynccontextmanager
async def town(
    stack: Settings,
    logs: Path,
    start: Callable[[int, Path, Mapping[str, str]], GatewayProcess] = GatewayProcess,
) -> AsyncIterator[Town]:
    """Workers on the engines, a gateway on the proxies, and a population with timelines."""
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    settings = stack.model_copy(
        update={"topic_prefix": f"t{seed}-", "token_key_file": logs / "token.key"}
    )
    async with AsyncExitStack() as closing:
        here = await closing.enter_async_context(world(settings, logs, seed))
        store = await closing.enter_async_context(proxied(settings.cassandra_hosts[0]))
        address = settings.redis_url.rpartition("/")[2]
        redis = await closing.enter_async_context(proxied(address, redis_port))
        kafka = await closing.enter_async_context(proxied(settings.kafka_bootstrap, kafka_port))
        env = {
            **here.env,
            "MURMUR_CASSANDRA_HOSTS": store.address,
            "MURMUR_REDIS_URL": f"redis://{redis.address}",
            "MURMUR_KAFKA_BOOTSTRAP": kafka.address,
            "MURMUR_TOKEN_KEY_FILE": str(logs / "token.key"),
        }
        await here.traffic(EVENTS)
        await here.converge()
        gateway = start(0, logs, env)
        closing.push_async_callback(gateway.stop)
        await gateway.start()
        client = await closing.enter_async_context(
            httpx.AsyncClient(base_url=gateway.url, limits=httpx.Limits(max_connections=200))
        )
        await gateway.until_ready(client, READY_S_MAX)
        log = await closing.enter_async_context(compose.open_log(here.on))
        minter = await closing.enter_async_context(compose.open_minter(here.on))
        clients = Clients(client, open_tokens(settings), [], [], random.Random(seed))
        proxies = {"store": store, "redis": redis, "log": kafka}
        found = Town(here, log, minter, proxies, clients, set(), {}, seed, gateway)
        oracle = await found.oracle()
        clients.users = [user for user in oracle.users() if oracle.visible(user)]
        clients.tweets = oracle.posted()[-200:]
        yield found
