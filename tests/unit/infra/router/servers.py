"""A push service and a mail server, on this machine and real: what they got, and what they say."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import http_ece
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02, b64urlencode

from projections.notifications.layout import Address

HOST = "127.0.0.1"


class Holding:
    """Answers nobody from some moment on.

    Attributes:
        got: What was taken.
        holds_after: Nobody is answered once so much was taken, until `let_go`; None: at once.
        holding: Requests that wait for an answer.
    """

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.holds_after: int | None = None
        self.holding = 0
        self._free = asyncio.Event()

    def let_go(self) -> None:
        """Answers all."""
        self.holds_after = None
        self._free.set()

    async def hold(self) -> None:
        """Returns when it is time to answer."""
        if self.holds_after is None or len(self.got) < self.holds_after:
            return
        self.holding += 1
        await self._free.wait()
        self.holding -= 1


class PushService(Holding):
    """Takes pushes for its subscribers, and reads them as a browser does.

    Attributes:
        statuses: What it answers, one after the other; then 201.
        got: What was pushed, decrypted, with the subscriber's number.
        headers: Those of each request.
        unheard: Subscribers of whom it takes nothing before it answers: what it would have answered
            to a sender that is gone, it has not got.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unheard: set[int] = set()
        self.statuses: list[int] = []
        self.got: list[tuple[int, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._keys: list[tuple[ec.EllipticCurvePrivateKey, bytes]] = []

    def subscribe(self) -> Address:
        """Returns a new subscription."""
        key, auth = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16)
        self._keys.append((key, auth))
        public = key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        endpoint = f"http://{HOST}:{self.port}/push/{len(self._keys) - 1}"
        return Address(endpoint, b64urlencode(public), b64urlencode(auth))

    async def answer(self, request: web.Request) -> web.Response:
        """Takes one push."""
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status = self.statuses.pop(0) if self.statuses else 201
        number = int(request.match_info["number"])
        if number in self.unheard:
            await self.hold()
            if request.transport is None:
                return web.Response(status=status)
        if status == 201:
            key, auth = self._keys[number]
            assert Vapid02.verify(request.headers["authorization"])
            plain = http_ece.decrypt(body, private_key=key, auth_secret=auth, version="aes128gcm")
            self.got.append((number, json.loads(plain)))
        await self.hold()
        there = {"location": f"http://{HOST}:{self.port}/push/0"} if status == 301 else None
        return web.Response(status=status, headers=there)


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """A push service, stopped at the end."""
    service = PushService()
    application = web.Application()
    application.router.add_post("/push/{number}", service.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()


class MailServer(Holding):
    """Takes mails.

    Attributes:
        replies: What it says to the data of a mail, one after the other; then that it took it.
        unknown: Recipients that it does not know.
        got: Mails that it took.
        held: Recipients whose mails are held.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[str] = []
        self.unknown: set[str] = set()
        self.held: set[str] = set()
        self.got: list[EmailMessage] = []
        self.port = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.unknown:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        reply = self.replies.pop(0) if self.replies else "250 taken"
        if reply.startswith("250"):
            assert isinstance(envelope.content, bytes)
            found = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(found, EmailMessage)
            self.got.append(found)
            if self.held & {*envelope.rcpt_tos}:
                await self.hold()
        return reply


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server in this event loop, stopped at the end."""
    handler = MailServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname=HOST, loop=loop), HOST, 0)
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        server.close()
        await server.wait_closed()
