"""The accounts unit's reading side: users by id, from the cache; holders of names, from the store.

Names are read from the store itself, at QUORUM: a registration answers with what it finds there.

Bounded by: ``store.IDS_PER_QUERY_MAX`` ids in one query of the store; callers bound their pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from projections.accounts.layout import (
    READ,
    READ_PINS,
    USER,
    Claim,
    UserFragment,
    pack,
)
from projections.accounts.usernames import Usernames
from projections.base import PartlyRead
from projections.bus import Command, RedisBus, Reply
from projections.cache import Cache, unpacked
from projections.keys import Keys
from projections.store import Store


class AccountsReader:
    """What the gateway reads of the accounts unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
    """

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._store = store
        self._cache = Cache(bus, keys, USER, self._load)
        self._usernames = Usernames(store)

    async def get(self, ids: Iterable[int]) -> dict[int, UserFragment]:
        """Returns the users that others see: registered and active.

        Raises:
            PartlyRead: what is not cached could not be loaded.
            RetryableError: Redis is away.
        """
        try:
            return _active(await self.users(ids))
        except PartlyRead as partly:
            raise PartlyRead(str(partly), _active(partly.found), partly.missing) from partly

    async def users(self, ids: Iterable[int]) -> dict[int, UserFragment]:
        """Returns every registered user of those ids; the fragment says whether it is active."""
        return await unpacked(self._cache.get(ids), UserFragment.unpack)

    def queries(self, ids: Sequence[int]) -> list[Command]:
        """Returns the commands that read users, to share a round trip with others.

        Ids must not repeat. Hand the replies to :meth:`settle` with the same ids.
        """
        return self._cache.queries(ids)

    async def settle(self, ids: Sequence[int], replies: Sequence[Reply]) -> dict[int, UserFragment]:
        """Returns the registered users of :meth:`queries`, loading what was not cached."""
        return await unpacked(self._cache.settle(ids, replies), UserFragment.unpack)

    async def holder(self, username: str) -> int | None:
        """Returns who holds a name, compared without case; active or not."""
        claim = await self.claim_of(username.casefold())
        return claim.user_id if claim is not None else None

    async def claim_of(self, username_key: str) -> Claim | None:
        """Returns the claim that holds a folded name, or None.

        Whoever claimed learns from ``event_id`` whether the own claim won.
        """
        return (await self._usernames.claims([username_key])).get(username_key)

    async def _load(self, ids: Sequence[int]) -> dict[int, bytes]:
        rows, pins = await asyncio.gather(
            self._store.execute_in(READ, ids), self._store.execute_in(READ_PINS, ids)
        )
        pinned: dict[int, int] = dict(pins)
        packed = ((row[0], pack(row, pinned.get(row[0], 0))) for row in rows)
        return {user_id: fragment for user_id, fragment in packed if fragment is not None}


def _active(users: Mapping[int, UserFragment]) -> dict[int, UserFragment]:
    return {user_id: user for user_id, user in users.items() if user.active}
