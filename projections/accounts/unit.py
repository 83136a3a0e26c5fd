"""The accounts unit's writing side: profiles from ``users``, holders of names from ``usernames``.

1. Write the facts at QUORUM.
2. Forget the cached fragments of the users concerned and move the position, in one script a bucket.

Exactly-once effect: natural; every cell is an upsert whose timestamp follows from its record's
offset (:mod:`projections.accounts.layout`), and of names every claim and release is a row of its
own (:mod:`projections.accounts.usernames`). The two topics are
recorded apart and meet nowhere: a profile does not wait for its name's claim, nor a change for
its registration.

Bounded by: ``ROWS_MAX`` rows in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from events.slices import Record, Slice
from events.types import (
    ProfileChanged,
    TweetPinned,
    TweetUnpinned,
    UserDeactivated,
    UserErased,
    UserReactivated,
    UserRegistered,
)
from projections import versions
from projections.accounts import layout
from projections.accounts.usernames import Usernames
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import Effect, forget
from projections.store import Store
from projections.unit import StoredUnit

NAME = "accounts"
TOPICS = frozenset({"users", "usernames", "redrive"})

ROWS_MAX = 4096
"""Records whose rows are built before they are written."""

Row = tuple[str, tuple[Any, ...]]
UserEvent = (
    UserRegistered
    | ProfileChanged
    | UserDeactivated
    | UserReactivated
    | UserErased
    | TweetPinned
    | TweetUnpinned
)


class Accounts(StoredUnit):
    """The writing side; see :mod:`projections.accounts.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables = layout.TABLES
    kinds = frozenset({layout.USER})

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        super().__init__(bus, store, keys)
        self._usernames = Usernames(store)

    async def apply(self, piece: Slice) -> None:
        """Applies a slice of either topic; what it says is readable when this returns."""
        effects: dict[int, list[Effect]] = {}
        for begin in range(0, len(piece.records), ROWS_MAX):  # 1
            records = piece.records[begin : begin + ROWS_MAX]
            if piece.about == "usernames":
                await self._usernames.record(records)
            else:
                await self._store.write([row for record in records for row in rows_of(record)])
                self._forget(records, effects)
        await self._positions.commit(piece, effects)  # 2

    def _forget(self, records: list[Record], effects: dict[int, list[Effect]]) -> None:
        events = (record.event for record in records)
        for user_id in {event.user_id for event in events if isinstance(event, UserEvent)}:
            bucket = effects.setdefault(self._keys.bucket(user_id), [])
            bucket.append(forget(self._keys.of(layout.USER, user_id)))


def rows_of(record: Record) -> Iterator[Row]:
    """Yields the statements and values that one record of ``users`` comes to."""
    event, offset = record.event, record.offset
    latest = versions.latest(offset)
    match event:
        case UserRegistered():
            profile = (getattr(event, field) for field in layout.PROFILE)
            registered = (event.user_id, event.username, event.created_at, *profile)
            yield layout.REGISTER, (*registered, versions.first(offset))
        case ProfileChanged():
            for field in layout.PROFILE:
                value = getattr(event, field)
                if value is not None:
                    yield layout.CHANGE[field], (event.user_id, value, latest)
        case UserDeactivated():
            yield layout.DEACTIVATE, (event.user_id, True, latest)
        case UserReactivated():
            yield layout.DEACTIVATE, (event.user_id, False, latest)
        case UserErased():
            yield layout.ERASE, (event.user_id, versions.final(offset))
            yield layout.PIN, (event.user_id, 0, versions.final(offset))
        case TweetPinned():
            yield layout.PIN, (event.user_id, event.tweet_id, latest)
        case TweetUnpinned():
            yield layout.PIN, (event.user_id, 0, latest)
        case _:
            return
