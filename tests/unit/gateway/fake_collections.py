"""Lists and bookmarks by the oracle, as the gateway reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from projections.collections.layout import ListFragment, StoredList
from projections.listing import Entry, Page
from tests.oracle_collections import CollectionsOracle


class FakeCollections:
    """Answers from the oracle; the n-th bookmark of a user stands at the id 1000 - n.

    Attributes:
        extra_lists: Lists that every user is said to have besides.
        extra_members: Members that every list is said to have besides.
    """

    def __init__(self, oracle: CollectionsOracle) -> None:
        self._oracle = oracle
        self.extra_lists = 0
        self.extra_members = 0

    async def lists(self, ids: Iterable[int]) -> Mapping[int, ListFragment]:
        found = {list_id: self._oracle.view(list_id) for list_id in ids}
        return {
            list_id: ListFragment.unpack(
                StoredList(
                    list_id,
                    view.owner_id,
                    view.created_at,
                    view.name,
                    view.description,
                    view.private,
                ).pack(view.member_count + self.extra_members)
            )
            for list_id, view in found.items()
            if view is not None
        }

    async def members(self, list_id: int) -> Sequence[int]:
        return self._oracle.members(list_id)

    async def owned(self, user_id: int, below: int, limit: int) -> Mapping[int, ListFragment]:
        ids = [i for i in self._oracle.owned(user_id, user_id) if i < below]
        return await self.lists(ids[:limit])

    async def owned_count(self, user_id: int) -> int:
        return self._oracle.owned_count(user_id) + self.extra_lists

    async def bookmarked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        return set(self._oracle.bookmarks(user_id)).intersection(tweet_ids)

    async def bookmarks(self, user_id: int, below: int, limit: int) -> Page:
        tweets = self._oracle.bookmarks(user_id)
        entries = [Entry(1000 - n, user_id, tweet) for n, tweet in enumerate(tweets)]
        found = [entry for entry in entries if entry.at < below]
        return Page(found[:limit], found[limit - 1].at if len(found) > limit else None)
