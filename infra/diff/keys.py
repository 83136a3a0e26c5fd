"""Which keys there are: those that the facts' tables of a generation have a partition for.

Every key is found in the order of the store's tokens, a page at a time, so that the keys of several
tables and generations are merged without being held. A sample is drawn at random tokens, each from
a table and generation by turns, so that a key that only one of them has is found as well.

Bounded by: ``PAGE`` keys of each table in memory.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any, TypeAlias

import msgspec

from projections.store import Store

PAGE = 500
DRAWS_PER_KEY_MAX = 4
LOWEST = -(1 << 63)

Key: TypeAlias = int | str | tuple[Any, ...]
"""One value where a table's partition key is one column, else all of them."""


class Table(msgspec.Struct, frozen=True):
    """A table of facts, and the columns of its partition key."""

    name: str
    columns: tuple[str, ...]


def _query(table: Table) -> str:
    columns = ", ".join(table.columns)
    return (
        f"SELECT DISTINCT token({columns}), {columns} FROM {{{table.name}}} "
        f"WHERE token({columns}) > ? LIMIT ?"
    )


async def _page(store: Store, table: Table, after: int, limit: int) -> list[tuple[int, Key]]:
    rows = await store.execute(_query(table), (after, limit))
    return [(token, rest[0] if len(rest) == 1 else tuple(rest)) for token, *rest in rows]


class _Stream:
    """The keys of one table in the order of their tokens."""

    def __init__(self, store: Store, table: Table) -> None:
        self._store, self._table = store, table
        self._page: list[tuple[int, Key]] = []
        self._at = 0
        self._after = LOWEST
        self._ended = False

    async def next(self) -> tuple[int, Key] | None:
        """Returns the next key with its token; None at the end."""
        if self._at == len(self._page):
            if self._ended:
                return None
            self._page = await _page(self._store, self._table, self._after, PAGE)
            self._at, self._ended = 0, len(self._page) < PAGE
            if not self._page:
                return None
            self._after = self._page[-1][0]
        self._at += 1
        return self._page[self._at - 1]


async def every(stores: Sequence[Store], tables: Sequence[Table]) -> AsyncIterator[Key]:
    """Yields each key that any of the tables has in any of the stores, once."""
    streams = [_Stream(store, table) for store in stores for table in tables]
    heap: list[tuple[int, str, int, Key]] = []
    for number, stream in enumerate(streams):
        await _push(heap, number, stream)
    last: Key | None = None
    while heap:
        _, _, number, key = heapq.heappop(heap)
        await _push(heap, number, streams[number])
        if key != last:
            yield key
        last = key


async def _push(heap: list[tuple[int, str, int, Key]], number: int, stream: _Stream) -> None:
    found = await stream.next()
    if found is not None:
        token, key = found
        heapq.heappush(heap, (token, str(key), number, key))


async def sampled(
    stores: Sequence[Store], tables: Sequence[Table], random: Random, size: int
) -> AsyncIterator[Key]:
    """Yields up to ``size`` keys: all where there are no more, else those at random tokens."""
    first: list[Key] = []
    async for key in every(stores, tables):
        first.append(key)
        if len(first) > size:
            break
    if len(first) <= size:
        for key in first:
            yield key
        return
    seen: set[Key] = set()
    places = [(store, table) for store in stores for table in tables]
    for draw in range(size * DRAWS_PER_KEY_MAX):
        store, table = places[draw % len(places)]
        token = random.randrange(LOWEST, -LOWEST)
        found = await _page(store, table, token, 1) or await _page(store, table, LOWEST, 1)
        if found and found[0][1] not in seen:
            seen.add(found[0][1])
            yield found[0][1]
        if len(seen) == size:
            return
