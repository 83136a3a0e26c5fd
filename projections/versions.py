"""Write timestamps that make redelivery and zombies harmless: what the log's order says of a cell.

The records about one key in one partition are ordered by offset. A cell written ``USING
TIMESTAMP`` a function of its record's offset ends the same whatever is written twice, late, or by
a worker that should be gone: the store keeps the highest timestamp. Offsets are small, so these
timestamps lie decades in the past, which ScyllaDB's limit on future timestamps never minds.

No other writer sets such a cell, and none is ever written null: that would be a tombstone.
"""

from __future__ import annotations

_FINAL = 1 << 50
"""Above every offset, and as microseconds still in the past (the year 2005)."""


def latest(offset: int) -> int:
    """Timestamp of a cell where the last record of the partition counts."""
    return offset + 1


def first(offset: int) -> int:
    """Timestamp of a cell where the first record of the partition counts; below every other."""
    return -(offset + 1)


def final(offset: int) -> int:
    """Timestamp of a cell that no later record may change, such as what an erasure emptied."""
    return _FINAL + offset


def offset_of(timestamp: int) -> int:
    """Returns the offset that a timestamp of :func:`first` or :func:`latest` was made from."""
    return abs(timestamp) - 1
