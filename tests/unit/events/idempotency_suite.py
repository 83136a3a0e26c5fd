"""What every idempotency store keeps true; run for the one in memory and for Cassandra's."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from events.idempotency import IdempotencyStore, StoredAppend
from events.position import Position

FIRST = Position("users", 1, 10)
SECOND = Position("users", 1, 11)


def append_of(value: bytes) -> StoredAppend:
    return StoredAppend(
        b"d" + value, "users", b"key", value, [("ce_id", b"1"), ("bytes", b"\xff\x00")]
    )


class IdempotencySuite:
    """Subclasses give a fixture ``keys``."""

    @pytest.fixture
    def key(self) -> str:
        return str(uuid.uuid4())

    async def test_a_new_key_is_kept_and_found(self, keys: IdempotencyStore, key: str) -> None:
        assert await keys.get(key) is None
        assert await keys.put(key, append_of(b"a")) is None
        assert await keys.get(key) == append_of(b"a")

    async def test_the_first_append_of_a_key_stays(self, keys: IdempotencyStore, key: str) -> None:
        await keys.put(key, append_of(b"a"))
        assert await keys.put(key, append_of(b"b")) == append_of(b"a")
        assert await keys.get(key) == append_of(b"a")

    async def test_of_a_race_one_is_kept(self, keys: IdempotencyStore, key: str) -> None:
        values = [bytes([number]) for number in range(8)]
        held = await asyncio.gather(*(keys.put(key, append_of(value)) for value in values))
        kept = await keys.get(key)
        assert kept is not None
        assert held.count(None) == 1
        assert held.index(None) == values.index(kept.value)
        assert {other.value for other in held if other} == {kept.value}

    async def test_the_first_position_is_the_answer(self, keys: IdempotencyStore, key: str) -> None:
        await keys.put(key, append_of(b"a"))
        assert await keys.settle(key, append_of(b"a"), FIRST) == FIRST
        assert await keys.settle(key, append_of(b"a"), SECOND) == FIRST
        kept = await keys.get(key)
        assert kept is not None
        assert (kept.position, kept.value) == (FIRST, b"a")
