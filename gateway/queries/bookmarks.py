"""A user's bookmarks, the newest first, for nobody else.

Tweets that nobody can see any more are left out; a page that they left short carries a cursor.
Bounded by :mod:`.listed`.
"""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.queries.listed import listed_page
from gateway.queries.visible import Shown
from gateway.services import Accounts, Collections, Tweets

ROUTE = "bookmarks"


class BookmarkQueries:
    """Handler of the bookmarks' page."""

    def __init__(
        self, collections: Collections, tweets: Tweets, accounts: Accounts, cursors: Cursors
    ) -> None:
        self._collections = collections
        self._tweets = tweets
        self._accounts = accounts
        self._cursors = cursors

    async def own(self, request: Request) -> Response:
        """``GET /api/bookmarks``."""
        return await listed_page(
            request,
            self._cursors,
            ROUTE,
            Shown(self._tweets, self._accounts),
            lambda below, limit: self._collections.bookmarks(request.user_id, below, limit),
        )
