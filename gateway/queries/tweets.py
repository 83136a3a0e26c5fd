"""Tweets by id and by author.

Bounded by ``STEPS_MAX`` rounds of reading for a page; one that deletions left short carries a
cursor.
"""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import one, page_count
from gateway.problems import bad_request, not_found
from gateway.queries.listed import tweets_page
from gateway.queries.places import place_below
from gateway.queries.visible import Shown, includes
from gateway.services import Accounts, Authors, Tweets
from projections.timelines.layout import Entry

STEPS_MAX = 8


class TweetQueries:
    """Handlers of the tweets' reads."""

    def __init__(
        self, tweets: Tweets, accounts: Accounts, authors: Authors, cursors: Cursors
    ) -> None:
        self._tweets = tweets
        self._accounts = accounts
        self._authors = authors
        self._cursors = cursors

    async def by_id(self, request: Request) -> Response:
        """``GET /api/tweets/{id}``."""
        tweet_id: int = request.params["id"]
        shown = Shown(self._tweets, self._accounts)
        await shown.add([tweet_id])
        if not shown.tweets:
            raise not_found(f"tweet {tweet_id}")
        included = includes(shown.tweets, shown.originals, shown.users)
        return Response(one(shown.tweets[0][1].body, included))

    async def by_author(self, request: Request) -> Response:
        """``GET /api/users/{id}/tweets``."""
        author: int = request.params["id"]
        count, replies = page_count(request), _replies(request)
        route = f"tweets/{author}/{replies:d}"
        below = place_below(self._cursors, request, route)
        if author not in await self._accounts.get([author]):
            raise not_found(f"user {author}")
        shown = Shown(self._tweets, self._accounts)
        for _ in range(STEPS_MAX):
            part = await self._authors.page(author, below, count + 1)
            below = part.floor
            await shown.add([e.tweet_id for e in part.entries if replies or _stands_alone(e)])
            if len(shown.tweets) > count or below == 0:
                break
        tweets = shown.tweets[:count]
        if len(shown.tweets) > count:
            below = tweets[-1][0]
        return tweets_page(request, self._cursors, route, shown, tweets, below or None)


def _stands_alone(entry: Entry) -> bool:
    """Says whether an entry belongs to a timeline without replies: replies to oneself do."""
    return entry.reply_to_user_id in (0, entry.author_id)


def _replies(request: Request) -> bool:
    text = request.query("replies")
    if text not in (None, "true", "false"):
        raise bad_request("invalid-replies", "replies", "replies is true or false.")
    return text == "true"
