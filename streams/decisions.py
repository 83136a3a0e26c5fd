"""What operators decided about one unit's dead letters, as the topic ``redrive`` says it.

A decision names a record by its origin (topic, partition, offset) and sends it back to the unit
(``RedriveRequested``) or does without it (``LetterDiscarded``). Two rules make every generation
come to one state, whenever it reads what:

- *A record that is decided upon is not applied from its own topic*, whether this generation could
  decode it or not. What becomes of it is said by the decision alone.
- *Of the decisions about one record the first with the highest attempt counts.* All of them lie in
  one partition, whose order is the same for everyone. A higher attempt is asked for only after the
  lower one failed; so whoever knows both leaves the lower one out.

The first rule needs decisions to be known before the record is met. Nothing is decided about a
record that is younger than ``DECIDED_AFTER_SECONDS`` (the operators' tools wait), so a slice that
is younger than ``FRESH_SECONDS`` needs no look; before any other the end of ``redrive`` is asked
for, and what is new there is read first. Live traffic therefore costs nothing, and a rebuild a
request of the broker for each slice.

A worker may die after a letter is in its topic and before its position is past the record. Whoever
reads the record again leaves it to the letter, even if it could be decoded by then: else it would
be applied, and an operator could send it back as well. So the last ``LETTERS_MAX`` letters are
looked through as a worker starts, for those of its own generation.

Bounded by: about 200 bytes of memory for each record that was ever decided upon for the unit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container, Sequence
from typing import NamedTuple, Protocol

from events.codec import Decoded
from events.errors import TopicMismatch
from events.ranges import Raw
from events.types import Event, LetterDiscarded, RedriveRequested
from streams.settings import WorkerSettings

REDRIVE = "redrive"
DEAD_LETTERS = "dead-letters"

DECIDED_AFTER_SECONDS = 3.0
"""Age of a record from which on it may be decided upon."""

FRESH_SECONDS = 1.0
"""Age of a record up to which it cannot have been; the rest is for clocks that differ."""

LETTERS_MAX = 5_000
"""Letters of one partition of ``dead-letters`` that are looked through: those since the worker that
is gone buried its last slice, with what other units buried meanwhile."""

Decision = RedriveRequested | LetterDiscarded


class Place(NamedTuple):
    """A decision's attempt, and where it is in ``redrive``."""

    attempt: int
    partition: int
    offset: int


class Reads(Protocol):
    """Reads raw records; ``events.ranges.Ranges`` is one."""

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Returns the first and the next offset of each partition."""
        ...

    async def read(self, topic: str, partition: int, start: int, end: int) -> list[Raw]:
        """Returns the first records from ``start`` up to ``end``."""
        ...

    async def one(self, topic: str, partition: int, offset: int) -> Raw | None:
        """Returns one record, or None where there is none."""
        ...


class Decoder(Protocol):
    """Turns the values of one partition's records into events; ``events.codec.Codec`` is one."""

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Decoded:
        """Decodes a batch; raises a ``RetryableError`` when nothing is wrong with the batch."""
        ...


class Folded:
    """The decisions that count, by origin; the fold of ``redrive`` for one unit."""

    def __init__(self) -> None:
        self._by_source: dict[tuple[str, int], dict[int, Place]] = {}

    def add(self, partition: int, offset: int, event: Decision) -> None:
        """Takes in one decision; each partition of ``redrive`` in order."""
        origins = self._by_source.setdefault((event.topic, event.partition), {})
        known = origins.get(event.offset)
        if known is None or event.attempt > known.attempt:
            origins[event.offset] = Place(event.attempt, partition, offset)

    def counts(self, partition: int, offset: int, event: Decision) -> bool:
        """Says whether this decision, at its place in ``redrive``, is the one that counts."""
        found = self._by_source.get((event.topic, event.partition), {}).get(event.offset)
        return found is not None and found[1:] == (partition, offset)

    def of(self, topic: str, partition: int) -> Container[int]:
        """Returns the offsets of a source partition that are decided upon."""
        return self._by_source.get((topic, partition), ())


