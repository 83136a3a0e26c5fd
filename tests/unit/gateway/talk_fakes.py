"""Reading sides of mentions and conversations, over the oracle."""

from __future__ import annotations

from collections.abc import Sequence

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
