"""What each fault test measured, in one table.

A test says `record(...)` once. The line goes to the test's log and, where `MURMUR_TEST_FIGURES`
names a file (`make faults`), into that file as JSON. `python -m tests.faults.figures FILE DOCUMENT`
rewrites the table of `docs/reliability.md` between its markers: rows of this run replace those of
the same fault; with `--whole` all others go.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

FILE = "MURMUR_TEST_FIGURES"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = (
    "| fault | seed | recovered after, s | events | compared | redelivered | 5xx | what else |",
    "|---|---|---|---|---|---|---|---|",
)
logger = logging.getLogger(__name__)


class Figures(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        fault: What was done, such as ``worker killed``; the same with ``: control`` for none.
        seed: Of the population and of the moments.
        recovered_s: From the fault, or the engine's return, until all was well.
        events: In the log at the end.
        compared: Entries of timelines, or answers, that were compared with the oracle.
        redelivered: Events that were applied, at least in part, and handed out again.
        errors_5xx: Answers with a 5xx status, or none at all.
        more: What else is worth a word.
    """

    fault: str
    seed: int
    recovered_s: float | None = None
    events: int | None = None
    compared: int | None = None
    redelivered: int | None = None
    errors_5xx: int | None = None
    more: str = ""

    def row(self) -> str:
        """The row in Markdown."""
        seconds = "" if self.recovered_s is None else f"{self.recovered_s:.1f}"
        numbers = (self.events, self.compared, self.redelivered, self.errors_5xx)
        cells = ("" if number is None else f"{number:,}" for number in numbers)
        return f"| {self.fault} | {self.seed} | {seconds} | {' | '.join(cells)} | {self.more} |"


def record(figures: Figures) -> None:
    """Says what was measured."""
    logger.warning("%s", figures.row())
    path = os.environ.get(FILE)
    if path:
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode(figures) + b"\n")


def rewritten(document: str, measured: Iterable[Figures], *, whole: bool) -> str:
    """The document with a new table.

    Raises:
        ValueError: The document has no markers.
    """
    before, _, rest = document.partition(BEGIN)
    old, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the document lacks {BEGIN} or {END}")
    lines = [] if whole else [line for line in old.splitlines() if line.startswith("| ")][1:]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    rows |= {one.fault: one.row() for one in measured}
    table = "\n".join([*HEAD, *(rows[fault] for fault in sorted(rows))])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{before}{BEGIN}\n\nLast rewritten on {day}.\n\n{table}\n\n{END}{after}"


def main() -> None:
    """`python -m tests.faults.figures FILE DOCUMENT [--whole]`."""
    figures, document = map(Path, sys.argv[1:3])
    if not figures.exists():
        sys.exit("no fault test wrote a figure; the table stays as it was")
    measured = [
        msgspec.json.decode(line, type=Figures) for line in figures.read_bytes().splitlines()
    ]
    text = rewritten(document.read_text(), measured, whole="--whole" in sys.argv)
    document.write_text(text)
    sys.stdout.write(f"{len(measured)} rows measured, written to {document}\n")


if __name__ == "__main__":
    main()
