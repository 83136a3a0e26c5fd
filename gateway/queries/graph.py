"""Pages of followers and of followees.

A page lists profiles by descending user id; users whom nobody may see are left out, so a page can
be shorter than ``count`` and still have a successor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.problems import not_found
from gateway.queries.places import place_below, seal_place
from gateway.queries.users import with_counts
from gateway.services import Accounts, Graph

Pager = Callable[[int, int, int], Awaitable[list[int]]]


class GraphQueries:
    """Handlers of the graph's reads."""

    def __init__(self, accounts: Accounts, graph: Graph, cursors: Cursors) -> None:
        self._accounts = accounts
        self._graph = graph
        self._cursors = cursors

    async def followers(self, request: Request) -> Response:
        """``GET /api/users/{id}/followers``."""
        return await self._page(request, "followers", self._graph.follower_page)

    async def following(self, request: Request) -> Response:
        """``GET /api/users/{id}/following``."""
        return await self._page(request, "following", self._graph.following_page)

    async def _page(self, request: Request, what: str, pager: Pager) -> Response:
        user: int = request.params["id"]
        count = page_count(request)
        route = f"{what}/{user}"
        below = place_below(self._cursors, request, route)
        ids = await pager(user, below, count)
        found = await self._accounts.get([user, *ids])
        if user not in found:
            raise not_found(f"user {user}")
        shown = [other for other in ids if other in found]
        more = len(ids) == count
        cursor = seal_place(self._cursors, request, route, ids[-1]) if more else None
        return page(await with_counts(self._graph, shown, found), cursor)
