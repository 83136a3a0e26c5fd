"""Who likes, retweets, quotes and answers a tweet, and what a user likes.

A page lists what anybody may see; what is left out makes it shorter, and it still has a successor.
Bounded by one read for a page of users, and by :mod:`.listed` for one of tweets.
"""

from __future__ import annotations

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.problems import not_found
from gateway.queries.listed import Read, listed_page
from gateway.queries.places import place_below, seal_place
from gateway.queries.users import with_counts
from gateway.queries.visible import Shown
from gateway.services import Accounts, Engagement, Graph, Tweets
from projections.engagement.layout import QUOTE, REPLY, RETWEET


class EngagementQueries:
    """Handlers of the lists of engagement."""

    def __init__(
        self,
        engagement: Engagement,
        tweets: Tweets,
        accounts: Accounts,
        graph: Graph,
        cursors: Cursors,
    ) -> None:
        self._engagement = engagement
        self._tweets = tweets
        self._accounts = accounts
        self._graph = graph
        self._cursors = cursors

    async def liking_users(self, request: Request) -> Response:
        """``GET /api/tweets/{id}/liking_users``."""
        tweet_id: int = request.params["id"]
        return await self._users(
            request,
            "liking_users",
            lambda below, limit: self._engagement.liked_by(tweet_id, below, limit),
        )

    async def retweeted_by(self, request: Request) -> Response:
        """``GET /api/tweets/{id}/retweeted_by``."""
        return await self._users(request, "retweeted_by", self._children(request, RETWEET))

    async def quotes(self, request: Request) -> Response:
        """``GET /api/tweets/{id}/quotes``."""
        await self._require_tweet(request.params["id"])
        return await self._tweets_page(request, "quotes", self._children(request, QUOTE))

    async def replies(self, request: Request) -> Response:
        """``GET /api/tweets/{id}/replies``."""
        await self._require_tweet(request.params["id"])
        return await self._tweets_page(request, "replies", self._children(request, REPLY))

    async def likes(self, request: Request) -> Response:
        """``GET /api/users/{id}/likes``."""
        user_id: int = request.params["id"]
        if user_id not in await self._accounts.get([user_id]):
            raise not_found(f"user {user_id}")
        return await self._tweets_page(
            request,
            "likes",
            lambda below, limit: self._engagement.likes_of(user_id, below, limit),
        )

    def _children(self, request: Request, kind: str) -> Read:
        tweet_id: int = request.params["id"]
        return lambda below, limit: self._engagement.children(tweet_id, kind, below, limit)

    async def _users(self, request: Request, what: str, read: Read) -> Response:
        await self._require_tweet(request.params["id"])
        count = page_count(request)
        route = f"{what}/{request.params['id']}"
        found = await read(place_below(self._cursors, request, route), count)
        ids = list(dict.fromkeys(entry.user_id for entry in found.entries))
        users = await self._accounts.get(ids)
        shown = [user for user in ids if user in users]
        below = found.below
        cursor = seal_place(self._cursors, request, route, below) if below is not None else None
        return page(await with_counts(self._graph, shown, users), cursor)

    async def _tweets_page(self, request: Request, what: str, read: Read) -> Response:
        route = f"{what}/{request.params['id']}"
        shown = Shown(self._tweets, self._accounts)
        return await listed_page(request, self._cursors, route, shown, read)

    async def _require_tweet(self, tweet_id: int) -> None:
        shown = Shown(self._tweets, self._accounts)
        await shown.add([tweet_id])
        if not shown.tweets:
            raise not_found(f"tweet {tweet_id}")
