"""``/ops/dead-letters``: an operator's token, filters, and what the desk says, over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from events.letters import (
    Book,
    Letter,
    LetterError,
    LetterId,
    Outcome,
    Shown,
    State,
    Wanted,
)
from events.position import Position
from gateway.app import Gateway
from gateway.auth import OPERATOR_SCOPES, Tokens, new_private_key
from gateway.http import Request, Response
from gateway.metrics import GatewayMetrics
from gateway.openapi import document
from gateway.ops import LetterHandlers, letter_routes
from gateway.waits import Waits
from tests.unit.events.test_letters import NAME, raw

TOKENS = Tokens(new_private_key())


class FakeDesk:
    """One open letter; notes what is decided."""

    def __init__(self) -> None:
        book = Book()
        book.bury(0, raw(0))
        (self.letter,) = book
        self.asked: list[tuple[Any, ...]] = []
        self.refuses = ""

    async def letters(self, wanted: Wanted) -> Sequence[tuple[Letter, State]]:
        return [(self.letter, "open")] if wanted.takes(self.letter, "open") else []

    async def shown(self, letter: LetterId) -> Shown | None:
        if letter != NAME:
            return None
        return Shown(self.letter, "open", b"junk", None, "MalformedEvent: 4 bytes")

    async def redrive(
        self,
        letters: Sequence[LetterId],
        *,
        actor: str,
        reason: str,
        body: bytes | None = None,
        force: bool = False,
    ) -> Sequence[Outcome]:
        if self.refuses:
            raise LetterError(self.refuses)
        self.asked.append(("redrive", *letters, actor, reason, body, force))
        return [Outcome(one, Position("redrive", 0, 4)) for one in letters]

    async def discard(
        self, letters: Sequence[LetterId], *, actor: str, reason: str
    ) -> Sequence[Outcome]:
        self.asked.append(("discard", *letters, actor, reason))
        return [Outcome(one, None, "it is applied already") for one in letters]


class Ops:
    """A gateway with these routes only."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        metrics = GatewayMetrics(CollectorRegistry())
        self.routes = letter_routes(LetterHandlers(self.desk))
        self._gateway = Gateway(self.routes, TOKENS, Waits({}, metrics, 1.0), metrics)

    async def send(
        self, method: str, target: str, body: Any = None, scopes: Sequence[str] = OPERATOR_SCOPES
    ) -> Response:
        path, _, query = target.partition("?")

        async def chunks() -> Any:
            yield json.dumps(body).encode()

        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {TOKENS.issue(7, scopes=scopes)}",
        }
        request = Request(
            method=method,
            path=path,
            query_string=query,
            header=headers.get,
            chunks=chunks,
            request_id="test",
        )
        return await self._gateway.answer(request)

    async def call(self, status: int, method: str, target: str, body: Any = None) -> Any:
        response = await self.send(method, target, body)
        assert response.status == status, response.body
        return json.loads(response.body)


@pytest.fixture
def ops() -> Ops:
    return Ops()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ops/dead-letters"),
        ("GET", f"/ops/dead-letters/{NAME}"),
        ("POST", "/ops/dead-letters/redrive"),
        ("POST", "/ops/dead-letters/discard"),
    ],
)
async def test_a_users_token_does_not_do(ops: Ops, method: str, path: str) -> None:
    response = await ops.send(method, path, {}, scopes=("read", "write"))
    assert response.status == 403
    assert ops.desk.asked == []


async def test_letters_are_listed_by_filter(ops: Ops) -> None:
    found = await ops.call(200, "GET", "/ops/dead-letters?unit=tweets&reason=undecodable")
    assert found["count"] == 1
    assert found["letters"][0]["letter"] == "tweets:new-tweets:3:17"
    for other in ("unit=accounts", "state=applied", "until=1970-01-01", "topic=users"):
        assert (await ops.call(200, "GET", f"/ops/dead-letters?{other}"))["count"] == 0
    for wrong in ("state=lost", "since=yesterday", "count=0"):
        await ops.call(400, "GET", f"/ops/dead-letters?{wrong}")


async def test_a_letter_is_shown_with_its_bytes_in_hex(ops: Ops) -> None:
    found = await ops.call(200, "GET", f"/ops/dead-letters/{NAME}")
    assert (found["hex"], found["event"], found["attempts"]) == (b"junk".hex(), None, 1)
    assert found["burials"][0]["group"] == "g1"
    await ops.call(404, "GET", "/ops/dead-letters/tweets:new-tweets:3:18")
    await ops.call(422, "GET", "/ops/dead-letters/nonsense")


async def test_an_operator_sends_back_and_discards(ops: Ops) -> None:
    event = {"type": "TweetDeleted", "tweet_id": 1}
    sent = await ops.call(
        200,
        "POST",
        "/ops/dead-letters/redrive",
        {"letters": [str(NAME)], "reason": "mended", "event": event},
    )
    told = {"letter": str(NAME), "position": "redrive/0@4", "why": ""}
    assert sent == {"decisions": [told]}
    kind, letter, actor, reason, body, force = ops.desk.asked.pop()
    assert (kind, letter, actor, reason, force) == ("redrive", NAME, "user 7", "mended", False)
    assert json.loads(body) == event
    raw_body = base64.b64encode(b"\0raw").decode()
    await ops.call(
        200,
        "POST",
        "/ops/dead-letters/redrive",
        {"letters": [str(NAME)], "bytes_base64": raw_body},
    )
    assert ops.desk.asked.pop()[4] == b"\0raw"
    found = await ops.call(
        200, "POST", "/ops/dead-letters/discard", {"letters": [str(NAME)], "reason": "a test"}
    )
    assert found["decisions"][0]["why"] == "it is applied already"
    await ops.call(422, "POST", "/ops/dead-letters/discard", {"letters": [str(NAME)]})


async def test_what_the_desk_refuses_is_a_problem(ops: Ops) -> None:
    ops.desk.refuses = "there is no dead letter"
    found = await ops.call(422, "POST", "/ops/dead-letters/redrive", {"letters": [str(NAME)]})
    assert "there is no dead letter" in found["detail"]


def test_the_document_has_these_routes(ops: Ops) -> None:
    found = json.loads(document(ops.routes, "test"))
    assert set(found["paths"]["/ops/dead-letters"]["get"]["responses"]) == {"200", "503", "default"}
    assert found["paths"]["/ops/dead-letters"]["get"]["security"] == [{"token": []}]
