"""What every page of the oracle is fed with: an event and its place in the log."""

from __future__ import annotations

from typing import NamedTuple

from events.types import Event


class LogRecord(NamedTuple):
    """One event with its place in the log; ``topic`` is the logical name (no prefix)."""

    topic: str
    partition: int
    offset: int
    event: Event
