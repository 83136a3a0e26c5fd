"""JSON that is put together from bytes: fragments are spliced, never parsed.

A fragment is one JSON object as a projection keeps it. Keeps true: what comes in as JSON objects
goes out as JSON; the order of ``data`` is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gateway.http import Request, Response
from gateway.limits import PAGE_DEFAULT, PAGE_MAX
from gateway.problems import bad_request


def page_count(request: Request) -> int:
    """Returns ``count`` of the query: 1 to ``PAGE_MAX``, ``PAGE_DEFAULT`` where it is not given.

    Raises:
        Problem: 400, not such a number.
    """
    text = request.query("count")
    if text is None:
        return PAGE_DEFAULT
    if text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= PAGE_MAX:
        return int(text)
    raise bad_request("invalid-count", "count", f"count is a number from 1 to {PAGE_MAX}.")


def with_field(fragment: bytes, name: str, value: bytes) -> bytes:
    """Returns a non-empty JSON object with one more field at its end."""
    return b'%s,"%s":%s}' % (fragment[:-1], name.encode(), value)


def one(fragment: bytes, includes: Iterable[tuple[str, Sequence[bytes]]] = ()) -> bytes:
    """Returns ``{"data": …}`` of one object, with ``includes`` where there are any."""
    return b'{"data":%s%s}' % (fragment, _includes(includes))


def page(
    data: Sequence[bytes],
    next_cursor: str | None,
    includes: Iterable[tuple[str, Sequence[bytes]]] = (),
) -> bytes:
    """Returns a page; ``next_cursor`` is left out of the last one."""
    cursor = b"" if next_cursor is None else b',"next_cursor":%s' % msgspec.json.encode(next_cursor)
    return b'{"data":[%s]%s,"meta":{"result_count":%d%s}}' % (
        b",".join(data),
        _includes(includes),
        len(data),
        cursor,
    )


def page_response(
    data: Sequence[bytes],
    next_cursor: str | None,
    includes: Iterable[tuple[str, Sequence[bytes]]] = (),
) -> Response:
    """Returns a page as a response."""
    return Response(page(data, next_cursor, includes))


def _includes(includes: Iterable[tuple[str, Sequence[bytes]]]) -> bytes:
    parts = [b'"%s":[%s]' % (name.encode(), b",".join(items)) for name, items in includes]
    return b',"includes":{%s}' % b",".join(parts) if parts else b""
