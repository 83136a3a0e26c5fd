"""Who holds a name: the first claim in the partition wins, until its holder releases it.

What a claim means depends on those before it, so a name's row is folded: read at QUORUM, advanced
over the slice's records that it does not know yet, and written whole with the offset of the last
of them as its timestamp.

Why redelivery and zombies change nothing. Let S(o) be what the log says of a name after its
record at offset o. A row read at QUORUM is S(o) for its ``applied_offset`` o, and o is at least
the name's last record below the slice, since that was durable before the slice was begun. The
slice holds every record of the name from there to its end, so folding those above o gives exactly
S(last). Whoever writes with timestamp ``last`` therefore writes the same cells; of different
timestamps the store keeps the highest.

Bounded by: one row per name in a slice, ``store.IDS_PER_QUERY_MAX`` names in a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from events.slices import Record
from events.types import UsernameClaimed, UsernameReleased
from projections import versions
from projections.accounts.layout import (
    READ_USERNAMES,
    WRITE_USERNAME,
    Claim,
)
from projections.store import Row, Store

NOBODY = 0
"""``user_id`` of a name that was released; a null would be a tombstone."""


class _Name(msgspec.Struct):
    """What is known of a name up to ``applied``, the offset of its last record."""

    user_id: int = NOBODY
    username: str = ""
    event_id: int = 0
    claim_offset: int = 0
    applied: int = -1

    def advance(self, offset: int, event: UsernameClaimed | UsernameReleased) -> None:
        """Folds the name's next record in; one that is known already changes nothing."""
        if offset <= self.applied:
            return
        self.applied = offset
        if isinstance(event, UsernameClaimed):
            if self.user_id == NOBODY:
                self.user_id, self.username = event.user_id, event.username
                self.event_id, self.claim_offset = event.event_id, offset
        elif self.user_id == event.user_id:
            self.user_id, self.username, self.event_id, self.claim_offset = NOBODY, "", 0, 0


class Usernames:
    """The rows of ``usernames``, for the worker and for readers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, records: Iterable[Record]) -> None:
        """Folds the claims and releases of a slice: 1. read, 2. advance, 3. write."""
        known: dict[str, _Name] = {}
        events: list[tuple[int, UsernameClaimed | UsernameReleased]] = [
            (record.offset, record.event)
            for record in records
            if isinstance(record.event, UsernameClaimed | UsernameReleased)
        ]
        for row in await self._rows(list({event.username_key for _, event in events})):  # 1
            known[row[0]] = _Name(*row[1:])
        before = {key: name.applied for key, name in known.items()}
        for offset, event in events:  # 2
            known.setdefault(event.username_key, _Name()).advance(offset, event)
        await self._store.write(  # 3
            [
                (WRITE_USERNAME, _values(key, name))
                for key, name in known.items()
                if name.applied != before.get(key)
            ]
        )

    async def claims(self, keys: Sequence[str]) -> dict[str, Claim]:
        """Returns who holds each folded name; a name that nobody holds has no entry."""
        return {
            key: Claim(key, username, user_id, event_id, claim_offset)
            for key, user_id, username, event_id, claim_offset, _ in await self._rows(keys)
            if user_id != NOBODY
        }

    async def _rows(self, keys: Sequence[str]) -> list[Row]:
        return await self._store.execute_in(READ_USERNAMES, keys)


def _values(key: str, name: _Name) -> tuple[Any, ...]:
    return (
        key,
        name.user_id,
        name.username,
        name.event_id,
        name.claim_offset,
        name.applied,
        versions.latest(name.applied),
    )
