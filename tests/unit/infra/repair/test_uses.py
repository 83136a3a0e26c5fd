"""Uses of one term, and the windows that were worked out of them: mended, and as if never wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from events.types import Place
from infra import trending
from infra.compose import Engines
from infra.repair.history import History
from infra.repair.mend import Outcome
from infra.repair.uses import Uses
from projections.bus import RedisBus
from projections.keys import Keys
from projections.store import Store
from projections.trends.layout import FOUND, shard_of
from projections.trends.leader import Leader
from projections.trends.unit import Trends
from projections.trends.windows import Windows
from tests.posts import post
from tests.unit.infra.repair.generation import Generation

BEGIN = 1_700_000_000_000
SLOT_MS = 1000
NOW = BEGIN + 100_000
SETTINGS = SimpleNamespace(
    trend_slot_s=1.0,
    trend_late_s=2.0,
    trend_score_min=0.4,
    trend_volume_min=2,
    trend_place_volume_min=1,
    trend_young_hours=0.0,
    trend_never=(),
)
TERM = "#storm"
SHARD = shard_of(TERM)


def _unit(bus: RedisBus, store: Store, keys: Keys) -> Trends:
    return Trends(bus, store, keys, trending.shape(cast("Any", SETTINGS)))


class Town:
    """A generation of trends, and who works them out."""

    def __init__(self) -> None:
        self.here = Generation("trends", _unit)
        self.on = cast(
            "Engines",
            SimpleNamespace(
                settings=SETTINGS,
                bus=self.here.bus,
                keys=lambda unit: self.here.keys,
                store_of=lambda unit: self.here.store,
            ),
        )
        self.now = NOW
        self.told: list[str] = []
        self.leads = self.leader()

    async def ends(self, topic: str) -> dict[str, int]:
        """As `infra.fan_out.LogEnds`; all is applied."""
        return {f"{topic}/0": 0}

    def leader(self, name: str | None = None) -> Leader:
        return Leader(
            self.here.bus,
            self.here.store,
            self.here.keys,
            flow=self,
            shape=trending.shape(cast("Any", SETTINGS)),
            rules=trending.rules(cast("Any", SETTINGS)),
            now_ms=lambda: self.now,
            name=name,
        )

    def uses(self) -> Uses:
        shape = trending.shape(cast("Any", SETTINGS))
        return Uses("#Storm", self.here.keys.unit, shape, self.now)

    async def tell(self, words: str) -> None:
        self.told.append(words)

    async def history(self, *, is_dry: bool = False) -> Outcome:
        return await History(self.on, self.uses(), self.tell, self.leader).mend(is_dry=is_dry)

    def post(self, number: int, author: int, at: int, text: str = "#Storm") -> None:
        at_ms = BEGIN + at * SLOT_MS
        place = Place(woeid=44418, country_woeid=23424975) if author % 2 else None
        one = post(number, author, text=text, created_at=at_ms, place=place)
        self.here.log.append("new-tweets", author, one, at_ms)

    async def work(self) -> None:
        """Works out all that is due."""
        while await self.leads.turn():
            pass

    async def seen(self) -> tuple[Any, Any]:
        """Trends by place and window, and counts by block; what is empty is not there."""
        rows = await self.here.store.execute("SELECT woeid, window_end, found FROM {trends}")
        trends = {(woeid, end): FOUND.decode(found) for woeid, end, found in rows}
        shape = trending.shape(cast("Any", SETTINGS))
        rules = trending.rules(cast("Any", SETTINGS))
        windows = Windows(self.here.store, self.here.keys.unit, shape, rules)
        ends = range(BEGIN // 10_000 * 10_000, self.now, shape.window_ms)
        blocks = {end: counts for end in ends if (counts := await windows.block(end))}
        return {key: row for key, row in trends.items() if row}, blocks


async def town() -> Town:
    """Two terms over some windows; of one nobody but its people are counted."""
    made = Town()
    await made.here.open()
    number = 0
    for at in range(60, 84):
        for author in (1, 2, 3, 4):
            number += 1
            if (at + author) % 3:
                made.post(number, author, at)
            else:
                made.post(number, author + 10, at, "#calm")
    await made.here.feed()
    return made


async def plant(made: Town, at: int, authors: range) -> None:
    """Uses by people who said nothing."""
    slot = (BEGIN + at * SLOT_MS) // SLOT_MS
    await made.here.store.execute(
        "INSERT INTO {trend_slots} (scope, day, slot) VALUES (?, ?, ?) USING TIMESTAMP 1",
        (made.here.keys.unit, slot * SLOT_MS // 86_400_000, slot),
    )
    for author in authors:
        await made.here.store.execute(
            "INSERT INTO {trend_uses} (scope, slot, shard, term, author_id, tweet_id, print, tags,"
            " written, woeid, country) VALUES (?, ?, ?, ?, ?, 9, 0, 1, '#storm', 44418, 0)"
            " USING TIMESTAMP -1",
            (made.here.keys.unit, slot, SHARD, TERM, author),
        )
        await made.here.store.execute(
            "INSERT INTO {trend_uses_of} (author_id, slot, term, tweet_id, written)"
            " VALUES (?, ?, ?, 9, '#storm') USING TIMESTAMP -1",
            (author, slot, TERM),
        )


async def test_what_is_right_is_left_alone() -> None:
    made = await town()
    await made.work()
    assert await made.here.wrong(made.uses()) == []
    found = await made.history()
    assert not found.was_wrong and found.is_right and made.told == []
    assert (await made.seen())[0]


@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM {trend_uses} USING TIMESTAMP 1 WHERE scope = ? AND slot = ? AND shard = ?"
        " AND term = ? AND author_id = ? AND tweet_id = ?",
        "UPDATE {trend_uses} USING TIMESTAMP 1 SET tags = 9, woeid = 5"
        " WHERE scope = ? AND slot = ? AND shard = ? AND term = ? AND author_id = ?"
        " AND tweet_id = ?",
        "INSERT INTO {trend_uses} (scope, slot, shard, term, author_id, tweet_id, print, tags,"
        " written, woeid, country) VALUES (?, ?, ?, ?, ?, -?, 0, 1, '#storm', 0, 0)"
        " USING TIMESTAMP -1",
        "DELETE FROM {trend_uses_of} USING TIMESTAMP 1 WHERE author_id = ? AND slot = ?"
        " AND term = ? AND tweet_id = ?",
        "DELETE FROM {trend_slots} USING TIMESTAMP 1 WHERE scope = ? AND day = ? AND slot = ?",
    ],
)
async def test_a_fault_of_the_uses_is_found_and_mended(fault: str) -> None:
    made = await town()
    right = await made.here.all()
    use = next(row for row in right["trend_uses"] if row[3] == TERM)
    scope, slot, shard, term, author, tweet = use[:6]
    values: tuple[Any, ...] = (scope, slot, shard, term, author, tweet)
    if "{trend_uses_of}" in fault:
        values = (author, slot, term, tweet)
    if "{trend_slots}" in fault:
        values = (scope, slot * SLOT_MS // 86_400_000, slot)
    if "-?" in fault:
        fault, values = fault.replace("-?", "?"), (*values[:5], -tweet)
    await made.here.store.execute(fault, values)
    assert await made.here.all() != right
    assert await made.here.mend(made.uses())
    assert await made.here.all() == right
    assert await made.here.wrong(made.uses()) == []


async def test_a_slot_that_holds_nothing_of_the_term_is_left() -> None:
    made = await town()
    for day in (BEGIN // 86_400_000, BEGIN // 86_400_000 + 1):  # of which one is another day's
        await made.here.store.execute(
            "INSERT INTO {trend_slots} (scope, day, slot) VALUES (?, ?, ?) USING TIMESTAMP 1",
            (made.here.keys.unit, day, BEGIN // SLOT_MS + 7),
        )
    assert await made.here.wrong(made.uses()) == []


async def test_uses_of_other_terms_are_left_as_they_are() -> None:
    made = await town()
    use = next(row for row in (await made.here.all())["trend_uses"] if row[3] == "#calm")
    await made.here.store.execute(
        "DELETE FROM {trend_uses} USING TIMESTAMP 1 WHERE scope = ? AND slot = ? AND shard = ?"
        " AND term = ? AND author_id = ? AND tweet_id = ?",
        use[:6],
    )
    assert await made.here.wrong(made.uses()) == []


@pytest.mark.parametrize("at", [50, 70, 79])
async def test_windows_that_were_worked_out_of_wrong_uses_are_as_if_they_never_were(
    at: int,
) -> None:
    made, twin = await town(), await town()
    await plant(made, at, range(100, 112))
    await plant(made, at + 1, range(100, 106))
    await made.work()
    await twin.work()
    assert await made.seen() != await twin.seen()
    dry = await made.here.wrong(made.uses())
    assert len(dry) == 36
    assert await made.here.mend(made.uses()) == dry
    told = await made.history(is_dry=True)
    assert told.was_wrong and not told.is_right and made.told == []
    found = await made.history()
    assert found.was_wrong and found.is_right, found
    assert len(made.told) == 1
    assert await made.seen() == await twin.seen()
    again = await made.history()
    assert not again.was_wrong and len(made.told) == 1
    # Whoever led has to take the lead anew, and goes on with the baseline of now.
    for one in (made, twin):
        for author in range(1, 6):
            one.post(1000 + author, author, 98)
        await one.here.feed()
        one.now = NOW + 40_000
        await one.work()
        await one.work()
    assert await made.seen() == await twin.seen()


async def test_rows_of_trends_and_blocks_that_do_not_follow_are_found() -> None:
    made, twin = await town(), await town()
    await made.work()
    await twin.work()
    trends, blocks = await twin.seen()
    named = [key for key, row in trends.items() if any(trend.term == TERM for trend in row)]
    for place, end in named[3:6]:
        key = (made.here.keys.unit, place, end // 86_400_000, end)
        await made.here.store.execute(
            "INSERT INTO {trends} (scope, woeid, day, window_end, found)"
            " VALUES (?, ?, ?, ?, ?) USING TIMESTAMP 2",
            (*key, b"[]"),
        )
    end = next(iter(blocks))
    await made.here.store.execute(
        "DELETE FROM {trend_blocks} USING TIMESTAMP 1 WHERE scope = ? AND window_end = ?"
        " AND shard = ?",
        (made.here.keys.unit, end, SHARD),
    )
    assert await made.seen() != await twin.seen()
    found = await made.history()
    assert any(words.startswith("trend_blocks") for words in found.changes)
    assert any(words.startswith("trends[") for words in found.changes)
    assert found.is_right
    assert await made.seen() == await twin.seen()


async def test_nothing_was_worked_out_yet() -> None:
    made = await town()
    assert not (await made.history()).was_wrong
