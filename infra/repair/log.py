"""The log as it speaks of one key to one unit: what operators decided of dead letters is in it.

A record that was sent back is what was sent, at the place of its origin; one that was discarded
says nothing; whatever was decided, what the record said by itself does not count
(:mod:`streams.decisions`, which a replay follows as well). A unit has applied what was sent back
once it is past the *request* in ``redrive``, wherever the record came from.

Bounded by: ``RECORDS_MAX`` records of one key, and all decisions about the unit's letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from events.codec import Codec
from events.partitioner import partition_of
from events.slices import LogRecord
from events.types import Event, RedriveRequested
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.diff.explain import Records
from infra.repair.rows import TooMuch
from streams.decisions import REDRIVE, Decision, Folded

RECORDS_MAX = 1_000_000

Place = tuple[str, int]
"""A topic and a partition."""

Origin = tuple[str, int, int]
"""A record's topic, partition and offset."""


class KeyLog:
    """See the module.

    Args:
        on: Engines, for the number of partitions and the codec.
        view: Their log.
        unit: Whose decisions count.
    """

    def __init__(self, on: Engines, view: Records, unit: str) -> None:
        self._topics = on.topics
        self._view = view
        self._unit = unit
        self._codec: Codec = compose.reader_codec(on)
        self._decisions: list[tuple[int, int, Decision]] = []
        self._decided: dict[Origin, tuple[int, int, Decision]] = {}
        self._read_upto: Offsets = {}

    def places(self, topic: str, keys: Iterable[object]) -> set[Place]:
        """Returns the partitions of keys."""
        count = self._topics.partitions(topic)
        return {(topic, partition_of(str(key).encode(), count)) for key in keys}

    def every(self, topic: str) -> set[Place]:
        """Returns all partitions of a topic."""
        return {(topic, number) for number in range(self._topics.partitions(topic))}

    async def ends(self, topics: Iterable[str]) -> Offsets:
        """Returns where topics end now, and ``redrive``."""
        return await self._view.ends({*topics, REDRIVE})

    async def since(self, topics: Iterable[str], at_ms: int) -> Offsets:
        """Returns the first offset that was appended at or after a moment, of every partition."""
        return await self._view.since(topics, at_ms)

    async def decided_anew(self, ends: Offsets) -> bool:
        """Takes in what was decided below ends; says whether there was anything about the unit.

        If so, what was read of the log before may have changed its meaning, anywhere.
        """
        upto = {place: end for place, end in ends.items() if place[0] == REDRIVE}
        found = [
            (record.partition, record.offset, record.event)
            async for record in self._view.records(self._read_upto, upto)
            if isinstance(record.event, Decision) and record.event.unit == self._unit
        ]
        self._read_upto = upto
        if found:
            self._decisions = sorted(self._decisions + found, key=lambda one: one[:2])
            self._fold()
        return bool(found)

    def _fold(self) -> None:
        folded = Folded()
        for place in self._decisions:
            folded.add(*place)
        self._decided = {
            (one.topic, one.partition, one.offset): (partition, offset, one)
            for partition, offset, one in self._decisions
            if folded.counts(partition, offset, one)
        }

    def sent_back(self, record: LogRecord) -> tuple[int, int] | None:
        """Returns the partition and offset of ``redrive`` that sent a record back; None if none."""
        found = self._decided.get(record[:3])
        return found[:2] if found else None

    def is_applied(self, record: LogRecord, applied: Offsets) -> bool:
        """Says whether a unit that is at these positions has applied a record."""
        sent = self.sent_back(record)
        if sent is not None:
            return sent[1] < applied.get((REDRIVE, sent[0]), 0)
        return record.offset < applied.get(record[:2], 0)

    async def read(
        self,
        places: Iterable[Place],
        ends: Offsets,
        speaks: Callable[[Event], bool],
        start: Offsets | None = None,
    ) -> list[LogRecord]:
        """Returns what partitions say of a key below ends, each partition in order.

        Args:
            places: The partitions.
            ends: Where to end.
            speaks: Which events are about the key.
            start: Where to begin; None for the beginning.

        Raises:
            TooMuch: it is more than a repair takes in.
        """
        upto = {place: ends[place] for place in places}
        found = await self._sent(start, upto, speaks)
        async for record in self._view.records(start or {}, upto):
            if self._is_itself(record) and speaks(record.event):
                found.append(record)
                if len(found) > RECORDS_MAX:
                    raise TooMuch(
                        f"the log has more than {RECORDS_MAX} records of this key; rebuild the "
                        f"unit: murmur replay {self._unit}"
                    )
        return sorted(found, key=order)

    def _is_itself(self, record: LogRecord) -> bool:
        """Whether a record is as it stands in the log: nothing was decided, or to send it so."""
        _, _, decision = self._decided.get(record[:3], (0, 0, None))
        return decision is None or (
            isinstance(decision, RedriveRequested) and decision.payload is None
        )

    async def _sent(
        self, start: Offsets | None, upto: Mapping[Place, int], speaks: Callable[[Event], bool]
    ) -> list[LogRecord]:
        """Returns what was sent back with a body of its own; that may speak of any key."""
        topics = {topic for topic, _ in upto}
        found: list[LogRecord] = []
        for origin, (_, _, decision) in self._decided.items():
            topic, partition, offset = origin
            if not isinstance(decision, RedriveRequested) or decision.payload is None:
                continue
            if topic in topics and (start is None or offset >= start.get((topic, partition), 0)):
                decoded = await self._codec.decode_batch([decision.payload], topic, anew=True)
                found += [
                    LogRecord(*origin, event)
                    for event in decoded.events
                    if event is not None and speaks(event)
                ]
        return found


def order(record: LogRecord) -> tuple[str, int, int]:
    """Returns what sorts records: each partition in order."""
    return record[:3]
