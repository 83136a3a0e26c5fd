"""When a difference is one: keys that differ are looked at again, once both sides are past it.

Under live traffic two generations are never at the same place, so a key that differs at one look
may be one event ahead on one side. A field of it counts as different when

1. it differs at a look;
2. both sides have applied the log up to where it ended after that look, which is past everything
   that either of them can have shown in it;
3. it differs at the next look, and each side shows there what it showed before.

In between nothing was said that changed what a side shows there, so at that place in the log the
two disagreed. A field that is equal at the second look was only late. One that differs in another
way has changed meanwhile, and is looked at again from 1, ``LOOKS_MAX`` times; what never held still
is *unsettled*: it was not shown to be equal, and not to differ. So is what a side that does not go
on (nobody feeds it) never gets past. Fields that differ at a later look for the first time are of
events after the first, and no part of the question. An entry of a list is a field, so a timeline
that grows all the time is settled as soon as the entries that one side lacked have arrived.

Bounded by: ``WAIT_S`` for each wait, ``LOOKS_MAX`` looks, ``FIELDS_MAX`` fields held of
a key, and the callers' number of keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from infra.demo.convergence import Offsets
from infra.diff.fields import FIELDS_MAX, Field, differing, same
from infra.diff.keys import Key
from infra.diff.sides import Side
from infra.diff.views import Kind

LOOKS_MAX = 8
WAIT_S = 30.0


class Suspect(msgspec.Struct, frozen=True):
    """A key that differed when it was last looked at, what was seen then, and where it differed."""

    kind: Kind
    key: Key
    a: Any
    b: Any
    fields: list[Field]


class Settled(msgspec.Struct):
    """What became of suspects.

    Attributes:
        different: Those that differ for good.
        unsettled: Those of which nobody can tell.
        behind: The sides that did not get past a look in time.
    """

    different: list[Suspect]
    unsettled: list[Suspect]
    behind: set[str]


class Looker:
    """Looks at keys on two sides.

    Args:
        a: One side.
        b: The other.
        ends: Reads where the log ends now.
        wait_s: How long a side may take to get past a look.
        looks_max: Looks at one key after the first.
        stages: How often ends are waited for: twice where what is derived from the log is appended
            to it, and then applied as well.
    """

    def __init__(
        self,
        a: Side,
        b: Side,
        ends: Callable[[], Awaitable[Offsets]],
        *,
        wait_s: float = WAIT_S,
        looks_max: int = LOOKS_MAX,
        stages: int = 1,
    ) -> None:
        self._a = a
        self._b = b
        self._ends = ends
        self._wait_s = wait_s
        self._looks_max = looks_max
        self._stages = stages

    async def look(self, kind: Kind, wanted: Sequence[Key]) -> list[Suspect]:
        """Returns those of the keys that differ now (1)."""
        found_a, found_b = await asyncio.gather(
            self._a.read(kind, wanted), self._b.read(kind, wanted)
        )
        return [
            Suspect(kind, key, a, b, differing(a, b))
            for key, a, b in zip(wanted, found_a, found_b, strict=True)
            if not same(a, b)
        ]

    async def settle(self, suspects: Sequence[Suspect]) -> Settled:
        """Looks again until each key was equal, differed for good, or had its looks."""
        settled = Settled([], [], set())
        left = list(suspects)
        for _ in range(self._looks_max):
            if not left:
                return settled
            if not await self._both_past(settled.behind):  # 2
                break
            left = await self._again(left, settled)
        settled.unsettled += left
        return settled

    async def _both_past(self, behind: set[str]) -> bool:
        sides = (self._a, self._b)
        for _ in range(self._stages):
            ends = await self._ends()
            there = await asyncio.gather(*(side.reach(ends, self._wait_s) for side in sides))
            behind.update(side.name for side, past in zip(sides, there, strict=True) if not past)
        return not behind

    async def _again(self, suspects: Sequence[Suspect], settled: Settled) -> list[Suspect]:
        by_kind: dict[str, list[Suspect]] = {}
        for suspect in suspects:
            by_kind.setdefault(suspect.kind.name, []).append(suspect)
        moved: list[Suspect] = []
        for of_kind in by_kind.values():
            before = {suspect.key: suspect for suspect in of_kind}
            for now in await self.look(of_kind[0].kind, list(before)):
                was = before[now.key].fields
                there = {field.path: field for field in differing(now.a, now.b, None)}
                still = [there[field.path] for field in was if field.path in there]
                stayed = [field for field in still if field in was]
                if stayed:  # 3
                    settled.different.append(msgspec.structs.replace(now, fields=stayed))
                elif still:
                    moved.append(msgspec.structs.replace(now, fields=still))
                elif len(was) == FIELDS_MAX:  # more of them differed than were held
                    moved.append(now)
        return moved
