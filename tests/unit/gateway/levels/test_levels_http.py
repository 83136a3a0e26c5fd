"""What clients of a degraded gateway see, and whom an overloaded one turns away first."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.http import Response
from gateway.levels.admission import DELAYS, OPERATORS_MAX, SHARE, Admission, Cost, cost_of
from gateway.levels.level import Level, Order, Said
from tests.unit.gateway.world import World


def at(world: World, level: int) -> None:
    world.levels.heard(Said(Order(Level(level), actor="ada")))


def stale(response: Response) -> str | None:
    return dict(response.headers).get("x-stale")


async def test_the_level_is_in_every_answer_and_in_readyz() -> None:
    world = World()
    user = await world.register("ada")
    normal = await world.send("GET", "/api/users/me", user=user)
    assert "x-degradation-level" not in dict(normal.headers)
    at(world, 1)
    for path in ("/api/users/me", "/api/tweets/7", "/healthz", "/nowhere"):
        response = await world.send("GET", path, user=user)
        assert dict(response.headers)["x-degradation-level"] == "1"


async def test_views_and_openings_are_off_from_level_one_on() -> None:
    world = World()
    user = await world.register("ada")
    tweet = await world.tweet(user)
    at(world, 1)
    before = len(world.log.events)
    answer = await world.send("POST", "/api/tweets/views", {"tweet_ids": [str(tweet)]}, user=user)
    assert (answer.status, json.loads(answer.body)) == (202, {"data": {"viewed": 0}})
    assert world.metrics.registry.get_sample_value("murmur_gateway_views_dropped_total") == 1
    await world.call(200, "GET", "/api/timeline/home", user=user)
    await world.openings.close()
    assert len(world.log.events) == before
    at(world, 0)
    await world.call(200, "GET", "/api/timeline/home", user=user)
    found = await world.call(
        202, "POST", "/api/tweets/views", {"tweet_ids": [str(tweet)]}, user=user
    )
    assert found["data"] == {"viewed": 1}
    await world.openings.close()
    assert len(world.log.events) == before + 2


@pytest.mark.parametrize("level", range(5))
async def test_a_home_timeline_says_that_it_is_stale_on_purpose(level: int) -> None:
    world = World()
    user = await world.register("ada")
    tweets = [await world.tweet(user) for _ in range(3)]
    at(world, level)
    for query in ("?count=2", ""):
        response = await world.send("GET", f"/api/timeline/home{query}", user=user)
        page = json.loads(response.body)
        on_purpose = level in (2, 4)
        assert world.home.cached_only is on_purpose
        assert stale(response) == ("level" if on_purpose else None)
        assert page["meta"].get("stale", False) is on_purpose
        assert int(page["data"][0]["id"]) == tweets[-1]
    cursor = json.loads((await world.send("GET", "/api/timeline/home?count=2", user=user)).body)[
        "meta"
    ]["next_cursor"]
    second = await world.send("GET", f"/api/timeline/home?cursor={cursor}", user=user)
    assert stale(second) == ("level" if on_purpose else None)


async def test_every_command_is_refused_at_level_four_and_nothing_else() -> None:
    world = World()
    user = await world.register("ada")
    tweet = await world.tweet(user)
    at(world, 4)
    before = len(world.log.events)
    commands = [
        route
        for route in world.gateway.routes
        if route.method != "GET" and cost_of(route) is not Cost.OPERATOR
    ]
    assert len(commands) > 15
    for route in commands:
        path = route.path.replace("{id}", str(tweet)).replace("{me}", str(user))
        path = path.replace("{target}", "7").replace("{user}", "7").replace("{tweet}", "7")
        response = await world.send(route.method, path, {}, user=user)
        problem = json.loads(response.body)
        assert response.status == 503, path
        assert problem["type"].endswith(":read-only")
        assert dict(response.headers)["retry-after"] == "30"
    assert len(world.log.events) == before
    await world.call(200, "GET", f"/api/tweets/{tweet}", user=user)
    await world.call(200, "GET", "/api/timeline/home", user=user)


def test_every_route_has_the_cost_that_it_should() -> None:
    found = {(r.method, r.path): cost_of(r) for r in World().gateway.routes}
    assert {key for key, cost in found.items() if cost is Cost.SPARE} == {
        ("POST", "/api/tweets/views")
    }
    assert {path for (_, path), cost in found.items() if cost is Cost.OPERATOR} >= {
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert all(
        cost is Cost.COMMAND
        for (method, path), cost in found.items()
        if method != "GET" and path != "/api/tweets/views" and not path.startswith("/ops")
    )
    assert found["GET", "/api/timeline/home"] is Cost.HOME
    assert found["GET", "/api/tweets/{id}/replies"] is Cost.PAGES


def test_what_is_cheapest_to_lose_is_lost_first() -> None:
    admission = Admission(requests_max=100, delay_seconds=0.1)
    classes = sorted(Cost)
    for share in (0.0, *sorted(SHARE.values())):
        admission.under_way = int(share * 100) + 1
        admitted = [cost for cost in classes if admission.admits(cost)]
        assert admitted == classes[len(classes) - len(admitted) :]
        assert len(admitted) == 6 - sum(share >= one for one in SHARE.values())
    admission.under_way = 100 + OPERATORS_MAX + 1
    assert not any(map(admission.admits, classes))
    admission.under_way = 1
    for times in sorted(DELAYS.values()):
        admission.delay = times * 0.1 * 1.01
        admitted = [cost for cost in classes if admission.admits(cost)]
        assert admitted == classes[len(classes) - len(admitted) :]
        assert len(admitted) == 6 - sum(times >= one for one in DELAYS.values())


async def test_an_overloaded_gateway_still_tells_its_operators() -> None:
    world = World()
    user = await world.register("ada")
    world.admission.delay = 1.0
    refused = await world.send("GET", "/api/timeline/home", user=user)
    assert refused.status == 503
    assert json.loads(refused.body)["type"].endswith(":too-busy")
    assert (await world.send("GET", "/healthz")).status == 200
    counted = world.metrics.registry.get_sample_value(
        "murmur_gateway_requests_refused_total", {"cost": "home"}
    )
    assert counted == 1
    world.admission.delay = 0.0
    await asyncio.gather(
        *(world.call(200, "GET", "/api/timeline/home", user=user) for _ in range(5))
    )
    assert world.admission.under_way == 0