class _Either:
    """The offsets in one of two."""

    def __init__(self, one: Container[int], other: Container[int]) -> None:
        self._one, self._other = one, other

    def __contains__(self, offset: object) -> bool:
        return offset in self._one or offset in self._other


class Decisions:
    """One unit's decisions, kept up with the log.

    Args:
        unit: Whose.
        settings: Names topics, and the group that stands for the generation.
        log: Reads the topics.
        decoder: Decodes decisions.
    """

    def __init__(self, unit: str, settings: WorkerSettings, log: Reads, decoder: Decoder) -> None:
        self._unit = unit
        self._group = settings.group
        self._topic = settings.physical(REDRIVE)
        self._letters_topic = settings.physical(DEAD_LETTERS)
        self._log = log
        self._decoder = decoder
        self._buried: dict[tuple[str, int], set[int]] = {}
        self._next: dict[int, int] = {}
        self._folded = Folded()
        self._loaded = False
        self._reading = asyncio.Lock()
        self._read = 0

    async def about(self, topic: str, partition: int, oldest_ms: int) -> Container[int]:
        """Returns the offsets of a partition that are not to be applied from there.

        Args:
            topic: Logical name.
            partition: Its number.
            oldest_ms: When the first record that the caller holds was appended.

        Raises:
            RetryableError: the log or the registry is away.
        """
        if not self._loaded or time.time() - oldest_ms / 1000 > FRESH_SECONDS:
            await self.refresh()
        decided, buried = self._folded.of(topic, partition), self._buried.get((topic, partition))
        return decided if buried is None else _Either(decided, buried)

    async def counting(
        self, partition: int, decisions: Sequence[tuple[int, Event]]
    ) -> list[tuple[int, RedriveRequested]]:
        """Returns those requests of one partition of ``redrive`` that this unit has to apply.

        Args:
            partition: Of ``redrive``.
            decisions: Offsets and events.
        """
        mine = [(o, e) for o, e in decisions if isinstance(e, Decision) and e.unit == self._unit]
        if mine:
            await self.refresh()
        return [
            (offset, event)
            for offset, event in mine
            if isinstance(event, RedriveRequested) and self._folded.counts(partition, offset, event)
        ]

    async def refresh(self) -> None:
        """Reads what was decided since the last time, up to the log's end now.

        Slices that ask together share a reading that begins after they have asked.
        """
        begun = self._read + 1 if self._reading.locked() else self._read
        async with self._reading:
            if self._read > begun:
                return
            await self._read_on()
            self._read += 1

    async def _read_on(self) -> None:
        for partition, (low, high) in (await self._log.bounds(self._topic)).items():
            while (at := max(low, self._next.get(partition, low))) < high:
                found = await self._log.read(self._topic, partition, at, high)
                decoded = await self._decoder.decode_batch([raw.value for raw in found], REDRIVE)
                for raw, event in zip(found, decoded.events, strict=True):
                    if isinstance(event, Decision) and event.unit == self._unit:
                        self._folded.add(partition, raw.offset, event)
                self._next[partition] = found[-1].offset + 1 if found else high
        if not self._loaded:
            await self._read_letters()
            self._loaded = True

    async def _read_letters(self) -> None:
        try:
            bounds = await self._log.bounds(self._letters_topic)
        except TopicMismatch:
            return  # nothing was ever buried
        for partition, (low, high) in bounds.items():
            at = max(low, high - LETTERS_MAX)
            while at < high:
                found = await self._log.read(self._letters_topic, partition, at, high)
                for raw in found:
                    self._own(dict(raw.headers))
                at = found[-1].offset + 1 if found else high

    def _own(self, headers: dict[str, bytes]) -> None:
        mine = {"dl_unit": self._unit, "dl_group": self._group}
        if any(headers.get(name) != value.encode() for name, value in mine.items()):
            return
        try:
            source = (headers["dl_topic"].decode(), int(headers["dl_partition"]))
            offset = int(headers["dl_offset"])
        except (KeyError, ValueError):
            return  # somebody else's record in this topic
        self._buried.setdefault(source, set()).add(offset)
