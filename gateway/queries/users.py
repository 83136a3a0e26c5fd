"""Profiles, by id and by name, with the counts of the follow graph.

A user has ``public_metrics`` where users are what was asked for; those that are included beside
tweets have none, so that a timeline does not cost a graph read per author. One user alone has a
``pinned_tweet_id`` as well, with the tweet beside it, while that tweet is there: which one is
pinned is the accounts unit's to say, whether it still exists the tweets unit's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.http import Request, Response
from gateway.pages import one, with_field
from gateway.problems import not_found
from gateway.services import Accounts, Graph, Tweets
from projections.accounts.layout import UserFragment
from projections.tweets.layout import TweetFragment


async def with_counts(
    graph: Graph, ids: Sequence[int], found: Mapping[int, UserFragment]
) -> list[bytes]:
    """Returns the users as open objects, in the order of ``ids``, with ``public_metrics``."""
    if not ids:
        return []
    counts = await graph.counts(ids)
    return [
        with_field(
            found[user].body,
            "public_metrics",
            b'{"followers_count":%d,"following_count":%d}' % counts[user],
        )
        for user in ids
    ]


class UserQueries:
    """Handlers of the users' reads."""

    def __init__(self, accounts: Accounts, graph: Graph, tweets: Tweets) -> None:
        self._accounts = accounts
        self._graph = graph
        self._tweets = tweets

    async def by_id(self, request: Request) -> Response:
        """``GET /api/users/{id}``."""
        return await self._one(request.params["id"])

    async def me(self, request: Request) -> Response:
        """``GET /api/users/me``."""
        return await self._one(request.user_id)

    async def by_username(self, request: Request) -> Response:
        """``GET /api/users/by/username/{name}``."""
        name: str = request.params["name"]
        claim = await self._accounts.claim_of(name.casefold())
        if claim is None:
            raise not_found(f"user named {name:.15}")
        return await self._one(claim.user_id)

    async def _one(self, user_id: int) -> Response:
        found = await self._accounts.get([user_id])
        if user_id not in found:
            raise not_found(f"user {user_id}")
        (body,), tweet = await asyncio.gather(
            with_counts(self._graph, [user_id], found),
            self._pinned(user_id, found[user_id].pinned_tweet_id),
        )
        if tweet is None:
            return Response(one(body))
        pinned = b'"%d"' % found[user_id].pinned_tweet_id
        return Response(
            one(with_field(body, "pinned_tweet_id", pinned), [("tweets", [tweet.body])])
        )

    async def _pinned(self, user_id: int, tweet_id: int) -> TweetFragment | None:
        """Returns the pinned tweet if it can be: the log may hold what a command would refuse."""
        if not tweet_id:
            return None
        tweet = (await self._tweets.get([tweet_id])).get(tweet_id)
        pinnable = tweet is not None and tweet.author_id == user_id and not tweet.retweet_of_id
        return tweet if pinnable else None
