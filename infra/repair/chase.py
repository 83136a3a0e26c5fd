"""A register that is written again and again at the log's end, until its worker counts on from it.

A look of a repair takes tenths of a second. A worker whose every slice speaks of the key has
written the next register meanwhile, from the wrong one; a repair that looks, writes and looks again
is outrun for as long as the traffic lasts. So the partition is followed by a reader that stays at
its end, and what it has counted is written after each batch:

- what is written at an end beats whatever is written by slices of records below it;
- the first slice whose registers are read after such a write counts on from what is right, and from
  there on the worker's registers and these are the same numbers.

A slice that read before may still write after. That is for the next look, which waits for the
worker to pass all of it.

Bounded by: ``CHASE_S_MAX`` a chase; it ends early once ``SETTLED_READS`` reads on end were right.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from events.slices import LogRecord
from infra.demo.convergence import LogView
from infra.repair.cells import Cell, Row, Write, written
from infra.repair.log import Place
from infra.repair.rows import Rows, parts_of
from infra.repair.targets import sliced
from projections.engagement import children, likes
from projections.engagement.layout import Family, Likes
from projections.engagement.tally import (
    Child,
    Referral,
    advance,
    child_of,
    recount,
    replay,
    retally,
)
from projections.store import Store

CHASE_S_MAX = 20.0
SETTLED_READS = 20


class Chased(Protocol):
    """Registers of one partition, by position, as its records come."""

    place: Place

    def add(self, records: Sequence[LogRecord]) -> None:
        """Takes in the next records of the partition."""
        ...

    def rows(self, position: int) -> list[Write]:
        """Returns the registers of a position that was reached."""
        ...


class Registers:
    """The registers that one partition gives a tweet, by position, as its records come.

    Args:
        tweet_id: The tweet.
        place: The partition.
    """

    def __init__(self, tweet_id: int, place: Place) -> None:
        self.tweet_id = tweet_id
        self.place = place
        self.source = f"{place[0]}/{place[1]}"
        self._likes, self._likers = Likes(), set[int]()
        self._family = Family()
        self._children: dict[Child, Referral] = {}
        self._positions: list[int] = [0]
        self._values: list[Likes | Family] = [self._now()]

    def add(self, records: Sequence[LogRecord]) -> None:
        """Takes in the next records of the partition, those that speak of the tweet among them."""
        for one in records:
            record = sliced(one)
            if self.place[0] == "engagements":
                if getattr(one.event, "tweet_id", None) != self.tweet_id:
                    continue
                self._likes = recount(self._likes, [record], self._likers)
            else:
                child = child_of(record)
                if child is None:
                    continue
                known = {child: self._children[child]} if child in self._children else {}
                changes = [c for c in replay(known, [record]) if c.parent_id == self.tweet_id]
                found = retally({self.tweet_id: self._family}, changes)
                self._family = found.get(self.tweet_id, self._family)
                self._children[child] = advance(known.get(child, Referral()), record)
            self._positions.append(record.offset + 1)
            self._values.append(self._now())

    def row(self, position: int) -> Write:
        """Returns the register of a position that was reached."""
        at = self._values[bisect_right(self._positions, position) - 1]
        if isinstance(at, Likes):
            now = Likes(position, at.likes, at.views)
            return likes.register_rows(self.source, {self.tweet_id: now})[0]
        return children.register_rows(self.source, {self.tweet_id: Family(position, at.counts)})[0]

    def rows(self, position: int) -> list[Write]:
        """See :class:`Chased`."""
        return [self.row(position)]

    def _now(self) -> Likes | Family:
        return self._likes if self.place[0] == "engagements" else self._family


async def chase(
    registers: Chased,
    start: int,
    view: LogView,
    store: Store,
    rows: Rows,
    forget: Callable[[], Awaitable[None]],
) -> None:
    """Writes a partition's register at its end until what is stored stays right.

    Args:
        registers: Of the records below ``start``.
        start: Offset of the next record.
        view: The log; it is this one's until it returns.
        store: The unit's tables.
        rows: The same, as a repair reads them.
        forget: Forgets what is cached of the key.

    Raises:
        RetryableError, KafkaException: an engine is away.
    """
    deadline = time.monotonic() + CHASE_S_MAX
    settled = 0
    async with aclosing(view.follow({registers.place: start})) as batches:
        async for records, upto in batches:
            end = upto[registers.place]
            registers.add(records)
            asked = [written(write, rows.keys).row for write in registers.rows(end)]
            for write in registers.rows(end):
                await store.execute(*write)
            await forget()
            stored = await rows.read(parts_of(asked, rows.keys))
            # Where the worker is ahead by a batch, nothing can be said.
            seen = {row: cells for row, cells in stored.items() if _position(cells) <= end}
            are_right = (_is_right(registers, row, cells, rows) for row, cells in seen.items())
            settled = settled + bool(seen) if all(are_right) else 0
            if settled >= SETTLED_READS or time.monotonic() > deadline:
                return


def _is_right(registers: Chased, row: Row, cells: Mapping[str, Cell], rows: Rows) -> bool:
    at = (written(write, rows.keys) for write in registers.rows(_position(cells)))
    stored = {name: cell.value for name, cell in cells.items()}
    return any(one.row == row and one.cells == stored for one in at)


def _position(cells: Mapping[str, Cell]) -> int:
    return int(cells["position"].value) if "position" in cells else 0
