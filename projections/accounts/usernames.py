"""Who holds a name: the first claim in the partition wins, until its holder releases it.

What a claim means depends on those before it. So the facts are the records themselves, one row for
each claim and release by name and offset, and who holds the name is worked out when it is read
(:func:`holder`). Nothing is read before it is written: a row is an upsert on a natural key, so
redelivery and zombies change nothing, and a record that comes late, as a redriven one does, has the
effect that it would have had in its place (decision 0111).

Bounded by: one row for each claim and release of a name, of which there are few, since the gateway
refuses to claim a name that is held; ``store.IDS_PER_QUERY_MAX`` names in a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from events.slices import Record
from events.types import UsernameClaimed, UsernameReleased
from projections import versions
from projections.accounts.layout import (
    READ_USERNAMES,
    WRITE_USERNAME,
    Claim,
)
from projections.base import PoisonError
from projections.store import Row, Store

KEY_BYTES_MAX = 65_535
"""Of a folded name; more is no key to the store."""

RELEASED = -1
"""``event_id`` of a release; no id is negative."""


def holder(rows: Iterable[Row]) -> Claim | None:
    """Returns the claim that holds a name.

    Args:
        rows: Of ``READ_USERNAMES``, of one name, ascending by offset.
    """
    held: Claim | None = None
    for key, offset, user_id, username, event_id in rows:
        if event_id == RELEASED:
            if held is not None and held.user_id == user_id:
                held = None
        elif held is None:
            held = Claim(key, username, user_id, event_id, offset)
    return held


def name_rows(record: Record) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields the row of a record of ``usernames``."""
    event, offset, at = record.event, record.offset, versions.latest(record.offset)
    if isinstance(event, UsernameClaimed):
        said = (event.user_id, event.username, event.event_id)
    elif isinstance(event, UsernameReleased):
        said = (event.user_id, "", RELEASED)
    else:
        return
    yield WRITE_USERNAME, (event.username_key, offset, *said, at)


class Usernames:
    """The claims and releases of names, for the worker and for readers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, records: Sequence[Record]) -> None:
        """Writes the claims and releases of a slice.

        Raises:
            PoisonError: a name that cannot be a key.
        """
        for record in records:
            if isinstance(record.event, UsernameClaimed | UsernameReleased):
                size = len(record.event.username_key.encode())
                if not 0 < size <= KEY_BYTES_MAX:
                    told = f"a name of {size} bytes; 1 to {KEY_BYTES_MAX} can be"
                    raise PoisonError(record.offset, told)
        await self._store.write([row for record in records for row in name_rows(record)])

    async def claims(self, keys: Sequence[str]) -> dict[str, Claim]:
        """Returns who holds each folded name; a name that nobody holds has no entry."""
        by_key: dict[str, list[Row]] = {}
        for row in await self._store.execute_in(READ_USERNAMES, keys):
            by_key.setdefault(row[0], []).append(row)
        found = {key: holder(sorted(rows, key=_offset)) for key, rows in by_key.items()}
        return {key: claim for key, claim in found.items() if claim is not None}


def _offset(row: Row) -> int:
    offset: int = row[1]
    return offset
