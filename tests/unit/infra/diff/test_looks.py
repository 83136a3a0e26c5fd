"""When a difference counts: scripted sides, each look shows what was written for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.demo.convergence import Offsets
from infra.diff.fields import FIELDS_MAX
from infra.diff.keys import Key
from infra.diff.looks import Looker, Settled
from infra.diff.sides import passed
from infra.diff.views import Kind

KIND = Kind("user", ())
PLACE = ("users", 0)


class Scripted:
    """A side that shows one value after the other, the last for ever.

    ``stuck_at`` is how far it ever comes in the log.
    """

    def __init__(self, name: str, *values: Any, stuck_at: int | None = None) -> None:
        self.name = name
        self.reached: list[int] = []
        self._values = list(values)
        self._stuck_at = stuck_at

    async def read(self, kind: Kind, wanted: Sequence[Key]) -> list[Any]:
        value = self._values.pop(0) if len(self._values) > 1 else self._values[0]
        return [value for _ in wanted]

    async def positions(self) -> Offsets:
        return {PLACE: self.reached[-1] if self.reached else 0}

    async def reach(self, ends: Offsets, seconds_max: float) -> bool:
        if self._stuck_at is not None and ends[PLACE] > self._stuck_at:
            return False
        self.reached.append(ends[PLACE])
        return True


class GrowingLog:
    """A log that is longer each time that somebody asks."""

    def __init__(self) -> None:
        self.end = 10

    async def ends(self) -> Offsets:
        self.end += 1
        return {PLACE: self.end}


async def settled(a: Scripted, b: Scripted, **options: int) -> Settled:
    looker = Looker(a, b, GrowingLog().ends, wait_s=0, **options)
    return await looker.settle(await looker.look(KIND, [1]))


async def test_what_is_equal_is_not_looked_at_again() -> None:
    a, b = Scripted("a", {"name": "x"}), Scripted("b", {"name": "x"})
    assert await settled(a, b) == Settled([], [], set())
    assert not a.reached


async def test_one_side_that_was_ahead_is_no_difference() -> None:
    a, b = Scripted("a", "new"), Scripted("b", "old", "new")
    found = await settled(a, b)
    assert not found.different and not found.unsettled
    assert a.reached == b.reached == [11]


async def test_what_differs_twice_and_did_not_change_between_is_a_difference() -> None:
    found = await settled(Scripted("a", "x"), Scripted("b", "y"))
    assert [(one.key, one.a, one.b) for one in found.different] == [(1, "x", "y")]
    assert not found.unsettled


async def test_a_key_that_changes_is_looked_at_until_both_hold_still() -> None:
    """Neither look of a changing key says anything, however often it differs."""
    a = Scripted("a", 1, 2, 3, 4)
    b = Scripted("b", 0, 1, 2, 4)
    found = await settled(a, b)
    assert not found.different and not found.unsettled
    assert len(a.reached) == 3


async def test_a_change_of_one_side_alone_starts_over() -> None:
    """It may have been said of the key after the first look, and have reached one side."""
    a, b = Scripted("a", "x", "z", "z"), Scripted("b", "y", "y", "z")
    found = await settled(a, b)
    assert not found.different and not found.unsettled


async def test_a_timeline_that_grows_is_settled_when_what_was_missing_has_arrived() -> None:
    """One side is one entry behind at every look; none of them is missing for good."""
    a = Scripted("a", *({"home": list(range(n, 0, -1))} for n in range(5, 20)))
    b = Scripted("b", *({"home": list(range(n - 1, 0, -1))} for n in range(5, 20)))
    found = await settled(a, b)
    assert not found.different and not found.unsettled
    assert len(a.reached) == 1


async def test_an_entry_that_stays_away_is_told_however_much_else_changes() -> None:
    a = Scripted("a", {"home": [5, 4, 3]}, {"home": [6, 5, 4, 3]})
    b = Scripted("b", {"home": [5, 3]}, {"home": [5, 3]})
    found = await settled(a, b)
    assert [(one.key, [f.path for f in one.fields]) for one in found.different] == [
        (1, ["home[4]"])
    ]


async def test_no_field_is_taken_for_equal_because_too_many_differ() -> None:
    """Only some of them are held; what was not is looked for as soon as those agree."""
    many = list(range(FIELDS_MAX + 10))
    a, b = Scripted("a", many), Scripted("b", [], many[:FIELDS_MAX])
    found = await settled(a, b)
    assert [len(one.fields) for one in found.different] == [10]


async def test_a_key_that_never_holds_still_is_neither_equal_nor_different() -> None:
    a, b = Scripted("a", *range(20)), Scripted("b", *range(100, 120))
    found = await settled(a, b, looks_max=5)
    assert not found.different
    assert [one.key for one in found.unsettled] == [1]
    assert len(a.reached) == 5


async def test_a_side_that_does_not_go_on_is_told_and_nothing_is_taken_for_equal() -> None:
    found = await settled(Scripted("a", "x"), Scripted("b", "y", stuck_at=3))
    assert (found.different, found.behind) == ([], {"b"})
    assert [one.key for one in found.unsettled] == [1]


async def test_what_is_derived_from_the_log_is_waited_for_after_the_log_itself() -> None:
    a, b = Scripted("a", "x"), Scripted("b", "y", "x")
    found = await settled(a, b, stages=2)
    assert not found.different and a.reached == [11, 12]


def test_chunks_are_waited_for_where_somebody_delivers_them() -> None:
    ends = {("new-tweets", 0): 5, ("fan-out", 0): 3}
    assert passed({("new-tweets", 0): 5}, ends)
    assert not passed({("new-tweets", 0): 5, ("fan-out", 0): 2}, ends)
    assert not passed({("new-tweets", 0): 4}, ends)
    assert passed({("new-tweets", 0): 5, ("fan-out", 0): 3}, ends)
