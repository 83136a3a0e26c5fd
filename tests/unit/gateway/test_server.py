"""The server on a real socket: what trickles is cut off, what is too large is refused."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway import http
from gateway.http import Request, Response
from gateway.limits import BODY_BYTES_MAX, HEADERS_BYTES_MAX
from gateway.routing import Access, Route
from gateway.server import Server
from tests.unit.gateway.world import World

HEADERS_SECONDS = 1.0
BODY_SECONDS = 0.5
CUT_SECONDS_MAX = 5.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Listening(World):
    """A world that listens."""

    def __init__(self) -> None:
        super().__init__()
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = Server(
            self.gateway, "127.0.0.1", self.port, headers_seconds_max=HEADERS_SECONDS
        )


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    monkeypatch.setattr(http, "BODY_SECONDS_MAX", BODY_SECONDS)
    world = Listening()
    await world.server.start()
    yield world
    await world.server.stop()


@pytest.fixture
async def client(listening: Listening) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=listening.url, timeout=10) as found:
        yield found


async def test_a_request_over_http(listening: Listening, client: httpx.AsyncClient) -> None:
    body = {"username": "alice", "name": "Alice"}
    registered = await client.post("/api/users", json=body, headers={"x-request-id": "mine-1"})
    assert registered.status_code == 201
    assert registered.headers["x-request-id"] == "mine-1"
    assert registered.headers["x-event-position"] == "users/0@0"
    headers = {"authorization": f"Bearer {registered.json()['token']}"}
    posted = await client.post("/api/tweets", json={"text": "hi"}, headers=headers)
    assert posted.status_code == 201
    path = f"/api/tweets/{posted.json()['data']['id']}"
    assert (await client.get(path, headers=headers)).json()["data"] == posted.json()["data"]
    head = await client.head(path, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    encoded = await client.get("/api/users/by/username/%61lic%65", headers=headers)
    assert encoded.json()["data"]["username"] == "alice"
    unknown = await client.get("/nowhere", headers={"x-request-id": "bad id"})
    assert unknown.headers["content-type"] == "application/problem+json"
    assert unknown.headers["x-request-id"] == unknown.json()["request_id"] != "bad id"


async def test_headers_that_trickle_are_cut_off(listening: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    started = time.monotonic()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    cut = asyncio.create_task(reader.read())
    while not cut.done() and time.monotonic() - started < CUT_SECONDS_MAX:
        writer.write(b"X-A: a\r\n")
        await asyncio.wait([cut], timeout=0.1)
    assert cut.done()
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(listening: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    async with asyncio.timeout(CUT_SECONDS_MAX):
        assert await reader.read() == b""
    writer.close()


async def test_a_body_that_trickles_is_cut_off(listening: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    started = time.monotonic()
    writer.write(
        b"POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n"
    )
    answer = asyncio.create_task(reader.readuntil(b"}"))
    while not answer.done() and time.monotonic() - started < CUT_SECONDS_MAX:
        writer.write(b" ")
        await asyncio.wait([answer], timeout=0.05)
    assert answer.result().startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < CUT_SECONDS_MAX
    writer.close()


async def test_large_headers_are_refused(listening: Listening, client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"x-a": "a" * HEADERS_BYTES_MAX})
    assert answer.status_code == 431
    assert (await client.get("/healthz", headers={"x-a": "a" * 4096})).status_code == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies_are_refused(client: httpx.AsyncClient, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 1024 + 1):
            yield b"x" * 1024

    content = chunks() if chunked else b"x" * (BODY_BYTES_MAX + 1)
    headers = {"content-type": "application/json"}
    answer = await client.post("/api/users", content=content, headers=headers)
    assert answer.status_code == 413
    assert json.loads(answer.content)["type"].endswith("body-too-large")


async def test_a_taken_port_is_refused(listening: Listening) -> None:
    with pytest.raises(OSError, match="in use"):
        await Server(listening.gateway, "127.0.0.1", listening.port).start()


async def test_a_stop_finishes_what_is_under_way() -> None:
    world = Listening()
    entered, release = asyncio.Event(), asyncio.Event()

    async def held(_request: Request) -> Response:
        entered.set()
        await release.wait()
        return Response(b'{"finished":true}')

    world.gateway._router._add(
        Route(method="GET", path="/held", handler=held, summary="", access=Access.OPEN)
    )
    await world.server.start()
    async with httpx.AsyncClient(base_url=world.url, timeout=10) as client:
        answer = asyncio.create_task(client.get("/held"))
        await entered.wait()
        stopping = asyncio.create_task(world.server.stop())
        sent_away = await client.get("/healthz")
        assert (sent_away.status_code, sent_away.headers["connection"]) == (200, "close")
        assert not stopping.done()
        release.set()
        assert (await answer).json() == {"finished": True}
        async with asyncio.timeout(CUT_SECONDS_MAX):
            await stopping
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
