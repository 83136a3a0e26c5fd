"""Trends over the oracle: what a reader gets of a place, and of those whom he follows."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.levels.level import Level, Order, Said
from gateway.trend_answers import OwnTrendsAnswer, TrendsAnswer
from tests.unit.gateway.world import World


async def trends(world: World, user: int, query: str = "") -> TrendsAnswer:
    response = await world.send("GET", f"/api/trends{query}", user=user)
    assert response.status == 200, response.body
    return msgspec.json.decode(response.body, type=TrendsAnswer)


async def own(world: World, user: int) -> OwnTrendsAnswer:
    response = await world.send("GET", "/api/trends/personal", user=user)
    assert response.status == 200, response.body
    return msgspec.json.decode(response.body, type=OwnTrendsAnswer)


async def crowd(world: World, text: str, size: int, **fields: Any) -> list[int]:
    people = [await world.register(f"{text[1:4]}{n}") for n in range(size)]
    for person in people:
        await world.tweet(person, f"{text} says {person}", **fields)
    return people


async def test_what_trends_worldwide_with_its_volume_and_why() -> None:
    world = World()
    ann = await world.register("ann")
    await crowd(world, "#Derby", 4)
    await crowd(world, "#Quiet", 1)
    found = await trends(world, ann)
    (derby,) = [one for one in found.data if one.name.startswith("#")]
    assert (derby.name, derby.query, derby.volume) == ("#Derby", "#derby", 4)
    assert (derby.author_count, derby.tweet_count) == (4, 4)
    assert derby.why.startswith("4 people used it worldwide in 4 tweets")
    assert found.meta.woeid == 1 and found.meta.window_end is not None
    assert derby.started_at == found.meta.window_end


async def test_a_place_has_trends_of_its_own() -> None:
    world = World()
    ann = await world.register("ann")
    await crowd(world, "#Derby", 2, geo={"woeid": "44418", "country_woeid": "23424975"})
    for woeid, names in ((44418, ["#Derby"]), (23424975, ["#Derby"]), (1, []), (7, [])):
        found = await trends(world, ann, f"?woeid={woeid}")
        assert [one.name for one in found.data if one.name.startswith("#")] == names
        assert found.meta.woeid == woeid


async def test_no_place_is_named_by_a_word() -> None:
    world = World()
    ann = await world.register("ann")
    for woeid in ("london", "0", "-1", "9" * 20):
        found = await world.call(400, "GET", f"/api/trends?woeid={woeid}", user=ann)
        assert found["type"].endswith("invalid-woeid")


async def test_what_those_use_whom_one_follows() -> None:
    world = World()
    ann = await world.register("ann")
    people = await crowd(world, "#Derby", 3)
    await world.tweet(people[0], "#storm")
    await world.tweet(people[1], "#storm")
    assert (await own(world, ann)).data == []
    for person in people:
        await world.call(
            201, "POST", f"/api/users/{ann}/follow", {"target_user_id": str(person)}, user=ann
        )
    tags = [one for one in (await own(world, ann)).data if one.name.startswith("#")]
    assert [(one.name, one.followee_count) for one in tags] == [("#derby", 3), ("#storm", 2)]
    assert [one.trending for one in tags] == [True, False]
    await world.call(
        201, "POST", f"/api/users/{ann}/mute", {"target_user_id": str(people[0])}, user=ann
    )
    tags = [one for one in (await own(world, ann)).data if one.name.startswith("#")]
    assert [(one.name, one.followee_count) for one in tags] == [("#derby", 2)]


async def test_trends_are_off_from_level_one_on() -> None:
    world = World()
    ann = await world.register("ann")
    world.levels.heard(Said(Order(Level(1), actor="ada")))
    for path in ("/api/trends", "/api/trends/personal"):
        response = await world.send("GET", path, user=ann)
        assert response.status == 503
        assert dict(response.headers)["retry-after"] == "30"
    world.levels.heard(Said())
    assert (await trends(world, ann)).data == []
