"""Cache entries that are filled by readers under a lease and never show what is older than a
commit.

The protocol is memcached's lease (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013,
3.2.1):

1. A reader that misses takes the entry's lease: a token beside it that only one reader holds.
2. It loads the facts from the store.
3. It fills the entry; the fill counts only while its token still stands.
4. A worker writes the facts first and then, in one script with the bucket's position, forgets or
   replaces the entry *and its lease*. A fill that loaded older facts finds its token gone.

A reader that finds the lease taken answers from the store and fills nothing, so a popular entry is
loaded by a few and filled by one. Absence is cached too, as an empty value.

Bounded by: ``ttl_seconds`` per entry, ``LEASE_SECONDS`` per fill, and the server's memory, which
may evict entries (they have an expiry; state has none).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from projections.bus import Argument, Command, RedisBus
from projections.functions import EFFECTS, Library
from projections.keys import Keys

LEASE_SECONDS = 10
"""A fill that takes longer is refused; longer than the store's request timeout is never needed."""

_LEASE = EFFECTS.name("murmur_lease")

Loader = Callable[[Sequence[int]], Awaitable[dict[int, bytes]]]
"""Loads entries from the store by id; an id without a fact is left out of the answer."""


class Cache:
    """Cache entries of one kind, by id.

    Args:
        bus: The cluster.
        keys: Names of the generation.
        kind: What is cached, such as ``tweet``; part of the key.
        load: Loads what is missing.
        ttl_seconds: Life of an entry after it was filled.
        fill: Library and function that fill entries, for those that are more than one value.
    """

    def __init__(
        self,
        bus: RedisBus,
        keys: Keys,
        kind: str,
        load: Loader,
        *,
        ttl_seconds: int = 86_400,
        fill: tuple[Library, str] = (EFFECTS, "murmur_fill"),
    ) -> None:
        bus.use_library(EFFECTS.source)
        bus.use_library(fill[0].source)
        self._filling = fill[0].name(fill[1])
        self._bus = bus
        self._keys = keys
        self._kind = kind
        self._prefixes = [keys.prefix(kind, bucket) for bucket in range(keys.buckets)]
        self._load = load
        self.ttl_ms = ttl_seconds * 1000

    def key(self, entity_id: int) -> bytes:
        """Returns the key of an entry, for a worker's effects."""
        return self._keys.of(self._kind, entity_id)

    def queries(self, ids: Sequence[int]) -> list[Command]:
        """Returns the commands that read entries, one a bucket, to share a round trip with others.

        Hand the replies to :meth:`settle` with the same ids.
        """
        return self._reads(self._grouped(ids))

    async def settle(
        self, ids: Sequence[int], replies: Iterable[list[bytes | None]]
    ) -> dict[int, bytes]:
        """Returns the entries of :meth:`queries`, loading and filling what was missing.

        Returns:
            Values by id; an id without a fact has no entry.
        """
        return await self._settled(self._grouped(ids), replies)

    def _reads(self, groups: Mapping[int, Sequence[int]]) -> list[Command]:
        prefixes = self._prefixes
        return [
            ("MGET", *[b"%s%d" % (prefix, i) for i in group])
            for prefix, group in ((prefixes[bucket], group) for bucket, group in groups.items())
        ]

    async def _settled(
        self, groups: Mapping[int, Sequence[int]], replies: Iterable[list[bytes | None]]
    ) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for group, values in zip(groups.values(), replies, strict=True):
            for entity_id, value in zip(group, values, strict=True):
                if value is None:
                    missing.append(entity_id)
                elif value:
                    found[entity_id] = value
        if missing:
            found.update(await self._fill(missing))
        return found

    async def get(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Returns the values of the ids that have one; a round trip where all are cached.

        Raises:
            RetryableError: Redis or the store is away.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        groups = self._grouped(wanted)
        replies = await self._bus.calls_strict(self._reads(groups))
        return await self._settled(groups, replies)

    async def _fill(self, missing: Sequence[int]) -> dict[int, bytes]:
        token = secrets.token_hex(8)
        groups = list(self._grouped(missing).values())
        verdicts = await self._bus.calls_strict(  # 1
            [
                (
                    "FCALL",
                    _LEASE,
                    len(g),
                    *[self.key(i) for i in g],
                    token,
                    LEASE_SECONDS * 1000,
                )
                for g in groups
            ]
        )
        found: dict[int, bytes] = {}
        held: list[list[int]] = []
        to_load: list[int] = []
        for group, answers in zip(groups, verdicts, strict=True):
            mine = []
            for entity_id, answer in zip(group, answers, strict=True):
                if isinstance(answer, list):  # somebody filled it in the meantime
                    if answer[0]:
                        found[entity_id] = answer[0]
                    continue
                to_load.append(entity_id)
                if answer == 1:
                    mine.append(entity_id)
            held.append(mine)
        if to_load:
            loaded = await self._load(to_load)  # 2
            found.update(loaded)
            fills = [self._fill_command(mine, token, loaded) for mine in held if mine]
            await self._bus.calls_strict(fills)  # 3
        return found

    def _fill_command(self, ids: Sequence[int], token: str, loaded: Mapping[int, bytes]) -> Command:
        command: list[Argument] = ["FCALL", self._filling, len(ids)]
        command.extend(self.key(i) for i in ids)
        command.extend((token, self.ttl_ms))
        command.extend(loaded.get(i, b"") for i in ids)
        return command

    def _grouped(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """Returns the ids by bucket."""
        groups: dict[int, list[int]] = {}
        bucket = self._keys.bucket
        for entity_id in ids:
            at = bucket(entity_id)
            group = groups.get(at)
            if group is None:
                groups[at] = [entity_id]
            else:
                group.append(entity_id)
        return groups

    async def get_beside(
        self, other: Cache, ids: Iterable[int]
    ) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Returns, as :meth:`get`, these entries and another cache's of the same ids.

        Both stand in one bucket, so one command reads both.
        """
        groups = self._grouped(list(dict.fromkeys(ids)))
        mine, theirs = self._prefixes, other._prefixes
        replies = await self._bus.calls_strict(
            [
                (
                    "MGET",
                    *[b"%s%d" % (mine[bucket], i) for i in group],
                    *[b"%s%d" % (theirs[bucket], i) for i in group],
                )
                for bucket, group in groups.items()
            ]
        )
        found: dict[int, bytes] = {}
        beside: dict[int, bytes] = {}
        lost: list[int] = []
        lost_beside: list[int] = []
        for group, values in zip(groups.values(), replies, strict=True):
            # The second half is the other's; the shorter of the two ends the walk.
            for entity_id, value, second in zip(group, values, values[len(group) :], strict=False):
                if value:
                    found[entity_id] = value
                elif value is None:
                    lost.append(entity_id)
                if second:
                    beside[entity_id] = second
                elif second is None:
                    lost_beside.append(entity_id)
        if lost:
            found.update(await self._fill(lost))
        if lost_beside:
            beside.update(await other._fill(lost_beside))
        return found, beside
