"""Post, delete, retweet, and taking a retweet back.

Keeps true: a text has 1 to 280 code points after NFC (or there are media); what is replied to,
quoted or retweeted can be seen and stands in no block with the author; a retweet always names an
original; a user retweets a tweet once at a time, as far as this process can see (of several that
race, readers see the newest); only the author deletes. A deletion carries every id that the tweet
referred to.
"""

from __future__ import annotations

from events.snowflake import time_of
from events.types import Coordinates, Place, TweetDeleted, TweetPosted
from gateway.bodies import NewTweet, SentGeo
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.limits import TWEET_CODE_POINTS_MAX
from gateway.pages import one
from gateway.problems import conflict, forbidden, invalid, not_found
from gateway.services import Minter
from projections.engagement.layout import NOTHING, metrics_json
from projections.text.language import detect
from projections.text.length import length, normalise
from projections.tweets.layout import TweetFragment, pack


class TweetCommands:
    """Handlers of the tweets' commands."""

    def __init__(self, checks: Checks, minter: Minter, appender: Appender) -> None:
        self._checks = checks
        self._minter = minter
        self._appender = appender

    async def post(self, request: Request) -> Response:
        """``POST /api/tweets``."""
        body = await request.json(NewTweet)
        text = _checked_text(body)
        event = await self._appender.repeated(request, TweetPosted)
        if event is None:
            event = await self._new_tweet(request.user_id, text, body)
        return await self._append_post(request, event)

    async def retweet(self, request: Request) -> Response:
        """``POST /api/tweets/{id}/retweet``."""
        event = await self._appender.repeated(request, TweetPosted)
        if event is None:
            event = await self._new_retweet(request.user_id, request.params["id"])
        return await self._append_post(request, event)

    async def delete(self, request: Request) -> Response:
        """``DELETE /api/tweets/{id}``."""
        tweet_id: int = request.params["id"]
        event = await self._appender.repeated(request, TweetDeleted)
        if event is None:
            await self._checks.active(request.user_id)
            tweet = await self._checks.stored_tweet(tweet_id)
            if tweet.author_id != request.user_id:
                raise forbidden("not-yours", "Only its author can delete a tweet.")
            event = await self._deletion(tweet_id, tweet)
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"deleted":true'), position, 200)

    async def unretweet(self, request: Request) -> Response:
        """``DELETE /api/tweets/{id}/retweet``."""
        event = await self._appender.repeated(request, TweetDeleted)
        if event is None:
            await self._checks.active(request.user_id)
            named = await self._checks.stored_tweet(request.params["id"])
            original = named.retweet_of_id or request.params["id"]
            retweet = await self._checks.retweet_by(request.user_id, original)
            if retweet is None:
                raise not_found(f"retweet of tweet {original} by you")
            event = await self._deletion(*retweet)
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"retweeted":false'), position, 200)

    async def _append_post(self, request: Request, event: TweetPosted) -> Response:
        event, position = await self._appender.append(request, event)
        return answer(
            one(TweetFragment.unpack(pack(event)).body + b"," + metrics_json(NOTHING)), position
        )

    async def _new_tweet(self, user_id: int, text: str, body: NewTweet) -> TweetPosted:
        await self._checks.active(user_id)
        replied = await self._checks.tweet(int(body.reply_to)) if body.reply_to else None
        quoted = await self._checks.tweet(int(body.quote_tweet_id)) if body.quote_tweet_id else None
        named = [tweet.author_id for _, tweet in filter(None, (replied, quoted))]
        await self._checks.no_block(user_id, *named)
        tweet_id, event_id = await self._minter.mint(), await self._minter.mint()
        now = time_of(tweet_id)
        return TweetPosted(
            event_id=event_id,
            occurred_at=now,
            tweet_id=tweet_id,
            user_id=user_id,
            text=text,
            created_at=now,
            lang=detect(text),
            conversation_id=replied[1].conversation_id if replied else tweet_id,
            reply_to_id=replied[0] if replied else None,
            reply_to_user_id=replied[1].author_id if replied else None,
            quote_of_id=quoted[0] if quoted else None,
            quote_of_user_id=quoted[1].author_id if quoted else None,
            media_ids=body.media_ids,
            coordinates=_coordinates(body.geo),
            place=_place(body.geo),
        )

    async def _new_retweet(self, user_id: int, tweet_id: int) -> TweetPosted:
        await self._checks.active(user_id)
        original_id, original = await self._checks.tweet(tweet_id)
        await self._checks.no_block(user_id, original.author_id)
        if await self._checks.retweet_by(user_id, original_id) is not None:
            raise conflict(
                "already-retweeted",
                f"You have retweeted tweet {original_id} already; there is nothing to do.",
            )
        retweet_id, event_id = await self._minter.mint(), await self._minter.mint()
        now = time_of(retweet_id)
        return TweetPosted(
            event_id=event_id,
            occurred_at=now,
            tweet_id=retweet_id,
            user_id=user_id,
            text="",
            created_at=now,
            conversation_id=retweet_id,
            retweet_of_id=original_id,
            retweet_of_user_id=original.author_id,
        )

    async def _deletion(self, tweet_id: int, tweet: TweetFragment) -> TweetDeleted:
        return TweetDeleted(
            **await stamp(self._minter),
            tweet_id=tweet_id,
            user_id=tweet.author_id,
            conversation_id=tweet.conversation_id or None,
            reply_to_id=tweet.reply_to_id or None,
            reply_to_user_id=tweet.reply_to_user_id or None,
            quote_of_id=tweet.quote_of_id or None,
            quote_of_user_id=tweet.quote_of_user_id or None,
            retweet_of_id=tweet.retweet_of_id or None,
            retweet_of_user_id=tweet.retweet_of_user_id or None,
        )


def _checked_text(body: NewTweet) -> str:
    text = normalise(body.text)
    if not text.strip() and not body.media_ids:
        raise invalid("text", "a tweet has a text, or media.")
    if length(text) > TWEET_CODE_POINTS_MAX:
        raise invalid(
            "text",
            f"it has {length(text)} Unicode code points after NFC; a tweet has "
            f"{TWEET_CODE_POINTS_MAX} at most.",
        )
    if "\x00" in text:
        raise invalid("text", "it holds the character U+0000.")
    return text


def _coordinates(geo: SentGeo | None) -> Coordinates | None:
    if geo is None or geo.coordinates is None:
        return None
    longitude, latitude = geo.coordinates.coordinates
    return Coordinates(latitude, longitude)


def _place(geo: SentGeo | None) -> Place | None:
    if geo is None or geo.woeid is None:
        if geo is not None and geo.country_woeid is not None:
            raise invalid("geo.country_woeid", "it is the country of a woeid, which is missing.")
        return None
    return Place(int(geo.woeid), int(geo.country_woeid) if geo.country_woeid else None)
