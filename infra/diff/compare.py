"""Compares two sides key by key, settles what differs, and explains the first differences.

1. Keys of each kind, by batches, are looked at on both sides.
2. Those that differ are suspects; when there are many of them, and at the end, they are settled
   (:mod:`infra.diff.looks`).
3. The first that differ for good are told with the fields that differ and the events that speak of
   them (:mod:`infra.diff.explain`).

Bounded by: ``BATCH`` keys read at a time, ``SUSPECTS_MAX`` suspects held with what was seen of
them, ``SHOWN`` differences unless more are asked for with ``FIELDS_SHOWN_MAX`` fields each, and
as many unsettled keys, in the report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random

import msgspec

from infra.compose import Engines
from infra.demo.convergence import LogView, Offsets, open_view
from infra.diff import explain
from infra.diff.fields import Field
from infra.diff.keys import Key
from infra.diff.looks import WAIT_S, Looker, Suspect
from infra.diff.sides import DERIVED, GenerationSide, Side, keys_of, topics_of
from infra.diff.views import KINDS_OF_UNIT, Kind

BATCH = 64
SUSPECTS_MAX = 256
SHOWN = 20
FIELDS_SHOWN_MAX = 8

Progress = Callable[[str, int], None]
"""Told the kind and how many of its keys were compared."""

Keys = Callable[[Kind], AsyncIterator[Key]]


class Difference(msgspec.Struct):
    """A key that readers of the two sides see differently.

    Attributes:
        kind: What was asked.
        key: Of whom or what.
        fields: The first fields that differ.
        events: The events of the log that speak of it, oldest first.
    """

    kind: str
    key: str
    fields: list[Field]
    events: list[str] = []


class Total(msgspec.Struct):
    """Keys of one kind: compared, looked at again, different for good, and not to be settled."""

    kind: str
    compared: int = 0
    looked_again: int = 0
    different: int = 0
    unsettled: int = 0


class Report(msgspec.Struct):
    """What a comparison found.

    Attributes:
        unit: The unit.
        a: Name of one side.
        b: Name of the other.
        sample: Keys of each kind that were asked for; None for all.
        seed: Of the sample.
        totals: By kind.
        differences: The first ones.
        unsettled: The first keys that were never equal, and did not hold still.
        behind: Sides that did not get past a look in time.
        positions: Where each side was at the end, by name, as ``topic/partition``.
    """

    unit: str
    a: str
    b: str
    sample: int | None
    seed: int
    totals: list[Total]
    differences: list[Difference]
    unsettled: list[str]
    behind: list[str]
    positions: dict[str, dict[str, int]]

    @property
    def equal(self) -> bool:
        """Whether every key compared was shown to be equal."""
        return not any(total.different or total.unsettled for total in self.totals)

    @property
    def compared(self) -> int:
        """Keys compared."""
        return sum(total.compared for total in self.totals)


async def compare(
    on_a: Engines,
    on_b: Engines,
    unit: str,
    *,
    names: tuple[str, str],
    sample: int | None,
    seed: int,
    beside: Engines | None = None,
    wait_s: float = WAIT_S,
    shown: int = SHOWN,
    progress: Progress = lambda kind, done: None,
) -> Report:
    """Compares two generations of a unit.

    Args:
        on_a: Engines at one generation.
        on_b: Engines at the other.
        unit: The unit.
        beside: Engines whose other units are read for both; None for ``on_a``.
        names: What the generations are called.
        sample: Keys of each kind by chance; None for all.
        seed: Of the sample.
        wait_s: How long a generation may take to get past a look.
        shown: Differences to tell at most, and as many unsettled keys.
        progress: Told of every batch.

    Raises:
        RetryableError, BrokerUnreachable: an engine is away.
    """
    sides = (
        GenerationSide(names[0], unit, on_a, beside or on_a),
        GenerationSide(names[1], unit, on_b, beside or on_a),
    )
    random = Random(seed)
    with viewed(on_a) as view:
        comparison = Comparison(
            beside or on_a, view, unit, *sides, wait_s=wait_s, shown=shown, progress=progress
        )
        return await comparison.run(
            lambda kind: keys_of(sides, kind, sample, random), sample=sample, seed=seed
        )


@contextmanager
def viewed(on: Engines) -> Iterator[LogView]:
    """The log of these engines, until it was read."""
    view = open_view(on)
    try:
        yield view
    finally:
        view.close()


class Comparison:
    """Steps 1 to 3 on two sides.

    Args:
        on: Engines that know who posted what.
        view: Their log.
        unit: The unit.
        a: One side.
        b: The other.
        wait_s: How long a side may take to get past a look.
        shown: Differences to tell at most, and as many unsettled keys.
        progress: Told of every batch.
    """

    def __init__(
        self,
        on: Engines,
        view: LogView,
        unit: str,
        a: Side,
        b: Side,
        *,
        wait_s: float = WAIT_S,
        shown: int = SHOWN,
        progress: Progress = lambda kind, done: None,
    ) -> None:
        topics = topics_of(unit, on)
        self._on = on
        self._unit = unit
        self._sides = (a, b)
        stages = 2 if DERIVED in topics else 1
        ends = partial(view.ends, topics)
        self._view = view
        self._looker = Looker(a, b, ends, wait_s=wait_s, stages=stages)
        self._shown = shown
        self._progress = progress
        self._totals = {kind.name: Total(kind.name) for kind in KINDS_OF_UNIT[unit]}
        self._different: list[Suspect] = []
        self._unsettled: list[str] = []
        self._behind: set[str] = set()

    async def run(self, keys: Keys, *, sample: int | None, seed: int) -> Report:
        """Compares the keys and returns the report."""
        suspects: list[Suspect] = []
        for kind in KINDS_OF_UNIT[self._unit]:
            async for batch in _batches(keys(kind)):  # 1
                found = await self._looker.look(kind, batch)
                suspects += found
                total = self._totals[kind.name]
                total.compared += len(batch)
                total.looked_again += len(found)
                self._progress(kind.name, total.compared)
                if len(suspects) >= SUSPECTS_MAX:
                    await self._settle(suspects)
                    suspects = []
        await self._settle(suspects)
        return await self._report(sample, seed)

    async def _settle(self, suspects: Sequence[Suspect]) -> None:  # 2
        settled = await self._looker.settle(suspects)
        self._behind |= settled.behind
        for suspect in settled.different:
            self._totals[suspect.kind.name].different += 1
        for suspect in settled.unsettled:
            self._totals[suspect.kind.name].unsettled += 1
            if len(self._unsettled) < self._shown:
                self._unsettled.append(f"{suspect.kind.name} {key_words(suspect.key)}")
        self._different += settled.different[: self._shown - len(self._different)]

    async def _report(self, sample: int | None, seed: int) -> Report:
        a, b = self._sides
        found = [
            Difference(one.kind.name, key_words(one.key), one.fields[:FIELDS_SHOWN_MAX])
            for one in self._different
        ]
        finder = explain.Finder(self._on, self._unit)
        subjects = [
            await finder.subject(one, told.fields)
            for one, told in zip(self._different, found, strict=True)
        ]
        events = await explain.events(self._view, subjects)
        for told, lines in zip(found, events, strict=True):  # 3
            told.events = lines
        return Report(
            unit=self._unit,
            a=a.name,
            b=b.name,
            sample=sample,
            seed=seed,
            totals=list(self._totals.values()),
            differences=found,
            unsettled=self._unsettled,
            behind=sorted(self._behind),
            positions={side.name: _words(await side.positions()) for side in self._sides},
        )


def key_words(key: Key) -> str:
    """Returns a key as people write it."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


async def _batches(keys: AsyncIterator[Key]) -> AsyncIterator[list[Key]]:
    batch: list[Key] = []
    async for key in keys:
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _words(positions: Offsets) -> dict[str, int]:
    return {f"{topic}/{part}": offset for (topic, part), offset in sorted(positions.items())}
