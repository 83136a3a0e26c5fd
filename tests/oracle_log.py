"""What every page of the oracle is fed with, an event and its place in the log, and how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from events.slices import LogRecord
from events.types import Event

__all__ = ["LogFed", "LogRecord"]


class LogFed(ABC):
    """Feed it records, each partition in offset order; then ask."""

    def __init__(self, records: Iterable[LogRecord]) -> None:
        self._next_offset: dict[tuple[str, int], int] = {}
        for record in records:
            self.feed(record)

    def feed(self, record: LogRecord) -> None:
        """Take in one record; one fed before, or behind its partition, changes nothing."""
        source = (record.topic, record.partition)
        if record.offset < self._next_offset.get(source, 0):
            return
        self._next_offset[source] = record.offset + 1
        self.apply(record.event)

    @abstractmethod
    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
