"""JSON that is put together from bytes: fragments are spliced, never parsed.

An *open object* is a JSON object without its closing brace and with at least one member, as the
projections keep it (``projections.fragments``). Keeps true: open objects in, JSON out; the order of
``data`` is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gateway.http import Request, Response
from gateway.limits import PAGE_DEFAULT, PAGE_MAX
from gateway.problems import bad_request

STALE = ("x-stale", "store")
"""Header of an answer that may be behind what the store holds, because that is away."""

STALE_BY_LEVEL = ("x-stale", "level")
"""The same of one that is so on purpose (``gateway.levels``)."""

Includes = Iterable[tuple[str, Sequence[bytes]]]
"""Names and open objects of what is included beside the data."""

Extra = tuple[str, bytes]
"""A member's name and its value as JSON."""


def page_count(request: Request, most: int = PAGE_MAX) -> int:
    """Returns ``count`` of the query: 1 to ``most``, ``PAGE_DEFAULT`` where it is not given.

    Raises:
        Problem: 400, not such a number.
    """
    text = request.query("count")
    if text is None:
        return PAGE_DEFAULT
    if text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= most:
        return int(text)
    raise bad_request("invalid-count", "count", f"count is a number from 1 to {most}.")


def with_field(body: bytes, name: str, value: bytes) -> bytes:
    """Returns an open object with one more field, whose value is JSON already."""
    return b'%s,"%s":%s' % (body, name.encode(), value)


def one(body: bytes, includes: Includes = ()) -> bytes:
    """Returns ``{"data": …}`` of one open object, with ``includes`` where there are any."""
    return b'{"data":%s}%s}' % (body, _includes(includes))


def page(
    data: Sequence[bytes],
    next_cursor: str | None,
    includes: Includes = (),
    *,
    meta: Iterable[Extra] = (),
    beside: Iterable[Extra] = (),
    incomplete: bool = False,
    why: tuple[str, str] = STALE,
) -> Response:
    """Returns a page of open objects; ``next_cursor`` is left out of the last one.

    Args:
        data: What was asked for.
        next_cursor: Where the next page begins.
        includes: What is included beside it.
        meta: Further members of ``meta``.
        beside: Further members of the page.
        incomplete: Not all of it could be read.
        why: The header of one that is incomplete.
    """
    cursor = b"" if next_cursor is None else b',"next_cursor":"%s"' % next_cursor.encode()
    body = b'{"data":%s%s%s,"meta":{"result_count":%d%s%s}}' % (
        _array(data),
        _includes(includes),
        _members(beside),
        len(data),
        cursor,
        _members(meta),
    )
    found = Response(body, is_page=True)
    if incomplete:
        return marked_stale(replace(found, body=body[:-2] + b',"incomplete":true}}'), why)
    return found


def marked_stale(response: Response, why: tuple[str, str] = STALE) -> Response:
    """Returns an answer marked as what the caches hold; one that is marked stays as it is."""
    if is_stale(response):
        return response
    body = response.body[:-2] + b',"stale":true}}' if response.is_page else response.body
    return replace(response, body=body, headers=(*response.headers, why))


def is_stale(response: Response) -> bool:
    """Whether an answer is marked."""
    return any(name == STALE[0] for name, _ in response.headers)


def _array(bodies: Sequence[bytes]) -> bytes:
    return b"[%s}]" % b"},".join(bodies) if bodies else b"[]"


def _members(extra: Iterable[Extra]) -> bytes:
    return b"".join([b',"%s":%s' % (name.encode(), value) for name, value in extra])


def _includes(includes: Includes) -> bytes:
    parts = [b'"%s":%s' % (name.encode(), _array(bodies)) for name, bodies in includes]
    return b',"includes":{%s}' % b",".join(parts) if parts else b""
