"""``GET /api/timeline/home``: a page of :mod:`gateway.queries.home` as bytes."""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.openings import Openings
from gateway.pages import page, page_count
from gateway.queries.places import place_below, seal_place
from gateway.queries.visible import includes
from gateway.services import Home

ROUTE = "home"


class TimelineQueries:
    """Handler of the home timeline."""

    def __init__(self, timelines: Home, cursors: Cursors, openings: Openings) -> None:
        self._timelines = timelines
        self._cursors = cursors
        self._openings = openings

    async def home(self, request: Request) -> Response:
        """``GET /api/timeline/home``."""
        count = page_count(request)
        below = place_below(self._cursors, request, ROUTE)
        if request.query("cursor") is None:
            self._openings.opened(request.user_id)
        found = await self._timelines.page(request.user_id, below, count)
        cursor = None
        if found.below is not None:
            cursor = seal_place(self._cursors, request, ROUTE, found.below)
        bodies = [tweet.body for _, tweet in found.tweets]
        return page(bodies, cursor, includes(found.tweets, found.originals, found.users))
