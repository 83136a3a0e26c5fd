"""Followers of large accounts, cut into ranges of follower id: what a durable fan-out goes through.

A large account (``popular_threshold``) has no list of followers in one place. Chunks ``[first, next
first)`` cover all ids; each is a cache entry in a bucket of its own, and so is the number of
followers in it. A new follower touches one of them, whatever the size of the account.

Keeps true: the chunks of an author cover every id and are only ever cut finer, so a range that was
named once is a union of chunks for ever; and no chunk in use lacks a follower whose follow was
recorded. For the second, whoever records a follow writes the fact, then reads where the author's
chunks are, then forgets those that it touches; and whoever cuts

1. writes the new cuts as pending and forgets the cached cuts: from here on everybody who reads them
   forgets the finer chunks too;
2. writes them as active and forgets again: only now may anybody fill a finer chunk.

A fact that was recorded by one who read the cuts before 1 was written before 1, and is found by
whoever fills a chunk after 2.

Bounded by: ``CHUNK_FOLLOWERS`` ids in a new chunk and ``CHUNK_FOLLOWERS_MAX`` in one that grew; a
chunk with more says so, holds nothing, and is to be cut.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from projections.bus import RedisBus
from projections.cache import Cache, forgetting
from projections.keys import Keys
from projections.store import Store
from projections.timelines.layout import (
    CHUNK_COUNT,
    CHUNK_CUTS,
    CHUNK_IDS,
    FOLLOWER_COUNT,
    in_force,
    pack_ids,
    unpack_ids,
)

CHUNK_FOLLOWERS = 5_000
"""Followers of a chunk when it is cut: 40 KB of ids, and 5 to 30 ms of delivery."""

CHUNK_FOLLOWERS_MAX = 2 * CHUNK_FOLLOWERS

END = 1 << 63
"""Above every id."""

ROWS_MAX = (1 << 31) - 1
"""The highest LIMIT that CQL takes: all rows."""

LARGE_SHARDS = 16
"""Partitions of the set of large accounts."""

_PENDING, _ACTIVE = 1, 2  # write timestamps: a cut that is active is never pending again
_LOW = (1 << 64) - 1

_ROWS = (
    "SELECT follower_id, follow_id, last_block_id FROM {graph_in} "
    "WHERE user_id = ? AND follower_id >= ? AND follower_id < ? LIMIT ?"
)
_IDS = (
    "SELECT follower_id FROM {graph_in} "
    "WHERE user_id = ? AND follower_id >= ? AND follower_id < ? LIMIT ?"
)
_CUT = (
    "INSERT INTO {follower_chunks} (author_id, first_follower_id, active) VALUES (?, ?, ?) "
    "USING TIMESTAMP ?"
)
_LARGE = "INSERT INTO {large_accounts} (scope, shard, author_id) VALUES (?, ?, ?)"


class Cuts(msgspec.Struct, frozen=True):
    """Where an author's followers are cut: the first ids of the chunks, ascending.

    Attributes:
        active: Of the chunks in use; empty for an author who is not large.
        every: With those that are about to be.
    """

    active: array[int]
    every: array[int]

    def pack(self) -> bytes:
        """Encodes for the cache."""
        return len(self.active).to_bytes(4, "little") + pack_ids([*self.active, *self.every])

    @classmethod
    def unpack(cls, data: bytes) -> Cuts:
        """Reads what :meth:`pack` wrote; nothing stands for an author who is not large."""
        ids = unpack_ids(data[4:])
        active = int.from_bytes(data[:4], "little")
        return cls(ids[:active], ids[active:])

    def ranges(self) -> list[tuple[int, int]]:
        """Returns the chunks in use: first id, and the id after the last."""
        return list(zip(self.active, [*self.active, END][1:], strict=True))

    def within(self, first: int, end: int) -> list[tuple[int, int]]:
        """Returns the chunks in use that a range is the union of."""
        low = max(0, bisect_right(self.active, first) - 1)
        high = bisect_left(self.active, end)
        return self.ranges()[low:high]

    def touched_by(self, follower: int) -> set[int]:
        """Returns the firsts of the chunks that a follower is in, or will be."""
        found = set()
        for firsts in (self.active, self.every):
            at = bisect_right(firsts, follower)
            if at:
                found.add(firsts[at - 1])
        return found


NOT_LARGE = Cuts(array("q"), array("q"))


class Chunks:
    """Reads and cuts the followers of large accounts.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: Names of the timelines unit.
    """

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys
        self._scope = keys.unit
        self._cuts = Cache(bus, keys, CHUNK_CUTS, self._load_cuts)
        self._ids = Cache(bus, keys, CHUNK_IDS, self._load_ids)
        self._counts = Cache(bus, keys, CHUNK_COUNT, self._load_counts)
        self._of_chunks = (self._ids, self._counts)

    async def cuts(self, authors: Iterable[int]) -> dict[int, Cuts]:
        """Returns where the followers of authors are cut; one round trip where cached."""
        wanted = list(authors)
        packed = await self._cuts.get(wanted)
        return {
            author: Cuts.unpack(packed[author]) if author in packed else NOT_LARGE
            for author in wanted
        }

    async def followers(
        self, ranges: Sequence[tuple[int, int, int]]
    ) -> dict[tuple[int, int, int], array[int] | None]:
        """Returns the followers in force of ranges (author, first id, id after the last).

        None for a range in which a chunk is to be cut first (:meth:`cut`).
        """
        cuts = await self.cuts({author for author, _, _ in ranges})
        chunks = {r: cuts[r[0]].within(r[1], r[2]) for r in ranges}
        names = [_name(r[0], first) for r, found in chunks.items() for first, _ in found]
        packed = await self._ids.get(names)
        found: dict[tuple[int, int, int], array[int] | None] = {}
        for wanted, parts in chunks.items():
            author, first, end = wanted
            held = [packed[_name(author, chunk)] for chunk, _ in parts]
            if b"O" in held:
                found[wanted] = None
                continue
            ids = array("q")
            for value in held:
                ids.extend(unpack_ids(value[1:]))
            # What was filled before a cut holds more than the range that is left of it.
            found[wanted] = ids[bisect_left(ids, first) : bisect_left(ids, end)]
        return found

    async def sizes(self, cuts: Mapping[int, Cuts]) -> dict[tuple[int, int, int], int]:
        """Returns how many followers the chunks of authors hold, by author and range."""
        ranges = [(author, *range_) for author, cut in cuts.items() for range_ in cut.ranges()]
        held = await self._counts.get(_name(author, first) for author, first, _ in ranges)
        return {r: int(held[_name(r[0], r[1])]) for r in ranges}

    async def stale_after(self, follows: Iterable[tuple[int, int]]) -> list[bytes]:
        """Returns the cache entries to forget once the facts of (author, follower) are written."""
        pairs = list(follows)
        cuts = await self.cuts({author for author, _ in pairs})
        names = {
            _name(author, first)
            for author, follower in pairs
            for first in cuts[author].touched_by(follower)
        }
        return [cache.key(name) for name in names for cache in self._of_chunks]

    async def enlarge(self, author: int) -> None:
        """Makes an author a large one, with a single chunk."""
        await self._store.write([(_LARGE, (self._scope, author % LARGE_SHARDS, author))])
        await self._add(author, [0])

    async def cut(self, author: int, first: int, end: int) -> list[tuple[int, int]]:
        """Cuts the chunks of a range that have grown, and returns the chunks of the range."""
        for low, high in (await self.cuts([author]))[author].within(first, end):
            firsts = await self._boundaries(author, low, high)
            if firsts:
                await self._add(author, firsts)
            await self._forget([cache.key(_name(author, low)) for cache in self._of_chunks])
        # Whoever added up the chunks meanwhile took some followers for those of two.
        await self._forget([self._keys.of(FOLLOWER_COUNT, author)])
        return (await self.cuts([author]))[author].within(first, end)

    async def large_authors(self) -> list[int]:
        """Returns every author with chunks."""
        shards = await self._store.execute_many(
            "SELECT author_id FROM {large_accounts} WHERE scope = ? AND shard = ?",
            [(self._scope, shard) for shard in range(LARGE_SHARDS)],
        )
        return [author for rows in shards for (author,) in rows]

    async def _add(self, author: int, firsts: Sequence[int]) -> None:
        for active, at in ((False, _PENDING), (True, _ACTIVE)):  # 1, 2
            await self._store.write([(_CUT, (author, first, active, at)) for first in firsts])
            await self._forget([self._cuts.key(author)])

    async def _forget(self, keys: Iterable[bytes]) -> None:
        await self._bus.calls_strict(forgetting(keys))

    async def _boundaries(self, author: int, low: int, high: int) -> list[int]:
        """Returns the ids at which a chunk is to be cut; none where it is small enough."""
        firsts: list[int] = []
        at, size = low, 0
        while True:
            rows = await self._store.execute(_IDS, (author, at, _bound(high), CHUNK_FOLLOWERS + 1))
            size += min(len(rows), CHUNK_FOLLOWERS)
            if len(rows) <= CHUNK_FOLLOWERS:
                return firsts if size > CHUNK_FOLLOWERS_MAX else []
            at = rows[-1][0]
            firsts.append(at)

    async def _load_cuts(self, authors: Sequence[int]) -> dict[int, bytes]:
        found = await self._store.execute_many(
            "SELECT first_follower_id, active FROM {follower_chunks} WHERE author_id = ?",
            [(author,) for author in authors],
        )
        return {
            author: Cuts(
                array("q", [first for first, active in rows if active]),
                array("q", [first for first, _ in rows]),
            ).pack()
            for author, rows in zip(authors, found, strict=True)
            if rows
        }

    async def _load_ids(self, names: Sequence[int]) -> dict[int, bytes]:
        found = await self._rows(names, CHUNK_FOLLOWERS_MAX + 1)
        return {
            name: b"O"
            if len(rows) > CHUNK_FOLLOWERS_MAX
            else b"F" + pack_ids(i for i, follow, block in rows if in_force(follow, block))
            for name, rows in zip(names, found, strict=True)
        }

    async def _load_counts(self, names: Sequence[int]) -> dict[int, bytes]:
        found = await self._rows(names, ROWS_MAX)
        return {
            name: b"%d" % sum(in_force(follow, block) for _, follow, block in rows)
            for name, rows in zip(names, found, strict=True)
        }

    async def _rows(self, names: Sequence[int], limit: int) -> list[list[tuple[int, ...]]]:
        chunks = [_named(name) for name in names]
        cuts = await self.cuts({author for author, _ in chunks})
        ends = [cuts[author].within(first, first + 1)[0][1] for author, first in chunks]
        return await self._store.execute_many(
            _ROWS,
            [
                (author, first, _bound(end), limit)
                for (author, first), end in zip(chunks, ends, strict=True)
            ],
        )


def _bound(end: int) -> int:
    """Returns an exclusive bound that fits a bigint; no id is as high as the highest of them."""
    return min(end, END - 1)


def _name(author: int, first: int) -> int:
    """Names a chunk by one number whose low half, which decides the bucket, mixes both ids."""
    return author << 64 | (first + author) & _LOW


def _named(name: int) -> tuple[int, int]:
    """Returns author and first id of :func:`_name`."""
    author = name >> 64
    return author, (name - author) & _LOW
