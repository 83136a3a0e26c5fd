"""The gateway over HTTP/1.1 with granian, in the caller's event loop.

Why this server and no framework: ``docs/decisions/0040-http-server-and-framework.md``. The server
bounds the size and the time of headers; body, time and number of requests are bounded by
``gateway.http`` and ``gateway.app``.

A stop is graceful, see :meth:`Server.stop`: for ``DRAIN_NOTICE_SECONDS`` every answer closes its
connection, so that clients go elsewhere; then nothing new is taken, and what is under way is
finished, for at most ``DRAIN_SECONDS_MAX``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]
from granian.server.embed import Server as GranianServer

from gateway.app import Gateway
from gateway.http import Request, Response
from gateway.limits import (
    DRAIN_SECONDS_MAX,
    HEADERS_BYTES_MAX,
    HEADERS_SECONDS_MAX,
    REQUESTS_MAX,
)

BACKLOG = 1024

DRAIN_NOTICE_SECONDS = 0.5
"""Between a stop and the end of listening: answers close their connections, and balancers learn."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RsgiApp:
    """Turns the server's calls into requests and responses into the server's answers."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        """What answers the next request; each request asks once."""
        self.draining = False

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answers one request; the name and shape are granian's."""
        header = scope.headers.get
        given = header("x-request-id")
        request_id = given if given and REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request = Request(
            method=scope.method,
            path=scope.path,
            query_string=scope.query_string,
            header=header,
            chunks=lambda: _chunks(protocol),
            request_id=request_id,
        )
        response = await self.gateway.answer(request)
        headers = _headers(response, request_id)
        if self.draining:
            headers.append(("connection", "close"))
        protocol.response_bytes(response.status, headers, response.body)


async def _chunks(protocol: HTTPProtocol) -> AsyncIterator[bytes]:
    try:
        async for chunk in protocol:
            yield chunk
    except ProtocolClosed as error:
        raise ConnectionResetError("the client went away") from error


def _headers(response: Response, request_id: str) -> list[tuple[str, str]]:
    return [
        ("content-type", response.media_type),
        ("content-length", str(len(response.body))),
        ("x-request-id", request_id),
        *response.headers,
    ]


class Server:
    """One listening gateway.

    Args:
        gateway: What answers.
        host: Address to listen on.
        port: Port to listen on.
        headers_seconds_max: Time for a request's head, and of an idle connection.
        share_port: Other gateway processes listen there too, and the kernel spreads connections.
    """

    def __init__(
        self,
        gateway: Gateway,
        host: str,
        port: int,
        *,
        headers_seconds_max: float = HEADERS_SECONDS_MAX,
        share_port: bool = False,
    ) -> None:
        self._share_port = share_port
        self._address = (host, port)
        self._app = RsgiApp(gateway)
        self._server = GranianServer(
            self._app,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
            backpressure=2 * REQUESTS_MAX,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(headers_seconds_max * 1000),
                max_buffer_size=HEADERS_BYTES_MAX,
            ),
        )
        self._serving: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Listens.

        Raises:
            OSError: the address is taken or not ours.
        """
        if not self._share_port:
            _require_free(*self._address)
        self._serving = asyncio.create_task(self._server.serve())
        await asyncio.sleep(0)
        if self._serving.done():
            self._serving.result()

    def answer_with(self, gateway: Gateway) -> None:
        """Has another gateway answer from the next request on; those under way end as begun."""
        self._app.gateway = gateway

    async def stop(self) -> None:
        """Sends clients away, stops listening, finishes what is under way, closes."""
        if self._serving is None:
            return
        self._app.draining = True
        await asyncio.sleep(DRAIN_NOTICE_SECONDS)
        self._server.stop()  # type: ignore[no-untyped-call]
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await self._serving
        self._serving = None


def _require_free(host: str, port: int) -> None:
    """The server listens with SO_REUSEPORT, and would share a taken port without a word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
