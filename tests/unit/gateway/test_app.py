"""The pipeline: who may ask what, bounds, and errors as problem documents."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.app import Gateway
from gateway.auth import Tokens
from gateway.http import Request, Response
from gateway.levels.admission import Admission
from gateway.metrics import GatewayMetrics
from gateway.routing import Access, Route
from gateway.waits import Waits
from projections.base import RetryableError
from tests.unit.gateway.world import KEY, World

ROUTES = """
POST /api/users · GET /api/users/{id} · GET /api/users/by/username/{name} · GET /api/users/me
PATCH /api/users/me · POST /api/tweets · GET /api/tweets/{id} · DELETE /api/tweets/{id}
POST /api/tweets/{id}/retweet · DELETE /api/tweets/{id}/retweet
POST /api/users/{me}/follow · DELETE /api/users/{me}/follow/{target}
POST /api/users/{me}/block · DELETE /api/users/{me}/block/{target}
POST /api/users/{me}/mute · DELETE /api/users/{me}/mute/{target}
GET /api/timeline/home · GET /api/users/{id}/tweets · GET /api/users/{id}/mentions
GET /api/tweets/{id}/conversation
POST /api/users/{me}/pinned_tweet · DELETE /api/users/{me}/pinned_tweet
GET /api/users/{id}/followers · GET /api/users/{id}/following
POST /api/tweets/{id}/like · DELETE /api/tweets/{id}/like · POST /api/tweets/views
GET /api/tweets/{id}/liking_users · GET /api/tweets/{id}/retweeted_by
GET /api/tweets/{id}/quotes · GET /api/tweets/{id}/replies · GET /api/users/{id}/likes
POST /api/lists · GET /api/lists/{id} · PATCH /api/lists/{id} · DELETE /api/lists/{id}
GET /api/lists/{id}/members · POST /api/lists/{id}/members
DELETE /api/lists/{id}/members/{user} · GET /api/lists/{id}/tweets · GET /api/users/{id}/lists
POST /api/tweets/{id}/bookmark · DELETE /api/tweets/{id}/bookmark · GET /api/bookmarks
GET /api/search · GET /api/search/counts · GET /api/search/users
GET /api/notifications · GET /api/notifications/unread_count · POST /api/notifications/read
GET /api/notifications/preferences · PUT /api/notifications/preferences
POST /api/notifications/subscriptions · DELETE /api/notifications/subscriptions
PUT /api/notifications/email · GET /api/notifications/push_key
GET /api/notifications/email/stop · POST /api/notifications/email/stop
GET /api/notifications/email/confirm · POST /api/notifications/email/confirm
GET /api/trends · GET /api/trends/personal
GET /healthz · GET /readyz · GET /metrics · GET /openapi.json
"""


async def test_the_routes_are_those_of_the_issue(world: World) -> None:
    expected = {route.strip() for line in ROUTES.split("\n") for route in line.split("·")} - {""}
    document = await world.call(200, "GET", "/openapi.json")
    found = {
        f"{method.upper()} {path}" for path, ops in document["paths"].items() for method in ops
    }
    assert found | {"GET /openapi.json"} == expected


async def test_openapi_refers_only_to_what_it_holds(world: World) -> None:
    document = await world.call(200, "GET", "/openapi.json")
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names and names <= document["components"]["schemas"].keys()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == {s[1:-1] for s in path.split("/") if s.startswith("{")}
    open_routes = {
        path
        for path, ops in document["paths"].items()
        for op in ops.values()
        if "security" not in op
    }
    mail = {f"/api/notifications/email/{what}" for what in ("stop", "confirm")}
    told = {"/api/notifications/push_key", *mail}
    assert open_routes == {"/api/users", "/healthz", "/readyz", "/metrics", *told}
    ids = [op["operationId"] for ops in document["paths"].values() for op in ops.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "no-such-path"),
        ("GET", "/api", 404, "no-such-path"),
        ("GET", "/api/users/", 404, "not-found"),
        ("GET", "/api/users/me/", 404, "no-such-path"),
        ("GET", "/api/users/abc", 404, "not-found"),
        ("GET", "/api/users/0", 404, "not-found"),
        ("GET", "/api/users/9223372036854775808", 404, "not-found"),
        ("GET", "/api/users/٣", 404, "not-found"),
        ("PUT", "/api/tweets", 405, "method-not-allowed"),
        ("DELETE", "/api/users/me", 405, "method-not-allowed"),
        ("OPTIONS", "/api/tweets/1", 405, "method-not-allowed"),
    ],
)
async def test_unknown_paths_and_methods(
    world: World, method: str, path: str, status: int, kind: str
) -> None:
    problem = await world.call(status, method, path, user=1)
    assert problem["type"] == f"urn:murmuration:problem:{kind}"
    assert (problem["status"], problem["instance"]) == (status, path)
    assert problem["detail"]


async def test_405_says_what_is_allowed(world: World) -> None:
    response = await world.send("PUT", "/api/tweets/1")
    assert dict(response.headers)["allow"] == "DELETE, GET"


async def test_every_route_of_the_api_but_registration_needs_a_token(world: World) -> None:
    document = await world.call(200, "GET", "/openapi.json")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "security" in operation:
                target = path.replace("{name}", "x")
                for name in ("{id}", "{me}", "{target}", "{user}"):
                    target = target.replace(name, "1")
                response = await world.send(method.upper(), target)
                assert response.status == 401, target
                assert "www-authenticate" in dict(response.headers)


async def test_a_token_for_reading_cannot_write(world: World) -> None:
    alice = await world.register("alice")
    headers = {"authorization": f"Bearer {world.tokens.issue(alice, scopes=['read'])}"}
    await world.call(200, "GET", "/api/users/me", headers=headers)
    problem = await world.call(403, "POST", "/api/tweets", {"text": "x"}, headers=headers)
    assert problem["type"].endswith("scope")


@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"text": "\xff"}', "application/json", 400),
        (b"[" * 20_000, "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"text": 1}', "application/json", 422),
        (b'{"text": "x"}', "text/plain", 415),
        (b'{"text": "x"}', "", 415),
        (b'{"text": "x"}', "Application/JSON; charset=utf-8", 201),
        (b'{"text": "' + b"x" * 65_536 + b'"}', "application/json", 413),
    ],
)
async def test_bodies_that_are_wrong(
    world: World, raw: bytes, content_type: str, status: int
) -> None:
    alice = await world.register("alice")
    headers = {"content-type": content_type} if content_type else {}
    await world.call(status, "POST", "/api/tweets", raw=raw, headers=headers, user=alice)


@pytest.mark.parametrize("count", ["0", "201", "-1", "x", "", "1e1", "٣", "99999999999999999999"])
async def test_wrong_counts(world: World, count: str) -> None:
    problem = await world.call(400, "GET", f"/api/timeline/home?count={count}", user=1)
    assert problem["errors"][0]["field"] == "count"


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "%00", "a" * 5_000])
async def test_wrong_cursors(world: World, cursor: str) -> None:
    problem = await world.call(400, "GET", f"/api/timeline/home?cursor={cursor}", user=1)
    assert problem["type"].endswith("invalid-cursor")


@pytest.mark.parametrize("value", ["", "x", "new-tweets/3", "a/1@1,", ",".join(["a/1@1"] * 9)])
async def test_wrong_positions(world: World, value: str) -> None:
    headers = {"x-wait-for": value}
    problem = await world.call(400, "GET", "/api/users/me", user=1, headers=headers)
    assert problem["errors"][0]["field"] == "X-Wait-For"


async def test_a_read_waits_for_what_the_user_wrote(world: World) -> None:
    alice = await world.register("alice")
    world.log.held.add("new-tweets")
    posted = await world.send("POST", "/api/tweets", {"text": "mine"}, user=alice)
    headers = {"x-wait-for": dict(posted.headers)["x-event-position"]}
    problem = await world.call(504, "GET", "/api/timeline/home", user=alice, headers=headers)
    assert problem["type"].endswith("projection-lags")
    assert "tweets" in problem["detail"]
    # The profile is served by units that do not read tweets' topic alone: accounts does not.
    tweet_id = json.loads(posted.body)["data"]["id"]

    async def apply_soon() -> None:
        await asyncio.sleep(0.05)
        world.oracle.apply(world.log.events[-1])
        world.log.applied["new-tweets/0"] = 1

    applying = asyncio.create_task(apply_soon())
    page = await world.call(200, "GET", "/api/timeline/home", user=alice, headers=headers)
    assert [tweet["id"] for tweet in page["data"]] == [tweet_id]
    await applying


async def test_a_position_of_a_topic_that_no_unit_of_the_route_reads_is_not_waited_for(
    world: World,
) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    headers = {"x-wait-for": "user-activity/0@77,social-graph/0@77"}
    await world.call(200, "GET", f"/api/tweets/{tweet}", user=alice, headers=headers)
    await world.call(504, "GET", f"/api/users/{alice}/tweets", user=alice, headers=headers)


def _gateway(handler: Any, **options: Any) -> Gateway:
    metrics = GatewayMetrics(CollectorRegistry())
    route = Route(method="GET", path="/x", handler=handler, summary="", access=Access.OPEN)
    return Gateway([route], Tokens(KEY), Waits({}, metrics), metrics, **options)


def _request() -> Request:
    headers: dict[str, str] = {}
    return Request(
        method="GET",
        path="/x",
        query_string="",
        header=headers.get,
        chunks=_nothing,
        request_id="r1",
    )


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def test_an_unexpected_error_says_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_request: Request) -> Response:
        raise KeyError("secret of the inside")

    with caplog.at_level(logging.ERROR):
        response = await _gateway(broken).answer(_request())
    assert response.status == 500
    assert b"secret" not in response.body
    assert b"r1" in response.body
    assert "secret" in caplog.text and "r1" in caplog.text


async def test_an_engine_that_is_away_is_a_503() -> None:
    async def away(_request: Request) -> Response:
        raise RetryableError("Redis at 10.0.0.1:6379 is away")

    response = await _gateway(away).answer(_request())
    assert response.status == 503
    assert b"10.0.0.1" not in response.body
    assert "retry-after" in dict(response.headers)


async def test_a_request_that_takes_too_long_is_cut_off() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response(b"")

    response = await _gateway(slow, request_seconds_max=0.01).answer(_request())
    assert response.status == 503
    assert json.loads(response.body)["type"].endswith("too-slow")


async def test_a_command_that_is_cut_off_while_it_appends_has_an_unknown_outcome() -> None:
    async def slow(request: Request) -> Response:
        request.appending = True
        await asyncio.Event().wait()
        return Response(b"")

    response = await _gateway(slow, request_seconds_max=0.01).answer(_request())
    assert response.status == 504
    assert json.loads(response.body)["type"].endswith("outcome-unknown")


async def test_requests_beyond_the_bound_are_refused_at_once() -> None:
    release = asyncio.Event()

    async def held(_request: Request) -> Response:
        await release.wait()
        return Response(b"{}")

    gateway = _gateway(held, admission=Admission(requests_max=3))  # two of them for pages
    under_way = [asyncio.create_task(gateway.answer(_request())) for _ in range(2)]
    await asyncio.sleep(0)
    refused = await gateway.answer(_request())
    assert refused.status == 503
    release.set()
    assert [r.status for r in await asyncio.gather(*under_way)] == [200, 200]
    assert (await gateway.answer(_request())).status == 200


async def test_metrics_count_by_route_and_never_by_path(world: World) -> None:
    alice = await world.register("alice")
    await world.call(404, "GET", "/api/tweets/123", user=alice)
    await world.call(404, "GET", "/nowhere/123")
    text = (await world.send("GET", "/metrics")).body.decode()
    assert 'route="/api/tweets/{id}",status="404"} 1.0' in text
    assert 'route="(none)",status="404"} 1.0' in text
    assert "123" not in "".join(line for line in text.splitlines() if "requests_total" in line)


async def test_readiness_names_what_does_not_answer() -> None:
    world = World(checks={"redis": _fine, "log": _broken})
    readiness = await world.send("GET", "/readyz")
    assert readiness.status == 503
    body = json.loads(readiness.body)
    assert body["checks"]["redis"] == {"ok": True, "detail": "answers"}
    assert body["checks"]["log"]["ok"] is False
    assert "no route to host" in body["checks"]["log"]["detail"]
    assert (await world.send("GET", "/healthz")).status == 200


async def test_a_process_that_drains_is_not_ready() -> None:
    world = World(checks={"redis": _fine})
    assert (await world.send("GET", "/readyz")).status == 200
    world.health.draining = True
    assert (await world.send("GET", "/readyz")).status == 503


async def _fine() -> str:
    return "answers"


async def _broken() -> str:
    raise RetryableError("no route to host")
