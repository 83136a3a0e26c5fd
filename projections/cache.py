"""Cache entries that are filled by readers under a lease and never show what is older than a
commit.

The protocol is memcached's lease (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013,
3.2.1):

1. A reader that misses takes the entry's lease: a token beside it that only one reader holds.
2. It loads the facts from the store.
3. It fills the entry; the fill counts only while its token still stands.
4. A worker writes the facts first and then, in one script with the bucket's position, forgets or
   replaces the entry *and its lease*. A fill that loaded older facts finds its token gone.

A reader that finds the lease taken answers from the store and fills nothing. Those of one process
who miss at the same time are gathered (``projections.flights``), so a popular entry is loaded by a
few and filled by one. Absence is cached too, as an empty value. A load that fails fills nothing,
gives its leases back, and tells the reader what was cached (``PartlyRead``).

Bounded by: ``ttl_seconds`` per entry, ``LEASE_SECONDS`` per fill, ``LOADS_MAX`` loads at a time of
one kind and process, and the server's memory, which may evict entries (they have an expiry; state
has none).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from projections.base import PartlyRead, RetryableError
from projections.bus import Argument, Command, RedisBus
from projections.flights import Gathered
from projections.functions import EFFECTS, Library
from projections.keys import Keys

LEASE_SECONDS = 10
"""A fill that takes longer is refused; longer than the store's request timeout is never needed."""

LOADS_MAX = 4
LOADS_WAITING_MAX = 64
IDS_PER_LOAD_MAX = 512
"""Bounds of ``Gathered``: so many loads of one kind at a time, so many that wait, so many ids in
one that was gathered."""

_LEASE = EFFECTS.name("murmur_lease")

V = TypeVar("V")

Loader = Callable[[Sequence[int]], Awaitable[dict[int, bytes]]]
"""Loads entries from the store by id; an id without a fact is left out of the answer."""


def forgetting(keys: Iterable[bytes]) -> list[Command]:
    """Returns the commands that forget entries and their leases.

    Harmless at any time, so they need no fence; one key a command, so they may be of any bucket.
    """
    return [("DEL", key, key + b":lease") for key in keys]


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
        self._fills = Gathered(
            self._fill,
            loads_max=LOADS_MAX,
            ids_max=IDS_PER_LOAD_MAX,
            waiting_max=LOADS_WAITING_MAX,
        )
        self.ttl_ms = ttl_seconds * 1000

    def key(self, entity_id: int) -> bytes:
        """Returns the key of an entry, for a worker's effects."""
        return self._keys.of(self._kind, entity_id)

    def queries(self, ids: Sequence[int]) -> list[Command]:
        """Returns the commands that read entries, one a bucket, to share a round trip with others.

        Hand the replies to :meth:`settle` with the same ids.
        """
        return self._reads(self._keys.grouped(ids))

    async def settle(
        self, ids: Sequence[int], replies: Iterable[list[bytes | None]]
    ) -> dict[int, bytes]:
        """Returns the entries of :meth:`queries`, loading and filling what was missing.

        Returns:
            Values by id; an id without a fact has no entry.

        Raises:
            PartlyRead: what is not cached could not be loaded.
            RetryableError: Redis is away.
        """
        return await self._settled(self._keys.grouped(ids), replies)

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
        return await self._filled(found, missing) if missing else found

    async def _filled(self, found: dict[int, bytes], missing: Sequence[int]) -> dict[int, bytes]:
        """Returns what was found and what is loaded of what was missing."""
        try:
            found.update(await self._fills(missing))
        except PartlyRead as partly:
            raise PartlyRead(str(partly), {**found, **partly.found}, partly.missing) from partly
        except RetryableError as error:
            raise PartlyRead(str(error), found, missing) from error
        return found

    async def get(self, ids: Iterable[int]) -> dict[int, bytes]:
        """Returns the values of the ids that have one; a round trip where all are cached.

        Raises:
            PartlyRead: what is not cached could not be loaded.
            RetryableError: Redis is away.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        groups = self._keys.grouped(wanted)
        replies = await self._bus.calls_strict(self._reads(groups))
        return await self._settled(groups, replies)

    async def _fill(self, missing: Sequence[int]) -> dict[int, bytes]:
        token = secrets.token_hex(8)
        groups = list(self._keys.grouped(missing).values())
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
            try:
                loaded = await self._load(to_load)  # 2
            except RetryableError as error:
                await self._give_back([i for mine in held for i in mine])
                raise PartlyRead(str(error), found, to_load) from error
            found.update(loaded)
            fills = [self._fill_command(mine, token, loaded) for mine in held if mine]
            await self._bus.calls_strict(fills)  # 3
        return found

    async def _give_back(self, ids: Sequence[int]) -> None:
        """Takes leases away that guard no fill, so that the next reader fills.

        One that is another's by now is lost to him, which is harmless: his fill is refused.
        """
        with suppress(RetryableError):  # they expire by themselves
            await self._bus.calls([("DEL", self.key(i) + b":lease") for i in ids])

    def _fill_command(self, ids: Sequence[int], token: str, loaded: Mapping[int, bytes]) -> Command:
        command: list[Argument] = ["FCALL", self._filling, len(ids)]
        command.extend(self.key(i) for i in ids)
        command.extend((token, self.ttl_ms))
        command.extend(loaded.get(i, b"") for i in ids)
        return command

    async def get_beside(
        self, other: Cache, ids: Iterable[int], *, loads: bool = True
    ) -> tuple[dict[int, bytes], dict[int, bytes | None], PartlyRead | None]:
        """Returns, as :meth:`get`, these entries and another cache's of the same ids.

        Both stand in one bucket, so one command reads both.

        Args:
            other: The other cache.
            ids: Of both.
            loads: Whether the other's are loaded where they are missing.

        Returns:
            These entries; the other's, None where nobody knows whether there is one; and what could
            not be loaded of these, if anything.
        """
        groups = self._keys.grouped(list(dict.fromkeys(ids)))
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
        beside: dict[int, bytes | None] = {}
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
        if not lost and not lost_beside:
            return found, beside, None
        mine_partly, loaded = await self._known(lost)
        found.update(loaded)
        if not loads:
            beside.update(dict.fromkeys(lost_beside))
            return found, beside, mine_partly
        theirs_partly, loaded = await other._known(lost_beside)
        beside.update(loaded)
        if theirs_partly is not None:
            beside.update(dict.fromkeys(theirs_partly.missing))
        return found, beside, mine_partly

    async def _known(self, missing: Sequence[int]) -> tuple[PartlyRead | None, dict[int, bytes]]:
        """Returns what can be loaded, and what says that some cannot."""
        if not missing:
            return None, {}
        try:
            return None, await self._filled({}, missing)
        except PartlyRead as partly:
            return partly, dict(partly.found)


async def unpacked(
    reading: Awaitable[Mapping[int, bytes]], unpack: Callable[[bytes], V]
) -> dict[int, V]:
    """Returns the entries of a cache as their readers have them.

    Raises:
        PartlyRead: with the known ones likewise.
    """
    try:
        found = await reading
    except PartlyRead as partly:
        known = {entity_id: unpack(data) for entity_id, data in partly.found.items()}
        raise PartlyRead(str(partly), known, partly.missing) from partly
    return {entity_id: unpack(data) for entity_id, data in found.items()}
