"""Tweets with their counts: ``public_metrics`` in every tweet that anybody is shown.

One pass to Redis for both: the counts of a tweet are in the bucket of its fragment. What is read
from here is spliced, so no query and no page knows of counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec.structs import replace

from projections.bus import RedisBus
from projections.engagement.layout import metrics_json
from projections.engagement.read import EngagementReader
from projections.tweets.layout import TweetFragment
from projections.tweets.read import TweetsReader


class CountedTweets:
    """Reads tweets as :class:`projections.tweets.read.TweetsReader` does, counts included.

    Args:
        bus: The cluster.
        tweets: Their content.
        engagement: Their counts.
    """

    def __init__(self, bus: RedisBus, tweets: TweetsReader, engagement: EngagementReader) -> None:
        self._bus = bus
        self._tweets = tweets
        self._engagement = engagement

    async def get(self, ids: Iterable[int]) -> dict[int, TweetFragment]:
        """Returns the tweets that exist, their bodies with current counts.

        Raises:
            RetryableError: Redis or the store is away.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        content, counts = self._tweets.queries(wanted), self._engagement.queries(wanted)
        replies = await self._bus.calls_strict([*content, *counts])
        found, now = await asyncio.gather(
            self._tweets.settle(wanted, replies[: len(content)]),
            self._engagement.settle(wanted, replies[len(content) :]),
        )
        return {
            tweet_id: replace(tweet, body=tweet.body + b"," + metrics_json(now[tweet_id]))
            for tweet_id, tweet in found.items()
        }
