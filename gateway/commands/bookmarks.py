"""Bookmark a tweet, and take the bookmark back.

Keeps true: a bookmark names a tweet that can be seen, of a retweet the original, that is not
bookmarked already. Taking back is accepted whether or not there is something to take back, and also
where the tweet is gone: nobody else ever sees either.
"""

from __future__ import annotations

from events.types import TweetBookmarked, TweetUnbookmarked
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import conflict
from gateway.services import Collections, Minter


class BookmarkCommands:
    """Handlers of bookmarks."""

    def __init__(
        self, collections: Collections, checks: Checks, minter: Minter, appender: Appender
    ) -> None:
        self._collections = collections
        self._checks = checks
        self._minter = minter
        self._appender = appender

    async def make(self, request: Request) -> Response:
        """``POST /api/tweets/{id}/bookmark``."""
        event = await self._appender.repeated(request, TweetBookmarked)
        if event is None:
            user_id = request.user_id
            await self._checks.active(user_id)
            tweet_id, _ = await self._checks.tweet(request.params["id"])
            if tweet_id in await self._collections.bookmarked(user_id, [tweet_id]):
                raise conflict(
                    "already-bookmarked",
                    f"You have bookmarked tweet {tweet_id} already; there is nothing to do. If you "
                    f"have just taken it back, send that answer's X-Event-Position as X-Wait-For.",
                )
            event = TweetBookmarked(**await stamp(self._minter), user_id=user_id, tweet_id=tweet_id)
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"bookmarked":true'), position)

    async def end(self, request: Request) -> Response:
        """``DELETE /api/tweets/{id}/bookmark``."""
        event = await self._appender.repeated(request, TweetUnbookmarked)
        if event is None:
            user_id, tweet_id = request.user_id, request.params["id"]
            await self._checks.active(user_id)
            if tweet_id not in await self._collections.bookmarked(user_id, [tweet_id]):
                tweet_id, _ = await self._checks.tweet(tweet_id)
            event = TweetUnbookmarked(
                **await stamp(self._minter), user_id=user_id, tweet_id=tweet_id
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"bookmarked":false'), position, 200)
