"""The simplest cursor: the page begins under an id."""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request
from gateway.routing import ID_MAX


def place_below(cursors: Cursors, request: Request, route: str) -> int:
    """Returns the id under which the page begins; above all ids without a cursor.

    Raises:
        Problem: 400, not a cursor of this route and user.
    """
    text = request.query("cursor")
    if text is None:
        return ID_MAX
    return int(cursors.open(route, request.user_id, text))


def seal_place(cursors: Cursors, request: Request, route: str, below: int) -> str:
    """Returns the cursor of the page that begins under ``below``."""
    return cursors.seal(route, request.user_id, b"%d" % below)
