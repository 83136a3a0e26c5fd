"""Registers of groups of acts, by position: what counts in one user's notifications.

Each is a pure function of one source partition below a position (``projections/notifications``).

Bounded by: the records of the groups.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from events.slices import LogRecord
from infra.repair.cells import Row, Stored, Write
from infra.repair.log import Place
from infra.repair.targets import sliced
from projections.notifications.acts import Act, Change, Doer, Register, act_of, changes
from projections.notifications.layout import SHAPE
from projections.notifications.unit import register_row


class ActRegisters:
    """The registers that one partition gives some groups, by position, as its records come.

    Args:
        place: The partition.
        groups: Their names.
    """

    def __init__(self, place: Place, groups: Iterable[str]) -> None:
        self.place = place
        self._known: dict[Doer, list[Act]] = {}
        self._positions: dict[str, list[int]] = {group: [0] for group in groups}
        self._acts: dict[str, list[int]] = {group: [0] for group in groups}

    def add(self, records: Sequence[LogRecord]) -> None:
        """Takes in the next records of the partition, those that concern the groups among them."""
        for record in records:
            said = act_of(sliced(record), SHAPE)
            if said is None or (said[1].group not in self._acts and said[0] not in self._known):
                continue
            self._known.setdefault(said[0], []).append(said[1])
            for offset, group, by in changes([said], self._known):
                if group in self._acts:
                    self._positions[group].append(offset + 1)
                    self._acts[group].append(self._acts[group][-1] + by)

    def rows(self, position: int) -> list[Write]:
        """Returns the registers of a position that was reached, of groups that have any."""
        return [
            register_row(group, source(self.place), Register(position, self._acts[group][at]))
            for group, positions in self._positions.items()
            if (at := bisect_right(positions, position) - 1)
        ]


def registers(
    changed: Sequence[Change], asked: Sequence[int]
) -> Iterator[tuple[int | None, Register]]:
    """Yields the register after each change, with its offset, and at each position asked for."""
    acts = 0
    left = list(asked)
    for offset, _, by in changed:
        while left and left[0] <= offset:
            yield None, Register(left.pop(0), acts)
        acts += by
        yield offset, Register(offset + 1, acts)
    for position in left:
        yield None, Register(position, acts)


def positions(row: Row, stored: Stored, end: int) -> list[int]:
    """Where a register is asked for: where it stands, if the log has got there, and at the end."""
    cells = stored.get(row, {})
    at = cells["position"].value if "position" in cells else end
    return sorted({end, min(at, end)})


def by_place(rows: Iterable[Row]) -> dict[Place, set[str]]:
    """Returns the groups of registers among rows, by the partition that they count."""
    found: dict[Place, set[str]] = {}
    for table, key in rows:
        if table == "act_counts":
            topic, _, number = key[1].rpartition("/")
            found.setdefault((topic, int(number)), set()).add(key[0])
    return found


def source(place: Place) -> str:
    """Returns a partition as registers name it."""
    return f"{place[0]}/{place[1]}"
