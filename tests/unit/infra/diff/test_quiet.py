"""The bus that is looked at and not touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infra.diff.quiet import QuietBus
from projections.bus import Command, RedisBus, Reply
from projections.cache import Cache
from projections.keys import Keys
from tests.memory.bus import MemoryBus
from tests.memory.redis import Redis

KEYS = Keys("g1", "unit", 2)


class Held(RedisBus):
    """A cluster of fixed values, which takes nothing but reads."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        super().__init__("redis://memory")
        self.values = values

    async def calls_strict(self, commands: Sequence[Command]) -> list[Reply]:
        for command in commands:
            assert command[0] == "MGET", command
        return [[self.values.get(bytes(key)) for key in c[1:]] for c in commands]  # type: ignore[arg-type]


async def test_what_is_cached_is_read_and_what_is_not_comes_from_the_store_and_stays_there() -> (
    None
):
    loaded: list[int] = []

    async def load(ids: Sequence[int]) -> dict[int, bytes]:
        loaded.extend(ids)
        return {i: b"stored" for i in ids if i != 4}

    held = Held({KEYS.of("tweet", 1): b"cached", KEYS.of("tweet", 3): b""})
    cache = Cache(QuietBus(held), KEYS, "tweet", load)
    assert await cache.get([1, 2, 3, 4]) == {1: b"cached", 2: b"stored"}
    assert sorted(loaded) == [2, 4]


async def test_a_mark_is_never_set_and_nothing_is_forgotten() -> None:
    bus = QuietBus(Held({}))
    assert await bus.call("SET", b"k", b"v", "NX") is None
    assert await bus.call("DEL", b"k") == 0
    assert await bus.call("FCALL", "murmur_collect_1", 1, b"k", b"ids") == 0


async def test_what_nobody_thought_of_is_refused() -> None:
    with pytest.raises(AssertionError):
        await QuietBus(Held({})).call("FLUSHALL")


def test_who_owns_a_key_is_what_the_cluster_says() -> None:
    keys = [b"{1}:a", b"{2}:b"]
    assert QuietBus(MemoryBus(Redis())).by_owner(keys) == [keys]
    assert Held({}).by_owner(keys) == [keys[:1], keys[1:]]  # nobody has said yet
