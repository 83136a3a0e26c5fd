"""Keeps aiokafka from saying the same thing twenty times a second while a broker is away.

Each message template of its loggers passes once in ``SECONDS_BETWEEN``; nothing is dropped for
good, since what lasts is said again.
"""

from __future__ import annotations

import logging
import time

SECONDS_BETWEEN = 30.0
TALKATIVE = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
)


class OnceInAWhile(logging.Filter):
    """Passes a record when its template was not passed in the last ``seconds``."""

    def __init__(self, seconds: float = SECONDS_BETWEEN) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; only warnings and worse are held back."""
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._said.get(str(record.msg), -self._seconds) < self._seconds:
            return False
        self._said[str(record.msg)] = now
        return True


_FILTER = OnceInAWhile()


def quieten() -> None:
    """Installs the filter; a second call changes nothing."""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_FILTER)
