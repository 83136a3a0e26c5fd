"""The collections unit's reading side: lists and their members, cached; bookmarks, from the store.

A list's count and its members are of one rule: the last record of the owner about each counts, and
of more than ``members_max`` members those with the lowest ids.

Bounded by: ``store.IDS_PER_QUERY_MAX`` lists a query, ``members_max`` members a list (8 bytes each
in the cache), the bounds of :mod:`projections.listing`, and the callers' page sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import pack, unpack

from projections.bus import RedisBus
from projections.cache import Cache
from projections.collections.layout import (
    COLUMNS,
    LIMITS,
    LIST,
    MEMBERS,
    Limits,
    ListFragment,
    StoredList,
    standing,
)
from projections.keys import Keys
from projections.listing import NEWEST, Entry, Page, read_page
from projections.store import Row, Store

_LISTS = f"SELECT {COLUMNS} FROM {{lists}} WHERE list_id IN ?"
# One partition is read each time; the filter spares those who were removed from being sent.
_COUNT = (
    "SELECT COUNT(*) FROM {list_members} WHERE list_id = ? AND user_id = ? AND event_id > 0 "
    "ALLOW FILTERING"
)
_MEMBERS = (
    "SELECT member_id FROM {list_members} WHERE list_id = ? AND user_id = ? AND event_id > 0 "
    "LIMIT ? ALLOW FILTERING"
)
_OF_USER = (
    "SELECT list_id FROM {lists_of} WHERE user_id = ? AND list_id < ? AND deleted = false "
    "LIMIT ? ALLOW FILTERING"
)


class CollectionsReader:
    """What the gateway reads of the collections unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        limits: Bounds.
    """

    def __init__(self, bus: RedisBus, store: Store, keys: Keys, limits: Limits = LIMITS) -> None:
        self._store = store
        self._limits = limits
        self._lists = Cache(bus, keys, LIST, self._load_lists)
        self._members = Cache(bus, keys, MEMBERS, self._load_members)

    async def lists(self, ids: Iterable[int]) -> dict[int, ListFragment]:
        """Returns the lists of those ids that stand, private ones among them.

        Raises:
            RetryableError: Redis or the store is away.
        """
        found = await self._lists.get(ids)
        return {list_id: ListFragment.unpack(data) for list_id, data in found.items()}

    async def members(self, list_id: int) -> Sequence[int]:
        """Returns the members of a list by ascending id; none of a list that does not stand."""
        packed = (await self._members.get([list_id])).get(list_id, b"")
        return unpack(f"<{len(packed) // 8}q", packed)

    async def owned(self, user_id: int, below: int, limit: int) -> dict[int, ListFragment]:
        """Returns up to ``limit`` of a user's lists under the id ``below``, newest first."""
        owned: dict[int, ListFragment] = {}
        while len(owned) < limit:
            rows = await self._store.execute(_OF_USER, (user_id, below, limit))
            found = await self.lists(list_id for (list_id,) in rows)
            for (list_id,) in rows:
                # Somebody else may have created a list of this id before.
                if list_id in found and found[list_id].owner_id == user_id:
                    owned[list_id] = found[list_id]
            if len(rows) < limit:
                break
            below = rows[-1][0]
        return dict(list(owned.items())[:limit])

    async def owned_count(self, user_id: int) -> int:
        """Returns how many lists a user created and did not delete, ``lists_max`` at most."""
        values = (user_id, NEWEST, self._limits.lists_max)
        return len(await self._store.execute(_OF_USER, values))

    async def bookmarked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        """Returns which of the tweets the user has bookmarked; from the store itself."""
        return {tweet_id for tweet_id, at in (await self._marks(user_id, tweet_ids)).items() if at}

    async def bookmarks(self, user_id: int, below: int = NEWEST, limit: int = 20) -> Page:
        """Returns a user's bookmarks, the newest first, by the bookmarks' event ids."""

        async def read(under: int, wanted: int) -> list[Row]:
            return await self._store.execute(
                "SELECT event_id, tweet_id FROM {bookmarks_of} WHERE user_id = ? AND event_id < ? "
                "LIMIT ?",
                (user_id, under, wanted),
            )

        async def still(rows: Sequence[Row]) -> list[Entry]:
            marks = await self._marks(user_id, {tweet_id for _, tweet_id in rows})
            return [Entry(at, user_id, tweet) for at, tweet in rows if marks.get(tweet) == at]

        return await read_page(read, still, below, limit)

    async def _marks(self, user_id: int, tweet_ids: Iterable[int]) -> dict[int, int]:
        rows = await self._store.execute(
            "SELECT tweet_id, event_id FROM {bookmarks} WHERE user_id = ? AND tweet_id IN ?",
            (user_id, list(dict.fromkeys(tweet_ids))),
        )
        marks: dict[int, int] = dict(rows)
        return marks

    async def _load_lists(self, ids: Sequence[int]) -> dict[int, bytes]:
        found = await self._stored(ids)
        counts = await self._store.execute_many(
            _COUNT, [(one.list_id, one.owner_id) for one in found.values()]
        )
        return {
            one.list_id: one.pack(min(rows[0][0], self._limits.members_max))
            for one, rows in zip(found.values(), counts, strict=True)
        }

    async def _load_members(self, ids: Sequence[int]) -> dict[int, bytes]:
        found = await self._stored(ids)
        pages = await self._store.execute_many(
            _MEMBERS,
            [(one.list_id, one.owner_id, self._limits.members_max) for one in found.values()],
        )
        return {
            one.list_id: pack(f"<{len(rows)}q", *(member for (member,) in rows))
            for one, rows in zip(found.values(), pages, strict=True)
        }

    async def _stored(self, ids: Sequence[int]) -> dict[int, StoredList]:
        return standing(await self._store.execute_in(_LISTS, ids))
