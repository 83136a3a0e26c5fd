"""Web Push and SMTP against servers on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from py_vapid import Vapid02

from infra.router.ports import Mail, Message, Outcome
from infra.router.smtp import Server, Smtp
from infra.router.vapid import public_key, vapid_key
from infra.router.web_push import WebPush
from projections.notifications.layout import Address
from tests.unit.infra.router.servers import (
    HOST,
    MailServer,
    PushService,
    mail_server,
    push_service,
)

MESSAGE = Message("mention:20", "@bob mentioned you", "hello @alice 👋", "/api/tweets/20", True)
CONTACT = "mailto:ops@example.com"


@pytest.fixture(scope="module")
def key() -> Vapid02:
    made = Vapid02()
    made.generate_keys()
    return made


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with push_service() as found:
        yield found


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


async def test_a_push_is_read_by_who_subscribed(key: Vapid02, service: PushService) -> None:
    address = service.subscribe()
    async with WebPush(key, CONTACT, [HOST]) as pushes:
        assert await pushes.push(address, MESSAGE) is Outcome.DELIVERED
    ((number, read),) = service.got
    assert number == 0
    assert read == {
        "id": "mention:20",
        "title": "@bob mentioned you",
        "body": "hello @alice 👋",
        "path": "/api/tweets/20",
    }
    (headers,) = service.headers
    assert headers["urgency"] == "high"
    assert len(headers["topic"]) == 32
    assert f"k={public_key(key)}" in headers["authorization"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (404, Outcome.GONE),
        (410, Outcome.GONE),
        (429, Outcome.LATER),
        (503, Outcome.LATER),
        (400, Outcome.REFUSED),
        (413, Outcome.REFUSED),
        (301, Outcome.REFUSED),
    ],
)
async def test_what_a_service_answers(
    key: Vapid02, service: PushService, status: int, outcome: Outcome
) -> None:
    service.statuses = [status]
    async with WebPush(key, CONTACT, [HOST]) as pushes:
        assert await pushes.push(service.subscribe(), MESSAGE) is outcome
    assert len(service.headers) == 1  # no redirect is followed
    assert not service.got


async def test_a_service_that_is_away_and_keys_that_are_none(
    key: Vapid02, service: PushService
) -> None:
    real = service.subscribe()
    async with WebPush(key, CONTACT, [HOST]) as pushes:
        nobody = Address(f"http://{HOST}:1/push/0", real.p256dh, real.auth)
        assert await pushes.push(nobody, MESSAGE) is Outcome.LATER
        odd = Address(real.address, "BNone", "none")
        assert await pushes.push(odd, MESSAGE) is Outcome.REFUSED


@pytest.mark.parametrize("hosts", [[], ["example.com"], [".0.0.1"], ["27.0.0.1"]])
async def test_nothing_is_posted_to_other_hosts(
    key: Vapid02, service: PushService, hosts: list[str]
) -> None:
    async with WebPush(key, CONTACT, hosts) as pushes:
        outcome = await pushes.push(service.subscribe(), MESSAGE)
    assert (outcome is Outcome.DELIVERED) == bool(service.headers) == (hosts == [".0.0.1"])


async def test_the_key_is_made_once_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "below" / "vapid.pem"
    made = await vapid_key(path)
    assert path.stat().st_mode & 0o077 == 0
    assert public_key(await vapid_key(path)) == public_key(made)
    assert len(public_key(made)) == 87


MAIL = Mail("digest.daily.1.2", "alice@example.com", "2 new notifications", "- @bob liked …\n")


async def test_a_mail_arrives(mails: MailServer) -> None:
    sent = Smtp(Server(HOST, mails.port, "news@murmur.example"))
    assert await sent.mail(MAIL) is Outcome.DELIVERED
    (got,) = mails.got
    assert (got["to"], got["from"]) == ("alice@example.com", "news@murmur.example")
    assert got["subject"] == "2 new notifications"
    assert got["message-id"] == "<digest.daily.1.2@murmur.example>"
    assert got.get_content().strip() == "- @bob liked …"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [("451 later", Outcome.LATER), ("554 spam", Outcome.REFUSED), ("250 ok", Outcome.DELIVERED)],
)
async def test_what_a_mail_server_says(mails: MailServer, reply: str, outcome: Outcome) -> None:
    mails.replies = [reply]
    assert await Smtp(Server(HOST, mails.port, "a@b.c")).mail(MAIL) is outcome


async def test_a_recipient_that_is_unknown_and_a_server_that_is_away(mails: MailServer) -> None:
    mails.unknown = {MAIL.to}
    assert await Smtp(Server(HOST, mails.port, "a@b.c")).mail(MAIL) is Outcome.GONE
    assert await Smtp(Server(HOST, 1, "a@b.c")).mail(MAIL) is Outcome.LATER
