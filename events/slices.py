"""The slice: the unit of work between the log and a projection.

A slice is what one poll returned of one partition, decoded: contiguous, ordered, and so fenced by a
single number, ``end``. Offsets in ``[start, end)`` without a record are gaps (compaction,
transaction markers), tombstones or dead letters: there is nothing to do for them, and they are
covered all the same.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from events.types import Event


class LogRecord(NamedTuple):
    """One event with its place in the log, as whoever reads several topics has it.

    Attributes:
        topic: Logical name (no prefix).
        partition: Partition number.
        offset: Kafka offset.
        event: The decoded event.
        appended_at: LogAppendTime, milliseconds since the Unix epoch; 0 where it says nothing.
    """

    topic: str
    partition: int
    offset: int
    event: Event
    appended_at: int = 0


class Record(msgspec.Struct, frozen=True, gc=False):
    """One decoded event with its place in the log.

    Attributes:
        offset: Kafka offset in the slice's partition.
        appended_at: LogAppendTime, milliseconds since the Unix epoch.
        event: The decoded event.
    """

    offset: int
    appended_at: int
    event: Event


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where the records of a redriven slice come from.

    Attributes:
        topic: Logical topic name.
        partition: Partition number.
    """

    topic: str
    partition: int


class Slice(msgspec.Struct, frozen=True, gc=False):
    """Consecutive records of one partition; or what a part of ``redrive`` sends back.

    The records of a redriven slice have the offsets of their origin, which order what they say;
    topic, partition, start and end are those of ``redrive``, which the slice is fenced by.

    Attributes:
        topic: Logical topic name, as in ``schemas/topics.yaml`` (no prefix).
        partition: Partition number.
        topic_id: Kafka's id of the topic, so that a recreated topic is not taken for the old one.
        start: First offset covered.
        end: Next offset to read; every offset below it (from ``start``) is covered.
        records: Decoded records, ascending by offset.
        origin: Where the records of a redriven slice come from.
    """

    topic: str
    partition: int
    topic_id: str
    start: int
    end: int
    records: list[Record]
    origin: Origin | None = None

    @property
    def source(self) -> str:
        """The partition's name in positions, such as ``new-tweets/3``."""
        return f"{self.topic}/{self.partition}"

    @property
    def about(self) -> str:
        """The topic whose records these are."""
        return self.topic if self.origin is None else self.origin.topic
