"""What the product says to its logs while the model runs, for the message of a failure."""

from __future__ import annotations

import logging


class Words(logging.Handler):
    """Keeps the last error of a logger and those beneath; it is on no terminal.

    Args:
        name: Of the logger.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.ERROR)
        self._last: logging.LogRecord | None = None
        logger = logging.getLogger(name)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self._last = record

    def __str__(self) -> str:
        return "" if self._last is None else self.format(self._last)
