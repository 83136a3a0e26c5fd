"""Pages of tweets that somebody made a list of: what anybody may see of it, the newest first.

What is left out makes a page shorter, and it still has a successor. Bounded by ``STEPS_MAX`` rounds
of reading for a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.queries.places import place_below, seal_place
from gateway.queries.visible import Shown, includes
from projections.listing import Page
from projections.tweets.layout import TweetFragment

STEPS_MAX = 4

Read = Callable[[int, int], Awaitable[Page]]
"""Reads a list under an id, so many entries at most."""


async def listed_page(
    request: Request, cursors: Cursors, route: str, shown: Shown, read: Read
) -> Response:
    """Returns the page of a list that a request asks for.

    Args:
        request: Its ``count`` and ``cursor`` say which page.
        cursors: Seals and opens where pages begin.
        route: The list that the cursor belongs to.
        shown: Empty; takes the tweets.
        read: Reads the list.
    """
    count = page_count(request)
    below: int | None = place_below(cursors, request, route)
    for _ in range(STEPS_MAX):
        found = await read(below or 0, count - len(shown.tweets))
        await shown.add([entry.tweet_id for entry in found.entries])
        below = found.below
        if below is None or len(shown.tweets) == count:
            break
    return tweets_page(request, cursors, route, shown, shown.tweets, below)


def tweets_page(
    request: Request,
    cursors: Cursors,
    route: str,
    shown: Shown,
    tweets: Sequence[tuple[int, TweetFragment]],
    below: int | None,
) -> Response:
    """Returns a page of some of the tweets that are shown; None below for the last one."""
    cursor = seal_place(cursors, request, route, below) if below is not None else None
    bodies = [tweet.body for _, tweet in tweets]
    return page(bodies, cursor, includes(tweets, shown.originals, shown.users))
