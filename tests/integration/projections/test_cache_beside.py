"""Two caches that are read by one command: each is filled where it lacks something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from secrets import token_hex

import pytest

from projections.bus import RedisBus
from projections.cache import Cache
from projections.keys import Keys

pytestmark = pytest.mark.engines

Load = Callable[[Sequence[int]], Awaitable[dict[int, bytes]]]


def loader(facts: dict[int, bytes], asked: list[int]) -> Load:
    async def load(ids: Sequence[int]) -> dict[int, bytes]:
        asked.extend(ids)
        return {i: facts[i] for i in ids if i in facts}

    return load


async def test_entries_of_two_caches_come_together(redis: RedisBus) -> None:
    generation = f"t{token_hex(5)}"
    mine, theirs = {n: b"a%d" % n for n in range(0, 40)}, {n: b"b%d" % n for n in range(20, 60)}
    asked: list[int] = []
    asked_beside: list[int] = []
    one = Cache(redis, Keys(generation, "tweets", 4), "one", loader(mine, asked))
    two = Cache(redis, Keys(generation, "engagement", 4), "two", loader(theirs, asked_beside))
    ids = [*range(60), 7]
    await one.get(range(10))
    await two.get(range(50, 60))
    assert await one.get_beside(two, ids) == (mine, theirs, None)
    assert sorted(asked) == sorted(asked_beside) == list(range(60)), "each was loaded once"
    assert await one.get_beside(two, ids) == (mine, theirs, None)
    assert len(asked) == len(asked_beside) == 60, "absence is cached too"
    assert await one.get_beside(two, []) == ({}, {}, None)
