"""Orders and claims in the real store, as every process of an installation hears them."""

from __future__ import annotations

import asyncio

import pytest
from cassandra.cluster import Session

from events.cassandra import Statements
from events.errors import StoreUnavailable
from gateway.levels.level import Claim, Level, Order, Said
from infra.levels import Orders, heard, now_ms
from infra.settings import Settings

pytestmark = pytest.mark.engines

HEARD_SECONDS_MAX = 30.0


@pytest.fixture
async def orders(settings: Settings, cassandra: Session) -> Orders:
    made = Orders(Statements(cassandra, settings.keyspace), settings.topic_prefix)
    await made.create()
    return made


async def test_an_order_replaces_the_one_before_and_ends(orders: Orders) -> None:
    assert await orders.said() == Said()
    since = int(now_ms())
    first = Order(Level.STALE, since + 600_000, since, "ada", "a test")
    await orders.order(first)
    said = await orders.said()
    assert said == Said(first)
    assert said.level(since + 599_999)[0] is Level.STALE
    assert said.level(since + 600_000) == (Level.NORMAL, "")
    second = Order(Level.READ_ONLY, 0, since, "bob")
    await orders.order(second)
    assert (await orders.said()).level(since + 10**12) == (Level.READ_ONLY, "ordered by bob")
    await orders.withdraw()
    assert await orders.said() == Said()


async def test_topics_without_a_prefix_are_a_scope(settings: Settings, cassandra: Session) -> None:
    everywhere = Orders(Statements(cassandra, settings.keyspace), "")
    process = settings.topic_prefix  # what is said here is no other test's
    await everywhere.claim(Claim(process, Level.LEAN, "a test"))
    assert process in {claim.process for claim in (await everywhere.said()).claims}
    await everywhere.unclaim(process)
    assert process not in {claim.process for claim in (await everywhere.said()).claims}


async def test_an_order_that_has_ended_leaves_nothing_behind(orders: Orders) -> None:
    await orders.order(Order(Level.STALE, 0, 0, "ada"))
    await orders.order(Order(Level.LEAN, int(now_ms()) + 1, 0, "ada"))
    async with asyncio.timeout(HEARD_SECONDS_MAX):
        while True:
            if await orders.said() == Said():
                return
            await asyncio.sleep(0.1)


async def test_claims_are_each_processs_own_and_lapse(
    orders: Orders, settings: Settings, cassandra: Session
) -> None:
    one, other = Claim("a:1", Level.PULL_ONLY, "fan-out lag"), Claim("b:2", Level.LEAN, "redis p99")
    await orders.claim(one)
    await orders.claim(other)
    said = await orders.said()
    assert set(said.claims) == {one, other}
    assert said.level(now_ms()) == (Level.PULL_ONLY, "measured by a:1: fan-out lag")
    await orders.unclaim("a:1")
    assert (await orders.said()).claims == (other,)
    rows = await Statements(cassandra, settings.keyspace).run(
        "SELECT TTL(level) AS ttl FROM {keyspace}.degradation WHERE scope = ?",
        (f"{settings.topic_prefix}*",),
    )
    assert [0 < row["ttl"] <= 15 for row in rows] == [True]


async def test_one_scope_does_not_hear_another(
    orders: Orders, settings: Settings, cassandra: Session
) -> None:
    await orders.order(Order(Level.STALE))
    other = Orders(Statements(cassandra, settings.keyspace), settings.topic_prefix + "x")
    assert await other.said() == Said()


class AwayAfterOnce(Orders):
    """The store goes away after the first look."""

    looks = 0

    async def said(self) -> Said:
        self.looks += 1
        if self.looks > 1:
            raise StoreUnavailable("away")
        return await super().said()


async def test_the_last_order_holds_while_the_store_is_away(
    orders: Orders, settings: Settings, cassandra: Session
) -> None:
    order = Order(Level.STALE, 0, 0, "ada")
    await orders.order(order)
    hearing = AwayAfterOnce(Statements(cassandra, settings.keyspace), settings.topic_prefix)
    told: list[Said] = []
    enough = asyncio.Event()

    async def tell(said: Said) -> None:
        told.append(said)
        if len(told) == 3:
            enough.set()

    task = asyncio.create_task(heard(hearing, tell))
    async with asyncio.timeout(HEARD_SECONDS_MAX):
        await enough.wait()
    task.cancel()
    assert told == [Said(order)] * 3
