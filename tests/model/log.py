"""A log in memory: topics, partitions by key, offsets with gaps; what was appended stays.

A record's value is a number in place of Avro (:class:`Shelf`), or one that no process can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka.structs import ConsumerRecord
from faust.types import TP
from msgspec.structs import replace

from events.codec import Decoded, Failure
from events.errors import MalformedEvent
from events.partitioner import partition_of
from events.ranges import Raw
from events.slices import LogRecord
from events.types import Event, key_of, topic_of
from streams.decisions import DEAD_LETTERS, REDRIVE
from streams.ledger import RawSlice
from tests.memory.line import Line

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
    REDRIVE: 1,
}
"""Topics that units are fed with; few partitions, so that keys meet in them."""

TOPIC_ID = "memory"

Source = tuple[str, int]
"""Topic and partition."""

FIRST_MS = 1_600_000_000_000
"""When the log begins: after the accounts, by their ids, and long ago by the machine's clock, so
that every slice has to look for decisions (``streams.decisions``)."""

TICK_MS = 500
"""What passes from one record to the next."""


class Place(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


class Shelf:
    """What values mean; in place of the codec and the registry."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._understood: set[bytes] = set()

    def understand(self, event: Event) -> None:
        """Lets processes read from now on what nobody could, as a newer release may."""
        at = next(at for at, known in enumerate(self._events) if known is event)
        self._understood.add(b"?%d" % at)

    def encode(self, event: Event, *, garbled: bool = False) -> bytes:
        """Returns the value of an event, or one that nobody can read."""
        self._events.append(event)
        return b"%s%d" % (b"?" if garbled else b"", len(self._events) - 1)

    def decode(self, value: bytes) -> Event:
        """Returns what a value says."""
        return self._events[int(value.removeprefix(b"?"))]

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Decoded:
        """As :meth:`events.codec.Codec.decode_batch`.

        What is understood by now is so where it stands in the log, and not as it is sent back
        (``anew``): generations might else disagree whether an attempt failed.
        """
        bad = {
            at
            for at, value in enumerate(values)
            if value is not None and value[:1] == b"?" and (anew or value not in self._understood)
        }
        events = [
            None if value is None or at in bad else self.decode(value)
            for at, value in enumerate(values)
        ]
        return Decoded(events, [Failure(at, MalformedEvent("garbled")) for at in sorted(bad)])


class MemoryLog:
    """The broker; to workers also `streams.decisions.Reads`.

    Args:
        partitions: Of each topic.
    """

    def __init__(self, partitions: Mapping[str, int] = PARTITIONS) -> None:
        self.shelf = Shelf()
        self.garbled: dict[Place, Event] = {}
        """What records were meant to say that nobody can read."""
        self.letters: list[Raw] = []
        """The topic of dead letters, one partition."""
        self._partitions = partitions
        self._records: dict[Source, list[ConsumerRecord[bytes, bytes]]] = {
            (topic, partition): []
            for topic, number in partitions.items()
            for partition in range(number)
        }
        self._ends: dict[Source, int] = dict.fromkeys(self._records, 0)
        self._now_ms = FIRST_MS

    def now_ms(self) -> int:
        """Returns the log's time; every record is appended somewhat later than the one before."""
        return self._now_ms

    def append(self, event: Event, gap: int = 0, *, garbled: bool = False) -> None:
        """Appends an event to the partition of its key, after so many offsets without a record."""
        topic = topic_of(event)
        source = topic, partition_of(key_of(event), self._partitions[topic])
        self._now_ms += TICK_MS
        record = LogRecord(*source, self._ends[source] + gap, event, self._now_ms)
        self.take(record, garbled=garbled)

    def take(self, record: LogRecord, *, garbled: bool = False) -> None:
        """Takes in a record where it stands."""
        topic, partition, offset, event, appended_at = record
        value = self.shelf.encode(event, garbled=garbled)
        if garbled:
            self.garbled[Place(topic, partition, offset)] = event
        self._records[topic, partition].append(
            ConsumerRecord(topic, partition, offset, appended_at, 1, None, value, None, 0, 0, ())
        )
        self._ends[topic, partition] = offset + 1

    def end(self, source: Source) -> int:
        """Returns the next offset of a partition."""
        return self._ends[source]

    def sources(self, topics: frozenset[str]) -> list[Source]:
        """Returns the partitions of topics."""
        return [source for source in self._records if source[0] in topics]

    def slice(self, source: Source, start: int, most: int, below: int) -> RawSlice | None:
        """Returns the next records of a partition, so many at most, all below an offset."""
        waiting = [r for r in self._records[source] if start <= r.offset < below][:most]
        if not waiting:
            return None
        return RawSlice(TP(*source), start, waiting[-1].offset + 1, waiting)

    def records(self, topic: str) -> list[LogRecord]:
        """Returns every record of a topic that can be read, partition by partition."""
        return [
            LogRecord(*source, record.offset, self.shelf.decode(record.value), record.timestamp)
            for source in self.sources(frozenset({topic}))
            for record in self._records[source]
            if Place(*source, record.offset) not in self.garbled
        ]

    # --- reading at will ---

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        if topic == DEAD_LETTERS:
            return {0: (0, len(self.letters))}
        return {of: (0, self._ends[topic, of]) for _, of in self.sources(frozenset({topic}))}

    async def read(self, topic: str, partition: int, start: int, end: int) -> list[Raw]:
        if topic == DEAD_LETTERS:
            return self.letters[start:end]
        found = [r for r in self._records[topic, partition] if start <= r.offset < end]
        return [Raw(record.offset, record.timestamp, None, record.value, []) for record in found]

    async def one(self, topic: str, partition: int, offset: int) -> Raw | None:
        found = await self.read(topic, partition, offset, offset + 1)
        return found[0] if found else None


class Synced(Protocol):
    """A log whose appended records may be readable later only."""

    log: MemoryLog

    async def sync(self) -> None:
        """Makes what was appended readable."""
        ...


class Appending:
    """The log as one process appends chunks to it, and asks where it ends.

    A :class:`projections.timelines.audience.ChunkLog` and ``keeper.Flow``.

    Args:
        on: The engines.
        line: What the process is connected by.
        generation: Whose chunks they are; None for the first.
    """

    def __init__(self, on: Synced, line: Line, generation: str | None) -> None:
        self._on = on
        self._line = line
        self._generation = generation

    async def append(self, chunks: Sequence[Event]) -> None:
        await self._line.pause()
        for chunk in chunks[: self._line.admit(len(chunks))]:
            self._on.log.append(replace(chunk, generation=self._generation))
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
