"""Tables, cache and fragment of the accounts unit; writer and reader share this page.

``accounts`` by user id. Every cell is set by records of the user's own partition of ``users``,
with a timestamp that follows from the offset, so nothing is read before it is written:

- what was registered, by the first registration (``first``);
- ``new_…``, what a profile was changed to since, by the last change (``latest``); a change counts
  only where its offset is above the registration's, which the cells' timestamps tell;
- ``deactivated``, by the last of deactivation and reactivation (``latest``);
- ``erased`` and the emptied texts, for good (``final``).

``pins`` by user id: the tweet that the user pinned last, 0 once unpinned (``latest``) or erased
(``final``). Whether it is his and still there is for the reader to know, who has the tweets.

``username_claims`` by folded name, in the order of offsets: every claim and release of it. What a
claim means depends on those before it, so who holds a name is worked out by who reads them (see
``usernames``).

Cache (Redis): ``profile`` by id, the fragment, filled by readers under a lease. Usernames are not
cached.

Bounded by: two rows per user and one per claim and release of a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import msgspec

from projections import fragments, versions

TABLES = {
    "accounts": """
        CREATE TABLE IF NOT EXISTS {table} (
            user_id bigint PRIMARY KEY,
            username text, created_at bigint,
            name text, description text, location text, url text, profile_image_url text,
            new_name text, new_description text, new_location text, new_url text,
            new_profile_image_url text,
            deactivated boolean, erased boolean)""",
    "pins": """
        CREATE TABLE IF NOT EXISTS {table} (user_id bigint PRIMARY KEY, tweet_id bigint)""",
    "username_claims": """
        CREATE TABLE IF NOT EXISTS {table} (
            username_key text, claim_offset bigint, user_id bigint, username text, event_id bigint,
            PRIMARY KEY (username_key, claim_offset))""",
}

PROFILE = ("name", "description", "location", "url", "profile_image_url")
"""Fields of a profile that its owner can change; ``ProfileChanged`` names them the same."""

REGISTER = (
    "INSERT INTO {accounts} (user_id, username, created_at, name, description, location, url,"
    " profile_image_url) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
CHANGE = {
    field: f"INSERT INTO {{accounts}} (user_id, new_{field}) VALUES (?, ?) USING TIMESTAMP ?"
    for field in PROFILE
}
DEACTIVATE = "INSERT INTO {accounts} (user_id, deactivated) VALUES (?, ?) USING TIMESTAMP ?"
ERASE = (
    "INSERT INTO {accounts} (user_id, erased, username, name, description, location, url,"
    " profile_image_url, new_name, new_description, new_location, new_url, new_profile_image_url)"
    " VALUES (?, true, '', '', '', '', '', '', '', '', '', '', '') USING TIMESTAMP ?"
)
READ = (
    "SELECT user_id, deactivated, erased, username, created_at, writetime(created_at), "
    + ", ".join(f"{field}, new_{field}, writetime(new_{field})" for field in PROFILE)
    + " FROM {accounts} WHERE user_id IN ?"
)

PIN = "INSERT INTO {pins} (user_id, tweet_id) VALUES (?, ?) USING TIMESTAMP ?"
READ_PINS = "SELECT user_id, tweet_id FROM {pins} WHERE user_id IN ?"

WRITE_USERNAME = (
    "INSERT INTO {username_claims} (username_key, claim_offset, user_id, username, event_id)"
    " VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
READ_USERNAMES = (
    "SELECT username_key, claim_offset, user_id, username, event_id FROM {username_claims}"
    " WHERE username_key IN ?"
)

USER = "profile"
"""Kind of the cache entry."""

DEACTIVATED = 1
ERASED = 2

_HEADER = Struct("<Bq")


class Named(msgspec.Struct, frozen=True):
    """What a user is called."""

    username: str
    name: str


_NAMED = msgspec.json.Decoder(Named)


class UserFragment(msgspec.Struct, frozen=True, gc=False):
    """A registered user as readers get it.

    ``body`` is the user's JSON object without its closing brace; an erased user's holds the id
    alone. ``pinned_tweet_id`` is 0 where there is none, and may name a tweet that is gone.
    """

    flags: int
    pinned_tweet_id: int
    body: bytes

    @classmethod
    def unpack(cls, data: bytes) -> UserFragment:
        """Reads a cached fragment; the JSON is not looked at."""
        return cls(*(*_HEADER.unpack_from(data), data[_HEADER.size :]))

    @property
    def named(self) -> Named:
        """What the user is called; an erased one is called nothing, and is not asked."""
        return _NAMED.decode(self.body + b"}")

    @property
    def active(self) -> bool:
        """Whether others see this user."""
        return not self.flags

    @property
    def deactivated(self) -> bool:
        """Whether the owner hid the account; it can come back."""
        return bool(self.flags & DEACTIVATED)

    @property
    def erased(self) -> bool:
        """Whether the account is gone for good."""
        return bool(self.flags & ERASED)


class _User(msgspec.Struct, frozen=True):
    """X's user object."""

    id: str
    username: str
    name: str
    description: str
    location: str
    url: str
    profile_image_url: str
    created_at: str


class _ErasedUser(msgspec.Struct, frozen=True):
    id: str


def pack(row: Sequence[Any], pinned: int = 0) -> bytes | None:
    """Builds the fragment of a row of ``READ``; None for a user who never registered.

    Args:
        row: Of ``READ``.
        pinned: The pinned tweet's id, 0 for none.
    """
    user_id, deactivated, erased, username, created_at, registered = row[:6]
    if created_at is None:
        return None
    if erased:
        return _HEADER.pack(ERASED, 0) + fragments.open_object(_ErasedUser(str(user_id)))
    user = _User(
        id=str(user_id),
        username=username,
        created_at=fragments.rfc3339(created_at),
        **_profile(row[6:], versions.offset_of(registered)),
    )
    return _HEADER.pack(DEACTIVATED if deactivated else 0, pinned) + fragments.open_object(user)


def _profile(cells: Sequence[Any], registered: int) -> dict[str, str]:
    """Returns the fields of a profile: as changed after the registration, or as registered."""
    found: dict[str, str] = {}
    for index, field in enumerate(PROFILE):
        value, changed, timestamp = cells[3 * index : 3 * index + 3]
        counts = changed is not None and versions.offset_of(timestamp) > registered
        found[field] = changed if counts else value
    return found


class Claim(msgspec.Struct, frozen=True):
    """Who holds a username.

    Attributes:
        username_key: The folded name.
        username: The name as claimed.
        user_id: The holder.
        event_id: Id of the ``UsernameClaimed`` that won.
        offset: Its offset in its partition of ``usernames``.
    """

    username_key: str
    username: str
    user_id: int
    event_id: int
    offset: int
