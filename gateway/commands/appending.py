"""From a validated command to an event in the log, and to the answer that names its position.

Keeps true: the log's errors reach the client as what they mean to it (``gateway.outcomes``); an
idempotency key belongs to one user and one request line; a command that is repeated with its key
appends the event of the first time and is answered as it was; a request that is cut off while it
appends is known to have an unknown outcome.
"""

from __future__ import annotations

import re
from typing import TypedDict, TypeVar

from events.errors import EventsError
from events.log import Appended
from events.position import Position
from events.snowflake import time_of
from events.types import Event
from gateway.http import Request, Response
from gateway.limits import IDEMPOTENCY_KEY_CHARACTERS_MAX
from gateway.outcomes import append_problem
from gateway.problems import Problem, bad_request
from gateway.services import Log, Minter

POSITION_HEADER = "x-event-position"

OPEN_KEY_CHARACTERS_MIN = 22
"""128 bits in base64; a UUID has 36."""

_KEY = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}")

E = TypeVar("E", bound=Event)


class Stamp(TypedDict):
    """The fields of every event: which it is, and when it happened."""

    event_id: int
    occurred_at: int


async def stamp(minter: Minter) -> Stamp:
    """Returns the stamp of an event that happens now."""
    event_id = await minter.mint()
    return Stamp(event_id=event_id, occurred_at=time_of(event_id))


def scoped_key(request: Request) -> str | None:
    """Returns the request's idempotency key, scoped to its user, method and path; None without one.

    Raises:
        Problem: 400, not a key.
    """
    text = request.header("idempotency-key")
    if text is None:
        return None
    if not _KEY.fullmatch(text):
        raise _not_a_key(f"has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} visible ASCII characters")
    if not request.user_id and len(text) < OPEN_KEY_CHARACTERS_MIN:
        # Whoever repeats an open command with its key is answered what the first one was, a token
        # for one: such a key must not be guessed.
        raise _not_a_key(f"of this request has {OPEN_KEY_CHARACTERS_MIN} characters at least")
    return f"{request.user_id}:{request.method}:{request.path}:{text}"


class Appender:
    """Appends the events of commands.

    Args:
        log: The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    async def repeated(self, request: Request, kind: type[E], part: str = "") -> E | None:
        """Returns the event of the first request with this idempotency key, if there was one.

        Args:
            request: The request; its body was read, if it has one.
            kind: Type of the event.
            part: Which of the command's events, where it has several.

        Raises:
            Problem: the log is away; or the key was used for another command.
        """
        key = scoped_key(request)
        if key is None:
            return None
        try:
            event = await self._log.recall(key + part, _command(request))
        except EventsError as error:
            raise append_problem(error) from error
        return _same_kind(event, kind) if event is not None else None

    async def append(self, request: Request, event: E, part: str = "") -> tuple[E, Position]:
        """Returns the event that is in the log for good, and where.

        With an idempotency key that is the event of the first request with it.

        Raises:
            Problem: it is not, or nobody knows.
        """
        key = scoped_key(request)
        # A request that is cut off here keeps the mark: `gateway.app` answers that nobody knows.
        request.appending = True
        try:
            appended = await self._append(event, key + part if key else None, request)
        except EventsError as error:
            request.appending = False
            raise append_problem(error) from error
        request.appending = False
        return _same_kind(appended.event, type(event)), appended.position

    async def _append(self, event: Event, key: str | None, request: Request) -> Appended:
        if key is None:
            return Appended(await self._log.append(event), event, False)
        return await self._log.append_once(event, idempotency_key=key, command=_command(request))


def answer(body: bytes, position: Position, status: int = 201) -> Response:
    """Returns a command's answer with the position of its event."""
    return Response(body, status=status, headers=((POSITION_HEADER, str(position)),))


def _command(request: Request) -> bytes:
    """What makes two requests the same command; never empty."""
    return b"%s %s\n%s" % (request.method.encode(), request.path.encode(), request.body)


def _same_kind(event: Event, kind: type[E]) -> E:
    if not isinstance(event, kind):
        raise TypeError(f"the key holds a {type(event).__name__}, not a {kind.__name__}")
    return event


def _not_a_key(what: str) -> Problem:
    return bad_request(
        "invalid-idempotency-key",
        "Idempotency-Key",
        f"An Idempotency-Key {what}; a UUID is a good one.",
    )
