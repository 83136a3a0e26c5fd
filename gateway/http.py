"""A request and a response, as handlers see them; no server is known here.

Keeps true: a body is read at most once, never beyond ``BODY_BYTES_MAX`` and never longer than
``BODY_SECONDS_MAX``; what a handler gets of it was validated against its type.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from gateway.limits import BODY_BYTES_MAX, BODY_SECONDS_MAX
from gateway.problems import FieldError, Problem, bad_request

JSON = "application/json"

T = TypeVar("T")

_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class Response(msgspec.Struct, frozen=True):
    """What a handler answers with.

    Attributes:
        body: The whole body.
        status: HTTP status.
        media_type: Value of ``content-type``.
        headers: Further headers, names in lower case.
        is_page: The body is JSON that ends with ``meta``, an object with a member at least.
    """

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    is_page: bool = False


class Request:
    """One request.

    Attributes:
        method: Upper case.
        path: Decoded path.
        params: The path's parameters, as the route declares them (ids are ``int``).
        user_id: Who asks; 0 where the route is open.
        request_id: Given by the client or made up; also in the answer.
        body: What was read of the body.
        appending: Set while an event is being appended: a request cut off then has an unknown
            outcome.
    """

    __slots__ = (
        "_chunks",
        "_header",
        "_query",
        "_query_string",
        "appending",
        "body",
        "method",
        "params",
        "path",
        "request_id",
        "user_id",
    )

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query_string: str,
        header: Callable[[str], str | None],
        chunks: Callable[[], AsyncIterator[bytes]],
        request_id: str,
    ) -> None:
        self.method = method
        self.path = path
        self.params: Mapping[str, Any] = {}
        self.user_id = 0
        self.request_id = request_id
        self.appending = False
        self.body = b""
        self._header = header
        self._chunks = chunks
        self._query_string = query_string
        self._query: dict[str, str] | None = None

    def header(self, name: str) -> str | None:
        """Returns a header's first value; ``name`` in lower case."""
        return self._header(name)

    def query(self, name: str) -> str | None:
        """Returns a query parameter's last value.

        Raises:
            Problem: the query string cannot be read.
        """
        if not self._query_string:
            return None
        if self._query is None:
            try:
                pairs = parse_qsl(
                    self._query_string,
                    keep_blank_values=True,
                    max_num_fields=32,
                    errors="strict",
                )
            except ValueError as error:
                raise bad_request(
                    "invalid-query", "query", "The query string is not valid UTF-8 form data."
                ) from error
            self._query = dict(pairs)
        return self._query.get(name)

    async def json(self, kind: type[T]) -> T:
        """Reads the body and validates it.

        Raises:
            Problem: 415 not JSON by its type, 413 too large, 408 too slow, 400 not JSON by its
                text, 422 a field has a value that is not allowed.
        """
        content_type = (self.header("content-type") or "").partition(";")[0].strip().lower()
        if content_type != JSON:
            raise Problem(
                415,
                "unsupported-media-type",
                f"Send the body as {JSON} and say so in the Content-Type header.",
            )
        self.body = await self._read()
        try:
            return _decoder(kind).decode(self.body)
        except msgspec.ValidationError as error:
            raise _invalid_body(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(
                400, "malformed-json", f"The body is not JSON: {error}. Send a JSON object."
            ) from error

    async def _read(self) -> bytes:
        length = self.header("content-length")
        if length is not None and length.isdecimal() and int(length) > BODY_BYTES_MAX:
            raise _too_large()
        received: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                async for chunk in self._chunks():
                    size += len(chunk)
                    if size > BODY_BYTES_MAX:
                        raise _too_large()
                    received.append(chunk)
        except TimeoutError as error:
            raise Problem(
                408,
                "body-too-slow",
                f"The body did not arrive within {BODY_SECONDS_MAX:g} s. Send it again.",
                headers=[("connection", "close")],
            ) from error
        return b"".join(received)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def _too_large() -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"A body has {BODY_BYTES_MAX} bytes at most. Send less.",
        headers=[("connection", "close")],
    )


def _invalid_body(error: msgspec.ValidationError) -> Problem:
    """msgspec says ``what - at `$.path` ``; the path becomes the field's."""
    what, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    return Problem(
        422,
        "invalid-field",
        f"The body is not valid: {error}. Correct it and send the request again.",
        errors=[FieldError(field or "$", what)],
    )
