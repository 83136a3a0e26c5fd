"""``/ops/dead-letters``: what the units could not apply, for operators over HTTP.

The same desk as ``murmur dead-letters``; here are only its words. A token with the scope
``operate`` is asked for (``murmur token NAME --operator``), and its user is who decided.

Bounded by: ``LIST_MAX`` letters in an answer, ``DECIDED_MAX`` in one decision.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec

from events.errors import EventsError
from events.letters import (
    STATES,
    Letter,
    LetterError,
    LetterId,
    Outcome,
    Shown,
    State,
    Wanted,
)
from gateway.http import Request, Response
from gateway.problems import Problem, bad_request, invalid, not_found, unavailable
from gateway.routing import Access, Parameter, Route
from projections.base import RetryableError

T = TypeVar("T")

LIST_DEFAULT, LIST_MAX = 100, 1_000
DECIDED_MAX = 100
HEX_BYTES_MAX = 4_096


class LetterDesk(Protocol):
    """The desk; ``infra.letters``. Each may raise ``EventsError`` while an engine is away."""

    async def letters(self, wanted: Wanted) -> Sequence[tuple[Letter, State]]:
        """Returns the letters that are wanted, with their states, by origin."""
        ...

    async def shown(self, letter: LetterId) -> Shown | None:
        """Returns one letter, or None."""
        ...

    async def redrive(
        self,
        letters: Sequence[LetterId],
        *,
        actor: str,
        reason: str,
        body: bytes | None = None,
        force: bool = False,
    ) -> Sequence[Outcome]:
        """Sends letters back; raises ``LetterError`` for what cannot be."""
        ...

    async def discard(
        self, letters: Sequence[LetterId], *, actor: str, reason: str
    ) -> Sequence[Outcome]:
        """Decides that units do without records; raises ``LetterError`` for what cannot be."""
        ...


Name = Annotated[
    str,
    msgspec.Meta(
        description="unit:topic:partition:offset", examples=["timelines:new-tweets:3:1234"]
    ),
]
Names = Annotated[list[Name], msgspec.Meta(min_length=1, max_length=DECIDED_MAX)]


class RedriveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be sent back.

    Attributes:
        letters: Which.
        reason: Why.
        event: An event to apply in place of the original record; for one letter.
        bytes_base64: Bytes to apply in its place.
        force: Send back what cannot be decoded here either.
    """

    letters: Names
    reason: str = ""
    event: dict[str, Any] | None = None
    bytes_base64: str | None = None
    force: bool = False


class DiscardBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What units are to do without, and why."""

    letters: Names
    reason: Annotated[str, msgspec.Meta(min_length=1)]


class LetterAnswer(msgspec.Struct, frozen=True):
    """A letter in a list."""

    letter: Name
    state: Literal["open", "redriven", "applied", "discarded"]
    reason: str
    detail: str
    attempts: int
    appended_at: str
    buried_at: str


class LetterList(msgspec.Struct, frozen=True):
    """Letters by origin; ``count`` is of all that are wanted."""

    letters: list[LetterAnswer]
    count: int


class BurialAnswer(msgspec.Struct, frozen=True):
    """One time that a record was given up."""

    at: str
    attempt: int
    reason: str
    detail: str
    group: str


class RulingAnswer(msgspec.Struct, frozen=True):
    """One decision; of several with one attempt the first ``counts``."""

    at: str
    kind: str
    position: str
    attempt: int
    actor: str
    reason: str
    edited: bool
    counts: bool


class WholeLetter(LetterAnswer, frozen=True):
    """A letter with its record, decoded or in hex, and all that happened to it."""

    key: str | None
    event: dict[str, Any] | None
    error: str
    bytes: int | None
    hex: str | None
    burials: list[BurialAnswer]
    decisions: list[RulingAnswer]


class DecisionAnswer(msgspec.Struct, frozen=True):
    """What became of one letter; without a position, why nothing did."""

    letter: Name
    position: str | None
    why: str


class Decisions(msgspec.Struct, frozen=True):
    """What became of each letter."""

    decisions: list[DecisionAnswer]


_FILTERS = (
    Parameter("unit", "Unit that gave up.", {"type": "string"}),
    Parameter("topic", "Topic of the record.", {"type": "string"}),
    Parameter("reason", "undecodable, refused or missing.", {"type": "string"}),
    Parameter(
        "state", "State, or all.", {"type": "string", "enum": [*STATES, "all"], "default": "open"}
    ),
    Parameter("since", "Buried since, RFC 3339.", {"type": "string", "format": "date-time"}),
    Parameter("until", "Buried before, RFC 3339.", {"type": "string", "format": "date-time"}),
    Parameter(
        "count",
        "Most letters.",
        {"type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_DEFAULT},
    ),
)


class LetterHandlers:
    """Handlers of ``/ops/dead-letters``.

    Args:
        desk: Answers and decides.
    """

    def __init__(self, desk: LetterDesk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """``GET /ops/dead-letters``."""
        found = [listed(*one) for one in await _asked(self._desk.letters(_wanted(request)))]
        return Response(msgspec.json.encode(LetterList(found[: _count(request)], len(found))))

    async def show(self, request: Request) -> Response:
        """``GET /ops/dead-letters/{name}``."""
        found = await _asked(self._desk.shown(_name(request.params["name"])))
        if found is None:
            raise not_found("such dead letter")
        return Response(msgspec.json.encode(whole(found)))

    async def redrive(self, request: Request) -> Response:
        """``POST /ops/dead-letters/redrive``."""
        asked = await request.json(RedriveBody)
        body = None if asked.event is None else msgspec.json.encode(asked.event)
        if asked.bytes_base64 is not None:
            try:
                body = base64.b64decode(asked.bytes_base64, validate=True)
            except ValueError as error:
                raise invalid("bytes_base64", "These bytes are not base64.") from error
        names = [_name(text) for text in asked.letters]
        request.appending = True
        outcomes = self._desk.redrive(
            names, actor=_actor(request), reason=asked.reason, body=body, force=asked.force
        )
        return Response(msgspec.json.encode(decided(await _asked(outcomes))))

    async def discard(self, request: Request) -> Response:
        """``POST /ops/dead-letters/discard``."""
        asked = await request.json(DiscardBody)
        names = [_name(text) for text in asked.letters]
        request.appending = True
        outcomes = self._desk.discard(names, actor=_actor(request), reason=asked.reason)
        return Response(msgspec.json.encode(decided(await _asked(outcomes))))


def letter_routes(handlers: LetterHandlers) -> list[Route]:
    """Returns the routes."""
    path = "/ops/dead-letters"
    return [
        Route(
            method="GET",
            path=path,
            handler=handlers.list,
            summary="Records that units could not apply, each once",
            access=Access.OPERATE,
            answer=LetterList,
            query=_FILTERS,
        ),
        Route(
            method="GET",
            path=path + "/{name}",
            handler=handlers.show,
            summary="A dead letter: its record, its origin, and all that happened to it",
            access=Access.OPERATE,
            answer=WholeLetter,
        ),
        Route(
            method="POST",
            path=path + "/redrive",
            handler=handlers.redrive,
            summary="Send dead letters back to their units, in the order of their origins",
            access=Access.OPERATE,
            body=RedriveBody,
            answer=Decisions,
        ),
        Route(
            method="POST",
            path=path + "/discard",
            handler=handlers.discard,
            summary="Decide that units do without records, in every replay as well",
            access=Access.OPERATE,
            body=DiscardBody,
            answer=Decisions,
        ),
    ]


def listed(letter: Letter, state: State) -> LetterAnswer:
    """Returns a letter as lists have it."""
    return LetterAnswer(**_listed(letter, state))


def whole(found: Shown) -> WholeLetter:
    """Returns a letter with its record and its history."""
    letter, value = found.letter, found.value
    return WholeLetter(
        **_listed(letter, found.state),
        key=None if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
        event=None if found.event is None else msgspec.to_builtins(found.event),
        error=found.error,
        bytes=None if value is None else len(value),
        hex=None if value is None or found.event else value[:HEX_BYTES_MAX].hex(),
        burials=[
            BurialAnswer(_time(one.at), one.attempt, one.reason, one.detail, one.group)
            for one in letter.burials
        ],
        decisions=[
            RulingAnswer(
                _time(one.at),
                one.kind,
                f"redrive/{one.partition}@{one.offset}",
                one.attempt,
                one.actor,
                one.reason,
                one.edited,
                one is letter.counting,
            )
            for one in letter.rulings
        ],
    )


def decided(outcomes: Sequence[Outcome]) -> Decisions:
    """Returns what became of the letters of a decision."""
    return Decisions(
        [
            DecisionAnswer(str(o.id), None if o.position is None else str(o.position), o.why)
            for o in outcomes
        ]
    )


def _listed(letter: Letter, state: State) -> dict[str, Any]:
    last = letter.burials[-1]
    return {
        "letter": str(letter.id),
        "state": state,
        "reason": last.reason,
        "detail": last.detail,
        "attempts": letter.attempts,
        "appended_at": _time(letter.appended_at),
        "buried_at": _time(letter.buried_at),
    }


async def _asked(answer: Awaitable[T]) -> T:
    """Awaits the desk; what it cannot do is told as a problem."""
    try:
        return await answer
    except LetterError as error:
        raise Problem(422, "dead-letter", f"{error}.") from error
    except (EventsError, RetryableError) as error:
        raise unavailable(
            "letters", f"An engine is away: {error}. Look, then try again."
        ) from error


def _name(text: str) -> LetterId:
    try:
        return LetterId.parse(text)
    except ValueError as error:
        raise invalid("letters", f"{error}.") from error


def _actor(request: Request) -> str:
    return f"user {request.user_id}"


def _wanted(request: Request) -> Wanted:
    state = request.query("state") or "open"
    if state not in (*STATES, "all"):
        raise bad_request("invalid-query", "state", f"state is one of {', '.join(STATES)}, all.")
    return Wanted(
        unit=request.query("unit"),
        topic=request.query("topic"),
        reason=request.query("reason"),
        states=frozenset(one for one in STATES if state in ("all", one)),
        since=_moment(request, "since", 0),
        until=_moment(request, "until", Wanted().until),
    )


def _moment(request: Request, name: str, otherwise: int) -> int:
    text = request.query(name)
    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        told = f"{name} is a time by RFC 3339, such as 2026-11-23T04:00:00Z."
        raise bad_request("invalid-query", name, told) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _count(request: Request) -> int:
    text = request.query("count") or str(LIST_DEFAULT)
    if not text.isdecimal() or not 0 < int(text) <= LIST_MAX:
        raise bad_request("invalid-query", "count", f"count is a number from 1 to {LIST_MAX}.")
    return int(text)


def _time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
