"""Who works out trends, and what comes of it: on the real engines and on those in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from secrets import randbits, token_hex
from typing import Any

import msgspec
import pytest

from events.slices import LogRecord, Record, Slice
from events.snowflake import EPOCH_MS, TIME_SHIFT, time_of
from events.types import Place, TweetPosted
from projections.base import RetryableError
from projections.keys import Keys
from projections.store import Store
from projections.trends.layout import DAY_MS, WORLDWIDE, Rules, Shape
from projections.trends.leader import CLOCK_SKEW_MS, LEASE_MS, Leader
from projections.trends.read import TrendsReader
from projections.trends.unit import Trends
from tests.contracts.case import World
from tests.contracts.conftest import Pair
from tests.contracts.history import TOPIC_ID
from tests.contracts.test_units import FailingStore
from tests.oracle_trends import TrendsOracle
from tests.posts import post

CITY, COUNTRY = 44418, 23424975
HOME = Place(CITY, COUNTRY)
SHAPE = Shape()
RULES = Rules()
SMALL = Rules(volume_min=4, place_volume_min=3, young_hours=0)
CALLS_MAX = 900

START = EPOCH_MS // DAY_MS * DAY_MS + 4000 * DAY_MS
"""Of what is posted: long after the accounts were opened."""

Ends = dict[str, int]


class Flow:
    """A log that ends where it is told."""

    def __init__(self, ends: Ends) -> None:
        self.at = ends

    async def ends(self, topic: str) -> Ends:
        assert topic == "new-tweets"
        return self.at


class Scene:
    """A log of two partitions, a unit that applies it, and leaders of a name of their own."""

    def __init__(self, world: World, scope: str, rules: Rules = SMALL) -> None:
        self.world = world
        self.keys = Keys(world.store.generation, scope, 4)
        self.rules = rules
        self.now = START
        self.flow = Flow({"new-tweets/0": 0, "new-tweets/1": 0})
        self.unit = Trends(world.bus, world.store, self.keys, SHAPE)
        self.log: list[LogRecord] = []

    def post(self, author: int, at: int, text: str, place: Place | None = None) -> None:
        """Posts, so many ms after the start; the log has it at once."""
        number = len(self.log)
        tweet = post(
            (1 << 62) + number, author, text=text, lang="en", created_at=START + at, place=place
        )
        self.append(tweet, START + at)

    def append(self, tweet: TweetPosted, appended_at: int) -> None:
        partition = tweet.user_id % 2
        ends = dict(self.flow.at)
        offset = ends[f"new-tweets/{partition}"]
        self.flow.at = {**ends, f"new-tweets/{partition}": offset + 1}
        self.log.append(LogRecord("new-tweets", partition, offset, tweet, appended_at))

    async def apply(self, partitions: Iterable[int] = (0, 1), upto: int | None = None) -> None:
        await self.unit.open()
        for partition in partitions:
            records = [r for r in self.log if r.partition == partition][:upto]
            if records:
                piece = Slice(
                    "new-tweets",
                    partition,
                    TOPIC_ID,
                    0,
                    records[-1].offset + 1,
                    [Record(r.offset, r.appended_at, r.event) for r in records],
                )
                await self.unit.apply(piece)

    def leader(self, store: Store | None = None) -> Leader:
        return Leader(
            self.world.bus,
            store or self.world.store,
            self.keys,
            flow=self.flow,
            shape=SHAPE,
            rules=self.rules,
            now_ms=lambda: self.now,
        )

    async def lead(self, minutes: float, leader: Leader | None = None) -> None:
        """Has a leader work out all windows up to so long after the start."""
        self.now = START + int(minutes * 60_000) + SHAPE.late_ms + CLOCK_SKEW_MS
        leader = leader or self.leader()
        while await leader.turn():
            pass

    @property
    def reader(self) -> TrendsReader:
        world = self.world
        return TrendsReader(world.bus, world.store, self.keys, shape=SHAPE, rules=self.rules)

    async def shown(self, upto: int, places: Sequence[int] = (WORLDWIDE, CITY, COUNTRY)) -> Any:
        """Returns all trends up to a moment, as the oracle lists them."""
        found: dict[int, dict[int, Any]] = {}
        for place in places:
            for row in await self.reader.of_day(place, START // DAY_MS):
                if row.trends and row.window_end <= upto:
                    rows = msgspec.to_builtins(row.trends)
                    found.setdefault(place, {})[row.window_end] = rows
        return found

    async def told(self) -> dict[int, list[tuple[str, int]]]:
        """Returns what readers are told to have begun, by window."""
        return {
            start.window_end: [(one.term, one.authors) for one in start.began]
            for start in await self.reader.starts()
        }

    def right(self, upto: int) -> Any:
        return TrendsOracle(self.log, SHAPE, self.rules).history(upto)

    def right_told(self, upto: int) -> dict[int, list[tuple[str, int]]]:
        return TrendsOracle(self.log, SHAPE, self.rules).starts(upto)


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world, f"trends-{token_hex(6)}")


def crowd(scene: Scene, tag: str, size: int, at: int, place: Place | None = None) -> None:
    """So many people, each with words of his own."""
    first = randbits(16) << TIME_SHIFT
    for number in range(size):
        words = f"{number:x}word{number} {number:x}other{number} {number:x}more{number}"
        scene.post(first + number, at + number * 37 % 20_000, f"{tag} {words}", place)


async def test_fifty_accounts_cannot_make_a_trend_and_five_hundred_people_can(
    world: World,
) -> None:
    scene = Scene(world, f"trends-{token_hex(6)}", RULES)
    for number in range(5_000):
        scene.post(1000 + number % 50, number * 5, f"#spam buy it now {number}", HOME)
    crowd(scene, "#derby", 500, 1_000, HOME)
    await scene.apply()
    await scene.lead(5)
    here = await scene.reader.newest(CITY)
    assert [trend.term for trend in here.trends] == ["#derby"]
    assert [trend.term for trend in (await scene.reader.newest(COUNTRY)).trends] == ["#derby"]
    assert (await scene.reader.newest(WORLDWIDE)).trends == []
    told = await scene.reader.explain("#spam", CITY, START + 300_000)
    assert (told.authors, told.tweets) == (50, 5_000)
    assert told.verdict == "does not trend: more than 200 people are needed"
    told = await scene.reader.explain("#derby", CITY, START + 300_000)
    assert (told.authors, told.volume, told.verdict) == (500, 500_000, "trends")


async def test_trends_come_and_go_and_are_remembered(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0)
    crowd(scene, "#storm", 9, 90_000)
    await scene.apply()
    leader = scene.leader()
    await scene.lead(2.5, leader)
    newest = await scene.reader.newest(WORLDWIDE)
    assert {trend.term for trend in newest.trends} == {"#derby", "#storm"}
    assert newest.window_end == START + 150_000
    (derby,) = [trend for trend in newest.trends if trend.term == "#derby"]
    assert derby.started_at == START + 30_000
    await scene.lead(10, leader)
    assert (await scene.reader.newest(WORLDWIDE)).trends == []
    then = await scene.reader.at(WORLDWIDE, START + 70_000)
    assert [trend.term for trend in then.trends] == ["#derby"]
    assert await scene.shown(START + 600_000) == scene.right(START + 600_000) != {}


async def test_what_comes_and_goes_is_told_once_a_day(scene: Scene) -> None:
    day = DAY_MS // 60_000
    crowd(scene, "#derby", 8, 0)
    crowd(scene, "#derby", 8, 30 * 60_000)  # once more, after it had ceased to
    crowd(scene, "#storm", 9, 30 * 60_000)
    crowd(scene, "#derby", 8, DAY_MS + 3_600_000)
    await scene.apply()
    leader = scene.leader()
    await scene.lead(20, leader)
    assert await scene.told() == {START + 30_000: [("#derby", 8)]}
    await scene.lead(day + 90, leader)
    assert await scene.told() == {
        START + 30_000: [("#derby", 8)],
        START + 31 * 60_000 - 30_000: [("#storm", 9)],
        START + DAY_MS + 3_630_000: [("#derby", 8)],
    }
    assert await scene.told() == scene.right_told(START + 2 * DAY_MS)
    newest, *_ = await scene.reader.starts()
    assert time_of(scene.reader.told_at(newest)) == newest.window_end + SHAPE.late_ms - 1


async def test_what_the_log_got_late_or_early_counts_nothing(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0)
    on_time = list(scene.log)
    for record in on_time:
        tweet = msgspec.structs.replace(record.event, text="#old news", tweet_id=randbits(50))
        assert isinstance(tweet, TweetPosted)
        scene.append(tweet, tweet.created_at + SHAPE.late_ms + 1)
        scene.append(tweet, tweet.created_at - SHAPE.ahead_ms - 1)
    await scene.apply()
    assert (scene.unit.late, scene.unit.early) == (8, 8)
    await scene.lead(5)
    newest = await scene.reader.newest(WORLDWIDE)
    assert [trend.term for trend in newest.trends] == ["#derby"]


async def test_no_window_is_worked_out_before_every_partition_is_past_it(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0)
    crowd(scene, "#later", 8, 120_000)
    await scene.apply([0])
    leader = scene.leader()
    await scene.lead(10, leader)
    assert (await scene.reader.done()) == 0
    await scene.apply([1], upto=5)  # one of those that came later is applied
    at = max(r.appended_at for r in [r for r in scene.log if r.partition == 1][:5])
    await scene.lead(10, leader)
    assert START < (await scene.reader.done()) <= at - SHAPE.late_ms
    await scene.apply([1])
    await scene.lead(10, leader)
    assert (await scene.reader.done()) == START + 600_000
    assert await scene.shown(START + 600_000) == scene.right(START + 600_000)


async def test_one_leads_and_the_next_goes_on_where_he_was(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0)
    await scene.apply()
    first, second = scene.leader(), scene.leader()
    await scene.lead(1, first)
    scene.now += LEASE_MS - 1
    assert await second.turn() == 0
    assert (first.windows_done, second.windows_done) == (2, 0)
    await scene.lead(4, second)
    assert second.windows_done == 6
    await scene.lead(6, first)  # he wakes up, and believes that he leads
    assert first.windows_done == 2
    await scene.lead(6, second)
    assert await scene.shown(START + 360_000) == scene.right(START + 360_000) != {}


async def test_whoever_dies_wherever_the_trends_are_the_same(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0, HOME)
    crowd(scene, "#storm", 9, 250_000)
    await scene.apply()
    deaths = 0
    for calls in range(0, CALLS_MAX, 23):
        failing = FailingStore(scene.world.store, calls)
        failing.armed = True
        try:
            await scene.lead(7 + calls, scene.leader(failing))  # whoever led before is gone
        except RetryableError:
            deaths += 1
    assert deaths > CALLS_MAX // 23 // 2
    await scene.lead(7 + CALLS_MAX)
    assert await scene.shown(START + 420_000) == scene.right(START + 420_000) != {}
    assert await scene.told() == scene.right_told(START + 420_000) != {}


async def test_a_replay_gives_the_trends_of_then(pair: Pair) -> None:
    scope = f"trends-{token_hex(6)}"
    live, replayed = Scene(pair.live, scope), Scene(pair.other, scope)
    crowd(live, "#derby", 8, 0, HOME)
    crowd(live, "#storm", 9, 250_000)
    await live.apply()
    leader = live.leader()
    for minute in range(1, 12):  # as it happens
        await live.lead(minute, leader)
    replayed.log, replayed.flow = live.log, live.flow
    await replayed.apply()
    await replayed.lead(60 * 24 * 30)  # a month later, at once
    upto = START + 660_000
    assert await replayed.shown(upto) == await live.shown(upto) == live.right(upto) != {}
    assert await replayed.told() == await live.told() == live.right_told(upto) != {}


async def test_what_those_use_whom_one_follows(scene: Scene) -> None:
    crowd(scene, "#derby", 8, 0)
    people = sorted({record.event.user_id for record in scene.log})  # type: ignore[attr-defined]
    scene.post(people[0], 30_000, "#Storm")
    scene.post(people[1], 30_000, "#storm")
    scene.post(people[2], 30_000, "#alone")
    await scene.apply()
    await scene.lead(2)
    found = await scene.reader.own(people[:3])
    assert [(one.term, one.followees) for one in found] == [("#derby", 3), ("#storm", 2)]
    assert await scene.reader.own([]) == []


async def test_memory_is_bounded_by_what_is_not_the_tail(world: World) -> None:
    scene = Scene(world, f"trends-{token_hex(6)}", RULES)
    for number in range(300):
        scene.post(number, number, f"#alone{number}")
    crowd(scene, "#derby", 30, 0)
    await scene.apply()
    leader = scene.leader()
    await scene.lead(1, leader)
    kept = {term for slot in leader._slots.values() for term in slot}
    assert kept == {"#derby"}
    assert RULES.tail == 2
