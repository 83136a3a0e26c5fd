"""The collections unit's writing side: lists and their members from ``lists``, and ``bookmarks``.

1. Write the facts at QUORUM.
2. Forget the cached entries of the lists concerned and move the position, in one script a bucket.

Exactly-once effect: natural. Nothing is read before it is written: every cell is an upsert on a
natural key whose timestamp follows from its record's offset, and who speaks is part of the key
(:mod:`projections.collections.layout`), so a slice may be applied twice, cut differently, or late
by a worker that lost its partition, and nobody but the owner changes a list. What the owner says
counts whichever came first: a list that was ever deleted stays so.

Bounded by: ``ROWS_MAX`` rows in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from events.slices import Record, Slice
from events.types import (
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
    TweetBookmarked,
    TweetUnbookmarked,
)
from projections import versions
from projections.collections.layout import CHANGEABLE, LIST, MEMBERS, TABLES
from projections.positions import Effect, forget
from projections.unit import StoredUnit

NAME = "collections"
TOPICS = frozenset({"lists", "bookmarks", "redrive"})

ROWS_MAX = 2048
"""Records whose rows are built before they are written."""

ListEvent = ListCreated | ListChanged | ListDeleted | ListMemberAdded | ListMemberRemoved
Row = tuple[str, Sequence[Any]]

_CREATED = (
    "INSERT INTO {lists} (list_id, user_id, created_at, name, description, private) "
    "VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_CHANGED = {
    field: f"INSERT INTO {{lists}} (list_id, user_id, new_{field}) VALUES (?, ?, ?) "
    "USING TIMESTAMP ?"
    for field in CHANGEABLE
}
_DELETED = (
    "INSERT INTO {lists} (list_id, user_id, deleted, name, description, new_name, new_description) "
    "VALUES (?, ?, true, '', '', '', '') USING TIMESTAMP ?"
)
_OF_USER = "INSERT INTO {lists_of} (user_id, list_id, deleted) VALUES (?, ?, ?) USING TIMESTAMP ?"
_MEMBER = (
    "INSERT INTO {list_members} (list_id, user_id, member_id, event_id) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_BOOKMARK = (
    "INSERT INTO {bookmarks} (user_id, tweet_id, event_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
)
_BOOKMARK_OF = (
    "INSERT INTO {bookmarks_of} (user_id, event_id, tweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
)


class Collections(StoredUnit):
    """The writing side; see :mod:`projections.collections.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables = TABLES
    kinds = frozenset({LIST, MEMBERS})

    async def apply(self, piece: Slice) -> None:
        """Applies a slice of either topic; what it says is readable when this returns."""
        for begin in range(0, len(piece.records), ROWS_MAX):
            records = piece.records[begin : begin + ROWS_MAX]
            await self._store.write([row for record in records for row in rows_of(record)])  # 1
        effects: dict[int, list[Effect]] = {}
        events = (record.event for record in piece.records)
        for list_id in {event.list_id for event in events if isinstance(event, ListEvent)}:
            bucket = effects.setdefault(self._keys.bucket(list_id), [])
            bucket += (forget(self._keys.of(kind, list_id)) for kind in (LIST, MEMBERS))
        await self._positions.commit(piece, effects)  # 2


def rows_of(record: Record) -> Iterator[Row]:
    """Yields the upserts that one record comes to."""
    event, latest, first = (
        record.event,
        versions.latest(record.offset),
        versions.first(record.offset),
    )
    match event:
        case ListCreated(list_id=list_id, user_id=user):
            fields = (getattr(event, field) for field in CHANGEABLE)
            yield _CREATED, (list_id, user, event.occurred_at, *fields, first)
            yield _OF_USER, (user, list_id, False, first)
        case ListChanged(list_id=list_id, user_id=user):
            for field in CHANGEABLE:
                value = getattr(event, field)
                if value is not None:
                    yield _CHANGED[field], (list_id, user, value, latest)
        case ListDeleted(list_id=list_id, user_id=user):
            yield _DELETED, (list_id, user, versions.final(record.offset))
            yield _OF_USER, (user, list_id, True, latest)
        case ListMemberAdded(list_id=list_id, user_id=user, member_id=member):
            yield _MEMBER, (list_id, user, member, event.event_id, latest)
        case ListMemberRemoved(list_id=list_id, user_id=user, member_id=member):
            yield _MEMBER, (list_id, user, member, 0, latest)
        case TweetBookmarked(user_id=user, tweet_id=tweet):
            yield _BOOKMARK, (user, tweet, event.event_id, latest)
            yield _BOOKMARK_OF, (user, event.event_id, tweet, latest)
        case TweetUnbookmarked(user_id=user, tweet_id=tweet):
            yield _BOOKMARK, (user, tweet, 0, latest)
        case _:
            return
