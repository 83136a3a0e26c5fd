"""A log in memory: topics, partitions by key, offsets with gaps; what was appended stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from events.partitioner import partition_of
from events.slices import Record, Slice
from events.types import Event, key_of, topic_of
from tests.memory.line import Line
from tests.oracle import LogRecord

PARTITIONS = {
    "new-tweets": 2,
    "engagements": 2,
    "social-graph": 2,
    "users": 2,
    "usernames": 1,
    "user-activity": 1,
    "lists": 1,
    "bookmarks": 1,
    "fan-out": 2,
}
"""Topics that units are fed with; few partitions, so that keys meet in them."""

TOPIC_ID = "memory"

Source = tuple[str, int]
"""Topic and partition."""


class MemoryLog:
    """The broker.

    Args:
        partitions: Of each topic.
    """

    def __init__(self, partitions: Mapping[str, int] = PARTITIONS) -> None:
        self._partitions = partitions
        self._records: dict[Source, list[Record]] = {
            (topic, partition): []
            for topic, number in partitions.items()
            for partition in range(number)
        }
        self._ends: dict[Source, int] = dict.fromkeys(self._records, 0)

    def append(self, event: Event, gap: int = 0) -> None:
        """Appends an event to the partition of its key, after so many offsets without a record."""
        topic = topic_of(event)
        source = topic, partition_of(key_of(event), self._partitions[topic])
        self.take(LogRecord(*source, self._ends[source] + gap, event))

    def take(self, record: LogRecord) -> None:
        """Takes in a record where it stands."""
        source = record.topic, record.partition
        self._records[source].append(Record(record.offset, 0, record.event))
        self._ends[source] = record.offset + 1

    def end(self, source: Source) -> int:
        """Returns the next offset of a partition."""
        return self._ends[source]

    def sources(self, topics: frozenset[str]) -> list[Source]:
        """Returns the partitions of topics."""
        return [source for source in self._records if source[0] in topics]

    def slice(self, source: Source, start: int, most: int, below: int) -> Slice | None:
        """Returns the next records of a partition, so many at most, all below an offset."""
        waiting = [r for r in self._records[source] if start <= r.offset < below][:most]
        if not waiting:
            return None
        return Slice(*source, TOPIC_ID, start, waiting[-1].offset + 1, waiting)

    def records(self) -> Iterator[LogRecord]:
        """Yields every record, partition by partition."""
        for (topic, partition), found in self._records.items():
            for record in found:
                yield LogRecord(topic, partition, record.offset, record.event)


class Synced(Protocol):
    """A log whose appended records may be readable later only."""

    log: MemoryLog

    async def sync(self) -> None:
        """Makes what was appended readable."""
        ...


class Appending:
    """The log as one process appends chunks to it, and asks where it ends.

    A :class:`projections.timelines.audience.ChunkLog` and ``keeper.Flow``.
    """

    def __init__(self, on: Synced, line: Line) -> None:
        self._on = on
        self._line = line

    async def append(self, chunks: Sequence[Event]) -> None:
        await self._line.pause()
        for chunk in chunks[: self._line.admit(len(chunks))]:
            self._on.log.append(chunk)
        await self._on.sync()
        if chunks:
            self._line.check()

    async def ends(self, topic: str) -> dict[str, int]:
        await self._line.pause()
        found = self._on.log.sources(frozenset({topic}))
        return {
            f"{topic}/{partition}": self._on.log.end((topic, partition)) for _, partition in found
        }

    async def close(self) -> None:
        """Holds nothing."""
