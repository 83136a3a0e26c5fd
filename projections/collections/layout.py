"""Tables, caches and fragment of the collections unit; writer and reader share this page.

Facts (Cassandra), each cell with a write timestamp that follows from its record's offset
(:mod:`projections.versions`):

- ``lists`` by list and *who speaks of it*: what was created, by the first creation (``first``);
  ``new_…``, what it was changed to, by the last change (``latest``); ``deleted`` and the emptied
  texts, for good (``final``). All
  records of a list come by one partition, so the row with the earliest creation is the owner's;
  what anybody else says of the list lands in another row, where it changes nothing.
- ``list_members`` by list and who speaks of it: per member the event id of the last addition, 0
  after a removal.
- ``lists_of`` by user, newest first: the lists that the user created, and whether the user deleted
  them. Who owns them is said by ``lists``.
- ``bookmarks`` by user and tweet: the event id of the bookmark, 0 once taken back. The membership.
- ``bookmarks_of`` by user, newest first: the order. A row counts only while ``bookmarks`` still
  names its event (:mod:`projections.listing`).

Caches (Redis), filled by readers under a lease: ``list`` by id, the fragment with its count, and
``list_members`` by id, the members packed. Lists of a user and bookmarks are not cached.

Bounded by: a row per list, per user who was ever in it, and per bookmark; ``Limits``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

import msgspec

from projections import fragments, versions

TABLES = {
    "lists": """
        CREATE TABLE IF NOT EXISTS {table} (
            list_id bigint, user_id bigint, created_at bigint,
            name text, description text, private boolean,
            new_name text, new_description text, new_private boolean, deleted boolean,
            PRIMARY KEY (list_id, user_id))""",
    "list_members": """
        CREATE TABLE IF NOT EXISTS {table} (
            list_id bigint, user_id bigint, member_id bigint, event_id bigint,
            PRIMARY KEY ((list_id, user_id), member_id))""",
    "lists_of": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, list_id bigint, deleted boolean,
            PRIMARY KEY (user_id, list_id))
        WITH CLUSTERING ORDER BY (list_id DESC)""",
    "bookmarks": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, tweet_id bigint, event_id bigint,
            PRIMARY KEY (user_id, tweet_id))""",
    "bookmarks_of": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint, event_id bigint, tweet_id bigint,
            PRIMARY KEY (user_id, event_id, tweet_id))
        WITH CLUSTERING ORDER BY (event_id DESC, tweet_id DESC)""",
}

CHANGEABLE = ("name", "description", "private")
"""Fields of a list that its owner can change; ``ListChanged`` names them the same."""

LIST = "list"
MEMBERS = "list_members"
"""Kinds of the cache entries."""

PRIVATE = 1

_HEADER = Struct("<qIB")


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a collection; X's (help centre, "About Lists").

    Attributes:
        members_max: Members of one list. Commands refuse one more; where the log holds more all the
            same (commands that raced, another producer), those with the lowest ids count.
        lists_max: Lists of one user. Commands refuse one more.
    """

    members_max: int = 5_000
    lists_max: int = 1_000


LIMITS = Limits()


class ListFragment(msgspec.Struct, frozen=True, gc=False):
    """A list as readers get it.

    ``body`` is the list's JSON object without its closing brace.
    """

    owner_id: int
    member_count: int
    flags: int
    body: bytes

    @classmethod
    def unpack(cls, data: bytes) -> ListFragment:
        """Reads a cached fragment; the JSON is not looked at."""
        return cls(*(*_HEADER.unpack_from(data), data[_HEADER.size :]))

    @property
    def private(self) -> bool:
        """Whether only the owner sees the list."""
        return bool(self.flags & PRIVATE)

    def shown_to(self, user_id: int) -> bool:
        """Says whether a user may see the list."""
        return not self.private or self.owner_id == user_id


class _List(msgspec.Struct, frozen=True):
    """X's list object."""

    id: str
    name: str
    description: str
    private: bool
    owner_id: str
    created_at: str
    member_count: int


class StoredList(msgspec.Struct, frozen=True):
    """A list that stands, as the store has it."""

    list_id: int
    owner_id: int
    created_at: int
    name: str
    description: str
    private: bool

    def pack(self, member_count: int) -> bytes:
        """Builds the fragment."""
        shown = _List(
            id=str(self.list_id),
            name=self.name,
            description=self.description,
            private=self.private,
            owner_id=str(self.owner_id),
            created_at=fragments.rfc3339(self.created_at),
            member_count=member_count,
        )
        flags = PRIVATE if self.private else 0
        return _HEADER.pack(self.owner_id, member_count, flags) + fragments.open_object(shown)


COLUMNS = (
    "list_id, user_id, created_at, writetime(created_at), deleted, "
    "name, description, private, new_name, new_description, new_private"
)
"""Columns of ``lists`` that :func:`standing` reads."""


def standing(rows: Iterable[Sequence[Any]]) -> dict[int, StoredList]:
    """Returns the lists that stand among rows of ``COLUMNS``: created, and not deleted by the
    owner, who is whose creation came first."""
    owners: dict[int, tuple[int, Sequence[Any]]] = {}
    for row in rows:
        list_id, created_at, timestamp = row[0], row[2], row[3]
        if created_at is None:
            continue
        offset = versions.offset_of(timestamp)
        if list_id not in owners or offset < owners[list_id][0]:
            owners[list_id] = (offset, row)
    return {list_id: _stored(row) for list_id, (_, row) in owners.items() if not row[4]}


def _stored(row: Sequence[Any]) -> StoredList:
    list_id, owner_id, created_at = row[:3]
    said, changed = row[5:8], row[8:11]
    name, description, private = (
        before if now is None else now for before, now in zip(said, changed, strict=True)
    )
    return StoredList(list_id, owner_id, created_at, name, description, private)
