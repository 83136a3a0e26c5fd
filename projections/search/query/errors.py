"""What a query is refused with."""

from __future__ import annotations

SHOWN_CHARACTERS_MAX = 32


class QueryError(ValueError):
    """A query that cannot be answered.

    Attributes:
        position: Where, counted in characters from 1.
        expected: What should stand there.
    """

    def __init__(self, position: int, expected: str, found: str = "") -> None:
        self.position = position
        self.expected = expected
        said = f", found {found}" if found else ""
        super().__init__(f"At character {position}: expected {expected}{said}.")


def shown(value: str) -> str:
    """Returns what was found, short enough for a message."""
    return repr(value[:SHOWN_CHARACTERS_MAX]) if value else "nothing"
