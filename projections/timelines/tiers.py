"""Tiers: which authors' tweets are pulled when read instead of pushed when posted.

The set is small (the brief counts 50,000 celebrities) and changes seldom, so every process keeps it
whole, with the version that it was read at. Each read and each slice looks at the version first,
one key in the round trip that it makes anyway, so a change is in force for every reader at once:

1. promotion writes the tier at QUORUM, then replaces the version;
2. from then on a fan-out does not push the author's tweets, and whoever reads afterwards pulls
   them.

A worker that starts replaces the version, so a Redis that lost one is of no consequence.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from projections.bus import Command, RedisBus
from projections.keys import Keys
from projections.store import Store
from projections.timelines.layout import CELEBRITY_TIER


class Tiers:
    """The celebrities, as of the version that was last looked at."""

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._bus = bus
        self._store = store
        self._key = f"{keys.generation}:{{{keys.unit}-tiers}}:version".encode()
        self._version: bytes | None = None
        self._celebrities: frozenset[int] = frozenset()

    def query(self) -> Command:
        """Returns the command that reads the version, to share a round trip with others."""
        return ("GET", self._key)

    async def settle(self, version: bytes | None) -> frozenset[int]:
        """Returns the celebrities as of ``version``, the reply to :meth:`query`."""
        if version is None:
            await self._bus.call("SET", self._key, secrets.token_hex(8), "NX")
            version = await self._bus.call("GET", self._key)
        if version != self._version:
            rows = await self._store.execute(
                "SELECT author_id FROM {tiers} WHERE tier = ?", (CELEBRITY_TIER,)
            )
            self._celebrities = frozenset(author for (author,) in rows)
            self._version = version
        return self._celebrities

    async def celebrities(self) -> frozenset[int]:
        """Returns the celebrities as of now; one round trip where nothing has changed."""
        return await self.settle(await self._bus.call(*self.query()))

    async def promote(self, authors: Collection[int]) -> None:
        """Makes authors celebrities."""
        await self._store.write(
            [
                ("INSERT INTO {tiers} (tier, author_id) VALUES (?, ?)", (CELEBRITY_TIER, author))
                for author in authors
            ]
        )
        await self.touch()

    async def touch(self) -> None:
        """Makes every process read the tiers anew."""
        await self._bus.call("SET", self._key, secrets.token_hex(8))
