"""What was appended under an idempotency key, kept for a while so that a retry gets the same
answer.

Keeps true: of several appends with one key, one is kept; all of them append its bytes and answer
with its position. A row is written before the event is sent, so that a crash in between leads to
the same bytes being appended by the retry (perhaps a second time: same ``event_id``, and
projections are idempotent).

Bounded: a row lives ``ttl_seconds`` after it was last written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from events.cassandra import Statements
from events.position import Position

TTL_SECONDS = 86_400

_CREATE = """
CREATE TABLE IF NOT EXISTS {keyspace}.idempotency_keys (
    idempotency_key text PRIMARY KEY, digest blob, topic text, record_key blob, value blob,
    headers blob, position text
)"""
_INSERT = """
INSERT INTO {keyspace}.idempotency_keys
    (idempotency_key, digest, topic, record_key, value, headers)
VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?"""
_SELECT = """
SELECT digest, topic, record_key, value, headers, position
FROM {keyspace}.idempotency_keys WHERE idempotency_key = ?"""
# All columns again, so that they end together.
_SETTLE = """
UPDATE {keyspace}.idempotency_keys USING TTL ?
SET digest = ?, topic = ?, record_key = ?, value = ?, headers = ?, position = ?
WHERE idempotency_key = ? IF digest = ? AND position = NULL"""


class StoredAppend(msgspec.Struct, frozen=True):
    """One append, as it is kept under its key.

    Attributes:
        digest: SHA-256 of the command; the same key with another is refused.
        topic: Logical topic.
        key: Record key.
        value: The encoded event.
        headers: Record headers.
        position: Where it is, once that is known.
    """

    digest: bytes
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    position: Position | None = None


class IdempotencyStore(Protocol):
    """Keeps one append for each key."""

    async def put(self, key: str, append: StoredAppend) -> StoredAppend | None:
        """Keep an append under a key that has none.

        Returns:
            The one that the key has; ``None`` when this one was kept.

        Raises:
            StoreUnavailable: It may or may not have been kept.
        """
        ...

    async def get(self, key: str) -> StoredAppend | None:
        """The append of a key.

        Raises:
            StoreUnavailable: It could not be told.
        """
        ...

    async def settle(self, key: str, append: StoredAppend, position: Position) -> Position:
        """Keep the position of an append.

        Returns:
            The position kept: that of whoever came first.

        Raises:
            StoreUnavailable: It may or may not have been kept.
        """
        ...


class CassandraIdempotency:
    """The ``IdempotencyStore`` of a keyspace, by lightweight transactions.

    Args:
        statements: Where to run statements.
        ttl_seconds: How long a key is remembered.
    """

    def __init__(self, statements: Statements, ttl_seconds: int = TTL_SECONDS) -> None:
        self._statements = statements
        self._ttl_seconds = ttl_seconds

    async def create(self) -> None:
        """Create the table when it is missing."""
        await self._statements.create(_CREATE)

    async def put(self, key: str, append: StoredAppend) -> StoredAppend | None:
        """Keep an append under a key that has none; see ``IdempotencyStore``."""
        values = (key, *_columns(append), self._ttl_seconds)
        row = (await self._statements.run(_INSERT, values))[0]
        return None if row["applied"] else _append_of(row)

    async def get(self, key: str) -> StoredAppend | None:
        """The append of a key; see ``IdempotencyStore``."""
        rows = await self._statements.run(_SELECT, (key,), serial=True)
        return _append_of(rows[0]) if rows else None

    async def settle(self, key: str, append: StoredAppend, position: Position) -> Position:
        """Keep the position of an append; see ``IdempotencyStore``."""
        values = (self._ttl_seconds, *_columns(append), str(position), key, append.digest)
        row = (await self._statements.run(_SETTLE, values))[0]
        held = None if row["applied"] else row.get("position")
        return Position.parse(held) if held else position


def _columns(append: StoredAppend) -> tuple[bytes, str, bytes, bytes, bytes]:
    headers = msgspec.msgpack.encode(append.headers)
    return append.digest, append.topic, append.key, append.value, headers


def _append_of(row: Mapping[str, Any]) -> StoredAppend:
    return StoredAppend(
        digest=row["digest"],
        topic=row["topic"],
        key=row["record_key"],
        value=row["value"],
        headers=msgspec.msgpack.decode(row["headers"], type=list[tuple[str, bytes]]),
        position=Position.parse(row["position"]) if row["position"] else None,
    )
