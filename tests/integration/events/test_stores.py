"""Leases and idempotency keys in Cassandra keep what the suites say."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid

import pytest

from events.cassandra import Statements
from events.errors import StoreUnavailable
from events.idempotency import CassandraIdempotency, IdempotencyStore
from events.leases import CassandraLeases
from events.position import Position
from events.snowflake import MACHINES, LeaseStore, SnowflakeMinter, parts_of
from tests.unit.events.idempotency_suite import IdempotencySuite, append_of
from tests.unit.events.lease_suite import LeaseSuite

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


class TestLeasesInCassandra(LeaseSuite):
    @pytest.fixture
    async def leases(self, statements: Statements) -> LeaseStore:
        # Rows of their own: above the machine ids that minters choose from.
        first = MACHINES + 2 * secrets.randbelow(2**29)
        store = CassandraLeases(statements, [first, first + 1])
        await store.create()
        return store


class TestKeysInCassandra(IdempotencySuite):
    @pytest.fixture
    async def keys(self, statements: Statements) -> IdempotencyStore:
        store = CassandraIdempotency(statements, ttl_seconds=600)
        await store.create()
        return store


async def test_a_key_ends_as_a_whole(statements: Statements) -> None:
    keys = CassandraIdempotency(statements, ttl_seconds=1)
    await keys.create()
    key = str(uuid.uuid4())
    await keys.put(key, append_of(b"a"))
    await keys.settle(key, append_of(b"a"), Position("users", 1, 2))
    deadline = time.monotonic() + 30
    while await keys.get(key) is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert await keys.put(key, append_of(b"b")) is None


async def test_the_position_of_a_key_that_ended_makes_no_row(statements: Statements) -> None:
    keys = CassandraIdempotency(statements, ttl_seconds=600)
    await keys.create()
    key, position = str(uuid.uuid4()), Position("users", 1, 2)
    assert await keys.settle(key, append_of(b"a"), position) == position
    assert await keys.get(key) is None


async def test_minters_of_one_cluster_never_make_one_id_twice(statements: Statements) -> None:
    store = CassandraLeases(statements)
    await store.create()
    minters = [SnowflakeMinter(store) for _ in range(4)]
    for minter in minters:
        await minter.open()
    minted = await asyncio.gather(*(minter.mint_many(5_000) for minter in minters))
    assert len({each for ids in minted for each in ids}) == 20_000
    machines = {parts_of(ids[0]).datacenter << 5 | parts_of(ids[0]).worker for ids in minted}
    assert machines == {minter.machine for minter in minters}
    assert len(machines) == 4
    for minter in minters:
        await minter.close()


async def test_a_statement_that_the_store_refuses_is_told(statements: Statements) -> None:
    with pytest.raises(StoreUnavailable):
        await statements.run("SELECT nothing FROM {keyspace}.no_such_table")
