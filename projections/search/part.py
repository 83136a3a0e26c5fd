"""Part of an answer: what a query finds between two ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

NEWEST = (1 << 63) - 1
"""Above every id."""


class Part(msgspec.Struct, frozen=True):
    """What a query finds, newest first.

    Attributes:
        ids: Of tweets, descending.
        floor: From here upwards, up to where it was asked for, nothing is missing.
    """

    ids: list[int]
    floor: int

    @classmethod
    def of(cls, ids: Iterable[int], floor: int) -> Part:
        """Returns what is known of ids from ``floor`` upwards."""
        return cls(sorted({i for i in ids if i >= floor}, reverse=True), floor)

    def first(self, want: int) -> Part:
        """Returns the newest ``want`` of it."""
        if len(self.ids) <= want:
            return self
        return Part(self.ids[:want], self.ids[want - 1])


class Counts(msgspec.Struct, frozen=True):
    """How many tweets a query finds.

    Attributes:
        by_start: By the start of each interval, in milliseconds since the Unix epoch.
        floor: From here upwards all are counted.
    """

    by_start: Mapping[int, int]
    floor: int
