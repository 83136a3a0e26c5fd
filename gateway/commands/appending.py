"""From a validated command to an event in the log, and to the answer that names its position.

Keeps true: the log's errors reach the client as what they mean to it (``gateway.outcomes``); an
idempotency key belongs to one user and one request line; a command that is repeated with its key
appends the event of the first time and is answered as it was; a request that is cut off while it
appends is known to have an unknown outcome.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from events.errors import EventsError
from events.position import Position
from events.types import Event
from gateway.http import Request, Response
from gateway.limits import IDEMPOTENCY_KEY_CHARACTERS_MAX
from gateway.outcomes import append_problem
from gateway.problems import Problem, bad_request
from gateway.services import Log

POSITION_HEADER = "x-event-position"

_KEY = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}")

E = TypeVar("E", bound=Event)


def scoped_key(request: Request) -> str | None:
    """Returns the request's idempotency key, scoped to its user, method and path; None without one.

    Raises:
        Problem: 400, not a key.
    """
    text = request.header("idempotency-key")
    if text is None:
        return None
    if not _KEY.fullmatch(text):
        raise bad_request(
            "invalid-idempotency-key",
            "Idempotency-Key",
            f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} visible ASCII "
            f"characters; a UUID is a good one.",
        )
    return f"{request.user_id}:{request.method}:{request.path}:{text}"


class Appender:
    """Appends the events of commands.

    Args:
        log: The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    async def repeated(self, request: Request, kind: type[E], part: str = "") -> E | None:
        """Returns the event that the first request with this idempotency key appended, if any.

        Args:
            request: The request.
            kind: Type of the event.
            part: Which of the command's events, where it has several.

        Raises:
            Problem: the log is away; or the key was used for another command.
        """
        key = scoped_key(request)
        if key is None:
            return None
        try:
            event = await self._log.recall(key + part)
        except EventsError as error:
            raise append_problem(error) from error
        if event is not None and not isinstance(event, kind):
            raise Problem(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another command. Use a new key.",
            )
        return event

    async def append(self, request: Request, event: Event, part: str = "") -> Position:
        """Returns the position of the event, once it is in the log for good.

        Raises:
            Problem: it is not, or nobody knows.
        """
        key = scoped_key(request)
        request.appending = True
        try:
            return await self._log.append(event, idempotency_key=key + part if key else None)
        except EventsError as error:
            raise append_problem(error) from error
        finally:
            request.appending = False


def answer(body: bytes, positions: Sequence[Position], status: int = 201) -> Response:
    """Returns a command's answer with the positions of its events."""
    header = (POSITION_HEADER, ",".join(map(str, positions)))
    return Response(body, status=status, headers=(header,))
