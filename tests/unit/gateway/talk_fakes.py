"""Reading sides of mentions and conversations, over the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projections.text import entities
from projections.tweets.mentions import Addressee, Candidates, rows
from tests.oracle import Oracle


class FakeMentions:
    """Candidates of everything that was ever posted, deleted or not."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def page(self, addressees_of: Sequence[Addressee], below: int, limit: int) -> Candidates:
        sought = {whom.key for whom in addressees_of}
        found = {
            tweet_id
            for tweet_id, post in self._oracle._posted.items()
            for _, (addressee, *_) in rows(post, entities.parse(post.text), 0)
            if addressee in sought
        }
        ids = sorted((i for i in found if i < below), reverse=True)[:limit]
        return Candidates(ids, ids[-1] if len(ids) == limit else 0)


class FakeThreads:
    """Replies of everything that was ever posted, deleted or not."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def replies(
        self, tweet_ids: Sequence[int], below: int, limit: int
    ) -> Mapping[int, list[int]]:
        found: dict[int, list[int]] = {}
        for tweet_id in sorted(self._oracle._posted, reverse=True):
            parent = self._oracle._posted[tweet_id].reply_to_id
            if parent is not None and parent in tweet_ids and tweet_id < below:
                found.setdefault(parent, []).append(tweet_id)
        return {parent: replies[:limit] for parent, replies in found.items()}

    async def answered(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        posted = self._oracle._posted
        return {i: posted[i].reply_to_id or 0 for i in tweet_ids if i in posted}
