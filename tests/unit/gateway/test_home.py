"""The home timeline's route: what is new above a cursor, and why an entry is there."""

from __future__ import annotations

import msgspec
import pytest

from events.partitioner import partition_of
from gateway.answers import HomeTimelinePage
from gateway.cursors import Cursors
from gateway.queries.timeline import Place
from projections.timelines.authors import NEWEST
from tests.unit.gateway.world import World

HOME = "/api/timeline/home"


async def get(world: World, user: int, query: str = "") -> HomeTimelinePage:
    response = await world.send("GET", f"{HOME}?{query}", user=user)
    assert response.status == 200, response.body
    return msgspec.json.decode(response.body, type=HomeTimelinePage)


def ids(page: HomeTimelinePage) -> list[int]:
    return [int(tweet.id) for tweet in page.data]


async def test_a_refresh_returns_what_is_new(world: World) -> None:
    alice = await world.register("alice")
    first = [await world.tweet(alice, f"old {number}") for number in range(3)]
    page = await get(world, alice, "count=2")
    assert ids(page) == first[:0:-1]
    assert page.meta.missed is None
    newest = page.meta.newest_cursor
    again = await get(world, alice, f"since={newest}")
    assert (ids(again), again.meta.missed, again.meta.next_cursor) == ([], 0, None)
    assert again.meta.newest_cursor == newest
    new = [await world.tweet(alice, f"new {number}") for number in range(2)]
    refreshed = await get(world, alice, f"since={newest}")
    assert ids(refreshed) == new[::-1]
    assert (refreshed.meta.missed, refreshed.meta.missed_is_lower_bound) == (0, False)
    assert refreshed.meta.next_cursor is None
    assert refreshed.meta.newest_cursor not in (None, newest)


async def test_what_a_refresh_missed_is_counted_and_paged_down_to_its_cursor(world: World) -> None:
    alice = await world.register("alice")
    await world.tweet(alice, "old")
    newest = (await get(world, alice)).meta.newest_cursor
    new = [await world.tweet(alice, f"new {number}") for number in range(7)]
    page = await get(world, alice, f"since={newest}&count=3")
    assert (ids(page), page.meta.missed) == (new[:3:-1], 4)
    gap = await get(world, alice, f"cursor={page.meta.next_cursor}&count=3")
    assert gap.meta.missed is None and gap.meta.newest_cursor is None
    last = await get(world, alice, f"cursor={gap.meta.next_cursor}&count=3")
    assert ids(gap) + ids(last) == new[3::-1]
    assert last.meta.next_cursor is None, "the gap ends above what was there before"


async def test_more_than_can_be_counted_is_a_lower_bound(world: World) -> None:
    alice = await world.register("alice")
    newest = (await get(world, alice)).meta.newest_cursor
    for number in range(10):
        await world.tweet(alice, f"new {number}")
    page = await get(world, alice, f"since={newest}&count=2")
    assert (page.meta.missed, page.meta.missed_is_lower_bound) == (8, True)


async def test_an_empty_timeline_can_be_refreshed(world: World) -> None:
    alice = await world.register("alice")
    page = await get(world, alice)
    assert page.data == []
    tweet = await world.tweet(alice)
    assert ids(await get(world, alice, f"since={page.meta.newest_cursor}")) == [tweet]


async def test_since_and_cursor_are_two_places(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    for _ in range(2):
        await world.tweet(alice)
    meta = (await get(world, alice, "count=1")).meta
    both = f"{HOME}?since={meta.newest_cursor}&cursor={meta.next_cursor}"
    problem = await world.call(400, "GET", both, user=alice)
    assert problem["type"].endswith("since-and-cursor")
    for user, query in (
        (alice, f"since={meta.next_cursor}"),
        (bob, f"since={meta.newest_cursor}"),
        (alice, "since=x"),
        (alice, "since="),
    ):
        problem = await world.call(400, "GET", f"{HOME}?{query}", user=user)
        assert problem["type"].endswith("invalid-since")
    wrong = f"{HOME}?cursor={meta.newest_cursor}"
    assert (await world.call(400, "GET", wrong, user=alice))["type"].endswith("invalid-cursor")


async def test_only_a_request_that_asks_is_told_why(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    page = await get(world, alice, "explain=1")
    assert page.explain is not None
    (reason,) = page.explain
    assert (reason.tweet_id, reason.why, reason.follow_id) == (str(tweet), "pushed", "7")
    assert reason.position == "new-tweets/0@5"
    for query in ("", "explain=0", "explain=false"):
        assert (await get(world, alice, query)).explain is None
    problem = await world.call(400, "GET", f"{HOME}?explain=why", user=alice)
    assert problem["type"].endswith("invalid-explain")


@pytest.mark.parametrize("place", [Place(5, 9, 3), Place(NEWEST, 0, 0), Place(1)])
def test_a_place_survives_its_cursor(place: Place) -> None:
    cursors = Cursors(b"secret")
    assert Place.open(cursors, 7, place.seal(cursors, 7)) == place


def test_a_cursor_of_old_is_a_place() -> None:
    cursors = Cursors(b"secret")
    assert Place.open(cursors, 7, cursors.seal("home", 7, b"42")) == Place(42)


def test_the_partition_of_an_author_is_that_of_his_key() -> None:
    assert {partition_of(b"%d" % user, 8) for user in range(1000, 1200)} == set(range(8))
