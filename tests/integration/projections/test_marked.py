"""The marker of a cached timeline, on a real Valkey: its reach, and what it was filled with."""

from __future__ import annotations

from secrets import token_hex

import pytest

from projections.bus import RedisBus
from projections.functions import EFFECTS
from projections.keys import Keys
from projections.positions import Effect
from projections.timelines import marked
from projections.timelines.authors import NEWEST
from projections.timelines.layout import HOME, pack_ids

pytestmark = pytest.mark.engines

KEEP = 8
BASE = 1 << 60


class Timeline:
    """One cached timeline and what a worker and a reader do to it."""

    def __init__(self, bus: RedisBus) -> None:
        bus.use_library(EFFECTS.source)
        self._bus = bus
        self._keys = Keys(f"t{token_hex(5)}", "timelines", 4)
        self._offset = 0
        self.key = self._keys.of(HOME, 7)

    async def value(self) -> bytes:
        found = await self._bus.call(*marked.query(self.key))
        assert isinstance(found, bytes)
        return found

    async def filled_with(self) -> set[int]:
        return {i - BASE for i in marked.filled(await self.value())}

    async def ids(self) -> list[int]:
        return [i - BASE for i in marked.window(await self.value(), NEWEST, 100).ids]

    async def begin(self) -> bytes:
        token = await marked.begin(self._bus, self.key)
        assert token is not None
        return token

    async def finish(self, token: bytes, floor: int, *ids: int) -> bool:
        found = [BASE + i for i in ids]
        return await marked.finish(self._bus, self.key, token, BASE + floor, found, 60)

    async def push(self, *ids: int) -> None:
        packed = pack_ids([BASE + i for i in ids])
        await self.commit(*marked.added(KEEP, [(self.key, packed)]))

    async def backfill(self, floor: int, *ids: int) -> None:
        await self.commit(*marked.backfilled((self.key,), BASE + floor, [BASE + i for i in ids]))

    async def commit(self, *effects: Effect) -> None:
        for keys, operation in effects:
            positions = self._keys.positions(self._keys.bucket(7))
            position = ("new-tweets/0", self._offset - 1, self._offset + 1, 1)
            self._offset += 1
            function = EFFECTS.name("murmur_commit")
            call = ("FCALL", function, 1 + len(keys), positions, *keys, *position, *operation)
            assert (await self._bus.call(*call))[0] == b"ok"


async def test_what_a_timeline_was_filled_with_is_told_from_what_came_since(
    redis: RedisBus,
) -> None:
    timeline = Timeline(redis)
    token = await timeline.begin()
    await timeline.push(40)  # while it is being filled
    assert await timeline.finish(token, 10, 30, 20, 10)
    await timeline.push(50)
    await timeline.backfill(10, 15, 12)
    assert await timeline.ids() == [50, 40, 30, 20, 15, 12, 10]
    assert await timeline.filled_with() == {30, 20, 10}


async def test_trimming_forgets_first_what_the_timeline_was_filled_with(redis: RedisBus) -> None:
    timeline = Timeline(redis)
    assert await timeline.finish(await timeline.begin(), 0, 4, 3, 2, 1)
    await timeline.push(*range(10, 17))  # eleven ids: one more than KEEP and a quarter
    assert await timeline.ids() == [16, 15, 14, 13, 12, 11, 10, 4]
    assert await timeline.filled_with() == {4}
    await timeline.push(17, 18, 19)
    assert await timeline.ids() == [19, 18, 17, 16, 15, 14, 13, 12]
    assert await timeline.filled_with() == set()
    marker = (await timeline.value())[: marked.MARKER_BYTES]
    assert marked.window(marker, NEWEST, 1).floor == BASE + 12, "one above the highest dropped"


async def test_a_timeline_filled_with_nothing_says_so(redis: RedisBus) -> None:
    timeline = Timeline(redis)
    assert await timeline.finish(await timeline.begin(), 0)
    await timeline.push(5)
    assert await timeline.filled_with() == set()
    assert await timeline.ids() == [5]


async def test_a_fill_counts_only_while_its_mark_stands(redis: RedisBus) -> None:
    timeline = Timeline(redis)
    token = await timeline.begin()
    await timeline.backfill(0, 3)  # read from facts that may lack the followee: begin again
    assert not await timeline.finish(token, 0, 2, 1)
    assert await timeline.finish(await timeline.begin(), 0, 3, 2, 1)
    assert await timeline.filled_with() == {1, 2, 3}


async def test_the_same_ids_are_added_to_many_and_what_is_not_there_is_not_made(
    redis: RedisBus,
) -> None:
    timeline = Timeline(redis)
    await timeline.finish(await timeline.begin(), 0, 1)
    absent = timeline.key + b"0"
    await timeline.commit(*marked.shared(KEEP, (timeline.key, absent), pack_ids([BASE + 2])))
    assert await timeline.ids() == [2, 1]
    assert await redis.call("EXISTS", absent) == 0


async def test_who_is_seen_keeps_his_timeline(redis: RedisBus) -> None:
    timeline = Timeline(redis)
    await timeline.commit(*marked.seen((timeline.key,), 9_000))
    assert await redis.call("EXISTS", timeline.key) == 0
    await timeline.finish(await timeline.begin(), 0, 1)
    assert await redis.call("PTTL", timeline.key) <= 60_000
    await timeline.commit(*marked.seen((timeline.key,), 9_000))
    assert 8_000_000 < await redis.call("PTTL", timeline.key) <= 9_000_000


async def test_what_another_reader_found_is_added_to_what_is_being_filled(redis: RedisBus) -> None:
    timeline = Timeline(redis)
    await marked.collect(redis, timeline.key, [BASE + 3])
    assert await redis.call("EXISTS", timeline.key) == 0
    token = await timeline.begin()
    await marked.collect(redis, timeline.key, [BASE + 3, BASE + 2])
    await timeline.finish(token, 0, 2, 1)
    assert await timeline.ids() == [3, 2, 1]
