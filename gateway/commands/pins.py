"""Pin a tweet to one's profile, and unpin it.

Keeps true: what is pinned is the user's own tweet, there and no retweet. The last pin counts.
Unpinning is accepted whether or not anything is pinned, since what this process reads may be behind
what the user just did.
"""

from __future__ import annotations

from events.types import TweetPinned, TweetUnpinned
from gateway.bodies import PinnedTweet
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks, require_own_path
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import forbidden, invalid
from gateway.services import Minter


class PinCommands:
    """Handlers of pins."""

    def __init__(self, checks: Checks, minter: Minter, appender: Appender) -> None:
        self._checks = checks
        self._minter = minter
        self._appender = appender

    async def pin(self, request: Request) -> Response:
        """``POST /api/users/{me}/pinned_tweet``."""
        require_own_path(request)
        tweet_id = int((await request.json(PinnedTweet)).tweet_id)
        event = await self._appender.repeated(request, TweetPinned)
        if event is None:
            await self._checks.active(request.user_id)
            tweet = await self._checks.stored_tweet(tweet_id)
            if tweet.author_id != request.user_id:
                raise forbidden("not-yours", "Only one's own tweets can be pinned.")
            if tweet.retweet_of_id:
                raise invalid("tweet_id", "it is a retweet; only what one wrote can be pinned.")
            event = TweetPinned(
                **await stamp(self._minter), user_id=request.user_id, tweet_id=tweet_id
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"pinned":true'), position)

    async def unpin(self, request: Request) -> Response:
        """``DELETE /api/users/{me}/pinned_tweet``."""
        require_own_path(request)
        event = await self._appender.repeated(request, TweetUnpinned)
        if event is None:
            await self._checks.active(request.user_id)
            event = TweetUnpinned(**await stamp(self._minter), user_id=request.user_id)
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"pinned":false'), position, 200)
