"""Like a tweet, take the like back, and say which tweets were seen.

Keeps true: a like names a tweet that can be seen, of a retweet the original, that is not liked
already and in whose author's way no block stands. Taking back is accepted whether or not there is
something to take back, since what this process reads may be behind what the user just did.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Counter

from events.types import TweetLiked, TweetUnliked, TweetViewed
from gateway.bodies import SeenTweets
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.levels.level import Feature, Levels
from gateway.pages import one
from gateway.problems import conflict
from gateway.services import Engagement, Minter, Tweets


class EngagementCommands:
    """Handlers of likes and views."""

    def __init__(
        self,
        checks: Checks,
        tweets: Tweets,
        engagement: Engagement,
        minter: Minter,
        appender: Appender,
        *,
        levels: Levels,
        views_dropped: Counter,
    ) -> None:
        self._checks = checks
        self._tweets = tweets
        self._engagement = engagement
        self._minter = minter
        self._appender = appender
        self._levels = levels
        self._views_dropped = views_dropped

    async def like(self, request: Request) -> Response:
        """``POST /api/tweets/{id}/like``."""
        event = await self._appender.repeated(request, TweetLiked)
        if event is None:
            user_id = request.user_id
            await self._checks.active(user_id)
            tweet_id, tweet = await self._checks.tweet(request.params["id"])
            await self._checks.no_block(user_id, tweet.author_id)
            if tweet_id in await self._engagement.liked(user_id, [tweet_id]):
                raise conflict(
                    "already-liked",
                    f"You like tweet {tweet_id} already; there is nothing to do. If you have just "
                    f"taken it back, send that answer's X-Event-Position as X-Wait-For.",
                )
            event = TweetLiked(
                **await stamp(self._minter),
                tweet_id=tweet_id,
                tweet_author_id=tweet.author_id,
                user_id=user_id,
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"liked":true'), position)

    async def unlike(self, request: Request) -> Response:
        """``DELETE /api/tweets/{id}/like``."""
        event = await self._appender.repeated(request, TweetUnliked)
        if event is None:
            await self._checks.active(request.user_id)
            tweet_id, tweet = await self._checks.tweet(request.params["id"])
            event = TweetUnliked(
                **await stamp(self._minter),
                tweet_id=tweet_id,
                tweet_author_id=tweet.author_id,
                user_id=request.user_id,
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"liked":false'), position, 200)

    async def views(self, request: Request) -> Response:
        """``POST /api/tweets/views``: one view of each tweet; those that are gone are left out.

        While views are off none is counted, and the answer says so: a refusal would be repeated.
        """
        ids = [int(text) for text in (await request.json(SeenTweets)).tweet_ids]
        if not self._levels.has(Feature.VIEWS):
            self._views_dropped.inc(len(ids))
            return Response(one(b'{"viewed":0'), status=202)
        await self._checks.active(request.user_id)
        known = await self._tweets.get(ids)
        seen = [tweet_id for tweet_id in dict.fromkeys(ids) if tweet_id in known]
        await asyncio.gather(*(self._view(request, tweet_id) for tweet_id in seen))
        return Response(one(b'{"viewed":%d' % len(seen)), status=202)

    async def _view(self, request: Request, tweet_id: int) -> None:
        part = f":{tweet_id}"
        event = await self._appender.repeated(request, TweetViewed, part)
        if event is None:
            event = TweetViewed(
                **await stamp(self._minter), tweet_id=tweet_id, user_id=request.user_id
            )
        await self._appender.append(request, event, part)
