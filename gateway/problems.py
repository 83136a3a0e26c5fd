"""Errors as a client sees them: ``application/problem+json`` (RFC 9457).

Keeps true: every error answer of this API is a :class:`Problem`, its ``detail`` says what to do,
and nothing of the inside (a trace, an address, a query) is in it. ``type`` is stable: programs
match on it, and may not match on the prose.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

TYPE_PREFIX = "urn:murmuration:problem:"
MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field.

    Attributes:
        field: Path of the field in the body, such as ``text`` or ``media_ids[2]``; or the name of a
            query parameter or header.
        detail: What is wrong with it.
    """

    field: str
    detail: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON of a problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """An error answer.

    Args:
        status: HTTP status.
        kind: Last part of ``type``, in kebab case.
        detail: What happened and what to do, in a sentence or two.
        errors: The fields at fault.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = tuple(headers)

    def encode(self, instance: str, request_id: str) -> bytes:
        """Returns the JSON body.

        Args:
            instance: Path of the request.
            request_id: The request's id, for the operator who is asked about it.
        """
        return msgspec.json.encode(
            ProblemBody(
                type=TYPE_PREFIX + self.kind,
                title=HTTPStatus(self.status).phrase,
                status=self.status,
                detail=self.detail,
                instance=instance,
                request_id=request_id,
                errors=self.errors,
            )
        )


def bad_request(kind: str, field: str, detail: str) -> Problem:
    """A query parameter or header that cannot be read (400)."""
    return Problem(400, kind, detail, errors=[FieldError(field, detail)])


def invalid(field: str, detail: str) -> Problem:
    """A body field with a value that is not allowed (422)."""
    return Problem(
        422,
        "invalid-field",
        f"The field {field} is not valid: {detail} Correct it and send the request again.",
        errors=[FieldError(field, detail)],
    )


def not_found(what: str) -> Problem:
    """Something that was named does not exist, or is not shown to this user (404)."""
    return Problem(404, "not-found", f"There is no {what}. Check the id; it may have been deleted.")


def conflict(kind: str, detail: str) -> Problem:
    """The command does not fit the state of things (409)."""
    return Problem(409, kind, detail)


def forbidden(kind: str, detail: str) -> Problem:
    """The user may not do that (403)."""
    return Problem(403, kind, detail)


def unauthorized(detail: str) -> Problem:
    """No token, or one that does not verify (401)."""
    return Problem(
        401,
        "unauthorized",
        detail,
        headers=[("www-authenticate", 'Bearer realm="murmuration"')],
    )


def unavailable(kind: str, detail: str, *, retry_after_seconds: int = 1) -> Problem:
    """Nothing happened; the same request can succeed later (503)."""
    return Problem(503, kind, detail, headers=[("retry-after", str(retry_after_seconds))])
