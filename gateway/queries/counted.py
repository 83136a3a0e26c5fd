"""Tweets with their counts: ``public_metrics`` in every tweet that anybody is shown.

One pass to Redis for both: the counts of a tweet are in the bucket of its fragment, so one command
a bucket reads both. What is read from here is spliced, so no query and no page knows of counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from projections.engagement.layout import NOTHING, Counts, metrics_json
from projections.engagement.read import EngagementReader
from projections.tweets.layout import TweetFragment
from projections.tweets.read import TweetsReader


class CountedTweets:
    """Reads tweets as :class:`projections.tweets.read.TweetsReader` does, counts included.

    Args:
        tweets: Their content.
        engagement: Their counts; of the same generation, so in the same buckets.
    """

    def __init__(self, tweets: TweetsReader, engagement: EngagementReader) -> None:
        self._content = tweets.cache
        self._counts = engagement.cache

    async def get(self, ids: Iterable[int]) -> dict[int, TweetFragment]:
        """Returns the tweets that exist, their bodies with current counts.

        Raises:
            RetryableError: Redis or the store is away.
        """
        found, counts = await self._content.get_beside(self._counts, ids)
        unpack = TweetFragment.unpack
        return {
            tweet_id: unpack(data, b"," + _metrics(counts.get(tweet_id)))
            for tweet_id, data in found.items()
        }


def _metrics(packed: bytes | None) -> bytes:
    return metrics_json(NOTHING if packed is None else Counts.unpack(packed))
