"""`python -m tests.faults.shifted FILE ARGUMENT…`: `murmur ARGUMENT…` with a clock of its own.

The file holds how many milliseconds that clock is ahead, 8 bytes, and may be written at any time.
Only what Python tells of the wall clock is moved, as a step of the machine's clock would move it;
the monotonic clock goes on, as it does there.
"""

from __future__ import annotations

import mmap
import sys
import time
from pathlib import Path

OFFSET_BYTES = 8


def main() -> None:
    """Moves the clock, then is the program."""
    with Path(sys.argv[1]).open("rb") as file:
        shared = mmap.mmap(file.fileno(), OFFSET_BYTES, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        return true_ns() + int.from_bytes(shared[:], "little", signed=True) * 1_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    sys.argv[1:] = sys.argv[2:]
    # Only now: what is imported may keep the clock.
    from infra.cli.main import main as murmur  # noqa: PLC0415

    murmur()


if __name__ == "__main__":
    main()
