"""A toy unit whose state is one SQLite file, so that what a worker did can be counted exactly.

``apply`` writes, in one transaction, a row per record and the position; records below the position
change nothing. ``seen`` counts how often each record had an effect, ``calls`` how often a slice was
applied at all, redelivery included.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from events.codec import Decoded, Failure
from events.errors import MalformedEvent
from events.slices import Slice
from events.types import Event
from projections.base import ForeignTopic

Hook = Callable[[Slice], Awaitable[None]]


class Number(Event, frozen=True, kw_only=True):
    """The toy event: one number."""

    value: int


class ToyDecoder:
    """Reads 8 bytes as a number; anything else can never be decoded."""

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Decoded:
        events: list[Event | None] = []
        failures = []
        for index, value in enumerate(values):
            event = None
            if value is not None and len(value) == 8:
                number = int.from_bytes(value)
                event = Number(event_id=number, occurred_at=0, value=number)
            elif value is not None:
                failures.append(Failure(index, MalformedEvent(f"{len(value)} bytes, not 8")))
            events.append(event)
        return Decoded(events, failures)


class ToyState:
    """The file, seen from a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
            "CREATE TABLE IF NOT EXISTS seen (source TEXT, offset INT, value INT, times INT,"
            " PRIMARY KEY (source, offset));"
            "CREATE TABLE IF NOT EXISTS position (source TEXT PRIMARY KEY, topic_id TEXT, at INT);"
            "CREATE TABLE IF NOT EXISTS calls (start INT, end INT, source TEXT, worker TEXT);"
        )

    def values(self) -> list[int]:
        return [row[0] for row in self.db.execute("SELECT value FROM seen ORDER BY value")]

    def times_max(self) -> int:
        return int(self.db.execute("SELECT max(times) FROM seen").fetchone()[0])

    def positions(self) -> dict[str, int]:
        return dict(self.db.execute("SELECT source, at FROM position"))

    def calls(self) -> list[tuple[int, int]]:
        return list(self.db.execute("SELECT start, end FROM calls ORDER BY rowid"))

    def workers(self) -> set[str]:
        return {row[0] for row in self.db.execute("SELECT DISTINCT worker FROM calls")}

    def set_position(self, source: str, topic_id: str, at: int) -> None:
        self.db.execute("REPLACE INTO position VALUES (?, ?, ?)", (source, topic_id, at))


class ToyUnit:
    """The projection under the worker under test."""

    def __init__(
        self,
        path: Path,
        topics: Iterable[str] = ("numbers",),
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        worker: str = "only",
    ) -> None:
        self.name = "toy"
        self.topics = frozenset(topics)
        self.state = ToyState(path)
        self.before = before
        self.after = after
        self.worker = worker
        self.beats = 0
        self.beat: Callable[[], Awaitable[None]] | None = None
        self.opened = False
        self.closed = False

    async def open(self) -> None:
        self.opened = True

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        row = self.state.db.execute(
            "SELECT topic_id, at FROM position WHERE source = ?", (f"{topic}/{partition}",)
        ).fetchone()
        if row is None:
            return None
        if row[0] != topic_id:
            raise ForeignTopic(f"the position is of topic {row[0]}")
        return int(row[1])

    async def apply(self, piece: Slice) -> None:
        if self.before:
            await self.before(piece)
        self._write(piece)
        if self.after:
            await self.after(piece)
        await asyncio.sleep(0)

    def _write(self, piece: Slice) -> None:
        db = self.state.db
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT at FROM position WHERE source = ?", (piece.source,)).fetchone()
        at = row[0] if row else 0
        db.executemany(
            "INSERT INTO seen VALUES (?, ?, ?, 1)"
            " ON CONFLICT (source, offset) DO UPDATE SET times = times + 1",
            [
                (piece.source, record.offset, record.event.event_id)
                for record in piece.records
                if record.offset >= at
            ],
        )
        db.execute(
            "REPLACE INTO position VALUES (?, ?, ?)",
            (piece.source, piece.topic_id, max(at, piece.end)),
        )
        db.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?)",
            (piece.start, piece.end, piece.source, self.worker),
        )
        db.execute("COMMIT")

    async def heartbeat(self) -> None:
        self.beats += 1
        if self.beat:
            await self.beat()

    async def close(self) -> None:
        self.closed = True
