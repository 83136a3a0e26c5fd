"""Tweets with their counts: ``public_metrics`` in every tweet that anybody is shown.

One pass to Redis for both: the counts of a tweet are in the bucket of its fragment, so one command
a bucket reads both. What is read from here is spliced, so no query and no page knows of counts.
Where Redis does not hold a tweet's counts, and the store is away or not asked for them on purpose
(``gateway.levels``), it has no ``public_metrics``: none are better than wrong ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from projections.base import PartlyRead
from projections.engagement.layout import NOTHING, Counts, metrics_json
from projections.engagement.read import EngagementReader
from projections.tweets.layout import TweetFragment
from projections.tweets.read import TweetsReader


class CountedTweets:
    """Reads tweets as :class:`projections.tweets.read.TweetsReader` does, counts included.

    Args:
        tweets: Their content.
        engagement: Their counts; of the same generation, so in the same buckets.

    Attributes:
        loads_counts: Whether counts that Redis does not hold are read from the store.
    """

    def __init__(self, tweets: TweetsReader, engagement: EngagementReader) -> None:
        self._content = tweets.cache
        self._counts = engagement.cache
        self.loads_counts: Callable[[], bool] = lambda: True

    async def get(self, ids: Iterable[int]) -> dict[int, TweetFragment]:
        """Returns the tweets that exist, their bodies with current counts.

        Raises:
            PartlyRead: some are not in Redis, and could not be loaded.
            RetryableError: Redis is away.
        """
        found, counts, partly = await self._content.get_beside(
            self._counts, ids, loads=self.loads_counts()
        )
        unpack = TweetFragment.unpack
        tweets = {
            tweet_id: unpack(data, _metrics(counts.get(tweet_id, b"")))
            for tweet_id, data in found.items()
        }
        if partly is not None:
            raise PartlyRead(str(partly), tweets, partly.missing) from partly
        return tweets


def _metrics(packed: bytes | None) -> bytes:
    """Returns the member to splice in; nothing where nobody knows the counts."""
    if packed is None:
        return b""
    return b"," + metrics_json(Counts.unpack(packed) if packed else NOTHING)
