"""Reads what trends are worked out of: the uses of slots, the counts of blocks.

Bounded by: ``ROWS_PER_QUERY`` rows at a time of one partition; what is kept of a slot is what rule
1 of :mod:`projections.trends.scoring` leaves, whatever is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from projections.store import Store
from projections.trends.layout import (
    BEGAN,
    BLOCK_SECONDS,
    DAY_MS,
    QUIET_MS,
    SHARDS,
    Rules,
    Shape,
    Use,
    shard_of,
)
from projections.trends.scoring import Counts, without_tail

ROWS_PER_QUERY = 5_000

_COLUMNS = "term, author_id, tweet_id, print, tags, written, woeid, country"
_KEY = "scope = ? AND slot = ? AND shard = ?"
_FIRST = f"SELECT {_COLUMNS} FROM {{trend_uses}} WHERE {_KEY} LIMIT ?"
_FROM = f"SELECT {_COLUMNS} FROM {{trend_uses}} WHERE {_KEY} AND term >= ? LIMIT ?"
_OF_TERM = f"SELECT {_COLUMNS} FROM {{trend_uses}} WHERE {_KEY} AND term = ?"
_SLOTS = "SELECT slot FROM {trend_slots} WHERE scope = ? AND day = ?"
_DAYS = "SELECT DISTINCT scope, day FROM {trend_slots}"
_BLOCK = "SELECT counts FROM {trend_blocks} WHERE scope = ? AND window_end = ?"
_SHARD = "SELECT counts FROM {trend_blocks} WHERE scope = ? AND window_end = ? AND shard = ?"
_TOLD = (
    "SELECT found FROM {trend_starts} WHERE scope = ? AND day = ? AND window_end >= ? "
    "AND window_end < ?"
)
_WRITE_BLOCK = (
    "INSERT INTO {trend_blocks} (scope, window_end, shard, counts) VALUES (?, ?, ?, ?) "
    f"USING TIMESTAMP ? AND TTL {BLOCK_SECONDS}"
)

_PACKED = msgspec.msgpack.Decoder(list[tuple[int, str, int]])

SlotUses = dict[str, list[Use]]
"""Uses of one slot, by term."""


class Windows:
    """Reads and writes of what a window is worked out of.

    Args:
        store: The generation's tables.
        scope: Of the rows.
        shape: How time is cut.
        rules: What counts.
    """

    def __init__(self, store: Store, scope: str, shape: Shape, rules: Rules) -> None:
        self._store = store
        self._scope = scope
        self._shape = shape
        self._rules = rules

    async def slot(self, slot: int) -> SlotUses:
        """Returns the uses of a slot that count."""
        found: SlotUses = {}
        for part in await asyncio.gather(*(self._shard(slot, n) for n in range(SHARDS))):
            found |= part
        return found

    async def _shard(self, slot: int, shard: int) -> SlotUses:
        found: SlotUses = {}
        async for term, uses in self._terms(slot, shard):
            found |= without_tail({term: uses}, self._rules)
        return found

    async def _terms(self, slot: int, shard: int) -> AsyncIterator[tuple[str, list[Use]]]:
        """Yields the terms of a shard in order, each with all its uses."""
        limit = ROWS_PER_QUERY
        key = (self._scope, slot, shard)
        rows = await self._store.execute(_FIRST, (*key, limit))
        while rows:
            terms = _grouped(rows)
            if len(rows) < limit:
                for term, uses in terms.items():
                    yield term, uses
                return
            last = next(reversed(terms))
            for term, uses in terms.items():
                if term != last:
                    yield term, uses
            # The last one may go on behind the limit; one that fills a page needs a longer one.
            limit = limit * 2 if len(terms) == 1 else ROWS_PER_QUERY
            rows = await self._store.execute(_FROM, (*key, last, limit))

    async def every(self, slot: int, shard: int) -> SlotUses:
        """Returns all uses of a slot and shard, the tail as well."""
        return {term: uses async for term, uses in self._terms(slot, shard)}

    async def of_term(self, term: str, slots: Iterable[int]) -> list[list[Use]]:
        """Returns every use of one term, by slot."""
        values = [(self._scope, slot, shard_of(term), term) for slot in slots]
        pages = await self._store.execute_many(_OF_TERM, values)
        return [_grouped(rows).get(term, []) for rows in pages]

    async def slots_of_day(self, day: int) -> list[int]:
        """Returns the slots of a day that hold anything, ascending."""
        return [slot for (slot,) in await self._store.execute(_SLOTS, (self._scope, day))]

    async def next_slot(self, slot: int) -> int | None:
        """Returns the first slot from ``slot`` on that holds anything."""
        first = slot * self._shape.slot_ms // DAY_MS
        rows = await self._store.execute(_DAYS)
        for day in sorted(day for scope, day in rows if scope == self._scope and day >= first):
            later = [one for one in await self.slots_of_day(day) if one >= slot]
            if later:
                return min(later)
        return None

    async def block(self, end: int) -> Counts:
        """Returns the counts of a block."""
        return _counts(await self._store.execute(_BLOCK, (self._scope, end)))

    async def day(self, window_end: int, term: str | None = None) -> Counts:
        """Returns what was counted in all blocks of the baseline of a window.

        Args:
            window_end: Its end.
            term: Only this one's.
        """
        keys = [(self._scope, end) for end in self._shape.blocks_before(window_end)]
        if term is None:
            pages = await self._store.execute_many(_BLOCK, keys)
        else:
            shard = shard_of(term)
            pages = await self._store.execute_many(_SHARD, [(*key, shard) for key in keys])
        total: Counts = {}
        for rows in pages:
            add(total, _counts(rows), 1)
        return total if term is None else {key: n for key, n in total.items() if key[1] == term}

    async def told_before(self, end: int) -> set[str]:
        """Returns the terms whose start is told in the ``QUIET_MS`` before a window's end."""
        first = end - QUIET_MS
        days = range(first // DAY_MS, end // DAY_MS + 1)
        values = [(self._scope, day, first, end) for day in days]
        pages = await self._store.execute_many(_TOLD, values)
        return {one.term for page in pages for (body,) in page for one in BEGAN.decode(body)}

    def block_rows(
        self,
        end: int,
        counts: Mapping[tuple[int, str], int],
        token: int,
        shards_known: Iterable[int] = (),
    ) -> list[tuple[str, Any]]:
        """Returns the writes of a block, under the token of whoever leads.

        Args:
            end: Of the block.
            counts: What was counted.
            token: Of whoever leads.
            shards_known: Those that are written although there is nothing in them.
        """
        shards: dict[int, list[tuple[int, str, int]]] = {shard: [] for shard in shards_known}
        for (place, term), counted in sorted(counts.items()):
            shards.setdefault(shard_of(term), []).append((place, term, counted))
        return [
            (_WRITE_BLOCK, (self._scope, end, shard, msgspec.msgpack.encode(part), token))
            for shard, part in shards.items()
        ]


def joined(slots: Iterable[SlotUses]) -> SlotUses:
    """Returns the uses of several slots, in their order."""
    found: SlotUses = {}
    for uses in slots:
        for term, some in uses.items():
            found.setdefault(term, []).extend(some)
    return found


def add(total: Counts, counts: Mapping[tuple[int, str], int], sign: int) -> None:
    """Adds counts to others, or takes them away; what is nothing is not kept."""
    for key, counted in counts.items():
        now = total.get(key, 0) + sign * counted
        if now:
            total[key] = now
        else:
            total.pop(key, None)


def _counts(rows: Sequence[Sequence[Any]]) -> Counts:
    return {
        (place, term): counted for (blob,) in rows for place, term, counted in _PACKED.decode(blob)
    }


def _grouped(rows: Iterable[Sequence[Any]]) -> SlotUses:
    found: SlotUses = {}
    for term, *use in rows:
        found.setdefault(term, []).append(Use(*use))
    return found
