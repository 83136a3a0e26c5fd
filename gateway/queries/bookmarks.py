"""A user's bookmarks, the newest first, for nobody else.

Tweets that nobody can see any more are left out; a page that they left short carries a cursor.
Bounded by ``STEPS_MAX`` rounds of reading for a page.
"""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.queries.places import place_below, seal_place
from gateway.queries.visible import Shown, includes
from gateway.services import Accounts, Collections, Tweets

ROUTE = "bookmarks"
STEPS_MAX = 4


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
        count = page_count(request)
        below: int | None = place_below(self._cursors, request, ROUTE)
        shown = Shown(self._tweets, self._accounts)
        for _ in range(STEPS_MAX):
            found = await self._collections.bookmarks(
                request.user_id, below or 0, count - len(shown.tweets)
            )
            await shown.add([entry.tweet_id for entry in found.entries])
            below = found.below
            if below is None or len(shown.tweets) == count:
                break
        cursor = seal_place(self._cursors, request, ROUTE, below) if below is not None else None
        bodies = [tweet.body for _, tweet in shown.tweets]
        return page(bodies, cursor, includes(shown.tweets, shown.originals, shown.users))
