"""A slice of ``redrive`` becomes slices of the records that it sends back, each with its origin.

1. Keep the requests that are for this unit and count (:mod:`.decisions`).
2. Take each record's bytes: those in the request, else the original ones, read from the log at the
   origin. Source topics are kept for ever, so a rebuild finds them as well; of a derived topic the
   operators' tools put the bytes into the request.
3. Decode them as a record of the topic that they come from.

A slice that comes of this holds one record, with the offset of its origin, which is what the unit's
facts are versioned by; its range ends with the request in ``redrive``, so that the unit's position
there says whether the record was applied. What cannot be applied is a dead letter again, one
attempt later, and the rest goes on.

Bounded by: the requests of one slice, and one record's bytes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass

from aiokafka.structs import ConsumerRecord
from msgspec.structs import replace

from events.errors import TopicMismatch
from events.slices import Origin, Record, Slice
from events.types import Event, RedriveRequested
from streams.dead_letters import DeadLetter, Reason
from streams.decisions import REDRIVE, Decisions, Decoder, Reads
from streams.ledger import RawSlice
from streams.settings import WorkerSettings

logger = logging.getLogger(__name__)

Request = tuple[int, RedriveRequested]
"""An offset of ``redrive``, and what is asked there."""


@dataclass(frozen=True)
class Sent:
    """What one request comes to.

    Attributes:
        piece: What the unit is to apply; empty where the record cannot be applied.
        tried: The record as it was tried.
        letter: Why it cannot be applied, if so.
    """

    piece: Slice
    tried: list[ConsumerRecord[bytes, bytes]]
    letter: DeadLetter | None


class Redrives:
    """Makes slices for one unit.

    Args:
        unit: Its name.
        topics: What it reads.
        decisions: Which requests count.
        log: Reads original records.
        decoder: Decodes them.
        settings: Names topics.
    """

    def __init__(
        self,
        unit: str,
        topics: frozenset[str],
        decisions: Decisions,
        log: Reads,
        decoder: Decoder,
        settings: WorkerSettings,
    ) -> None:
        self._unit = unit
        self._topics = topics - {REDRIVE}
        self._decisions = decisions
        self._log = log
        self._decoder = decoder
        self._settings = settings

    async def decided(self, topic: str, partition: int, oldest_ms: int) -> Container[int]:
        """Returns the offsets of a partition that are decided upon; see :mod:`.decisions`."""
        return await self._decisions.about(topic, partition, oldest_ms)

    async def requests(self, raw: RawSlice, events: Sequence[Event | None]) -> list[Request]:
        """Returns what a slice of ``redrive`` sends back to this unit (1)."""
        offsets = [record.offset for record in raw.records]
        held = [(o, e) for o, e in zip(offsets, events, strict=True) if e is not None]
        found = []
        for offset, request in await self._decisions.counting(raw.tp.partition, held):
            if request.topic in self._topics:
                found.append((offset, request))
            else:
                logger.error(
                    "unit %s does not read %s: %s/%d@%d asks for what cannot be",
                    *(self._unit, request.topic, REDRIVE, raw.tp.partition, offset),
                )
        return found

    async def send(self, sought: Request, raw: RawSlice, topic_id: str, start: int) -> Sent:
        """Returns the slice of one request, which covers ``redrive`` from ``start`` on (2, 3)."""
        offset, request = sought
        origin = Origin(request.topic, request.partition)
        piece = Slice(REDRIVE, raw.tp.partition, topic_id, start, offset + 1, [], origin)
        record = await self._record(request)
        if record is None:
            gone = _as_record(self._settings, request, b"", 0)
            error: Exception = LookupError(
                f"{request.topic} does not hold offset {request.offset} (any more)"
            )
            return Sent(piece, [], self.letter(request, "missing", gone, error))
        decoded = await self._decoder.decode_batch([record.value], request.topic, anew=True)
        if decoded.failures:
            error = decoded.failures[0].error
            return Sent(piece, [], self.letter(request, "undecodable", record, error))
        records = [
            Record(record.offset, record.timestamp, event)
            for event in decoded.events
            if event is not None
        ]
        return Sent(replace(piece, records=records), [record], None)

    async def _record(self, request: RedriveRequested) -> ConsumerRecord[bytes, bytes] | None:
        if request.payload is not None:
            return _as_record(self._settings, request, request.payload, request.occurred_at)
        name = self._settings.physical(request.topic)
        try:
            found = await self._log.one(name, request.partition, request.offset)
        except TopicMismatch:
            found = None
        if found is None:
            return None
        return _as_record(self._settings, request, found.value, found.appended_at, found.key)

    def letter(
        self,
        request: RedriveRequested,
        reason: Reason,
        record: ConsumerRecord[bytes, bytes],
        error: Exception,
    ) -> DeadLetter:
        """Returns the letter of a record that was sent back in vain, one attempt later."""
        return DeadLetter(
            record,
            request.topic,
            self._unit,
            reason,
            f"{type(error).__name__}: {error}",
            attempt=request.attempt + 1,
            group=self._settings.group,
        )


def _as_record(
    settings: WorkerSettings,
    request: RedriveRequested,
    value: bytes | None,
    appended_at: int,
    key: bytes | None = None,
) -> ConsumerRecord[bytes, bytes]:
    """The record as the worker would have got it from the origin."""
    return ConsumerRecord(
        topic=settings.physical(request.topic),
        partition=request.partition,
        offset=request.offset,
        timestamp=appended_at,
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=(),
    )
