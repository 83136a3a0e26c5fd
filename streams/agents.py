"""The loop between the transport and a unit: one slice at a time, until it is durable.

Per slice:

1. Decode the whole batch; what can never be decoded becomes a dead letter.
2. Append the dead letters. Only when they are durable is their offset anybody's to pass.
3. Apply what is left. A record that the unit refuses (``PoisonError``) becomes a dead letter too,
   and the slice is applied again without it.
4. Ack.

A failure that passes (an engine away) repeats the step it happened in, with backoff, and nothing
else of any partition is done meanwhile: the slice keeps its place. Whatever no rule covers is a
defect: nothing is acked and the worker ends. The loop never raises into Faust, which would start
the agent anew behind the slice that failed.

Bounds: one slice in hand; dead letters of a slice by its records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

from aiokafka.structs import ConsumerRecord

from events.codec import Decoded
from events.slices import Record, Slice
from projections.base import PoisonError, StateLost, Unit
from streams.activity import Activity
from streams.dead_letters import DeadLetter, DeadLetters, Reason
from streams.errors import Defect, Restart, Stopping, WorkerEnded
from streams.ledger import RawSlice
from streams.metrics import Metrics
from streams.retry import Persistence
from streams.settings import WorkerSettings
from streams.transport import Consumer

logger = logging.getLogger(__name__)

RawRecord: TypeAlias = ConsumerRecord[bytes, bytes]


class Decoder(Protocol):
    """Turns the values of one partition's records into events; ``events.codec.Codec`` is one."""

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None
    ) -> Decoded:
        """Decodes a batch; raises a ``RetryableError`` when nothing is wrong with the batch."""
        ...


class SliceLoop:
    """Feeds one unit.

    Args:
        unit: What is fed.
        decoder: Reads record values.
        dead_letters: Where records go that can never be applied.
        ids: Topic ids by physical name, filled in when partitions are assigned.
    """

    def __init__(
        self,
        unit: Unit,
        decoder: Decoder,
        dead_letters: DeadLetters,
        ids: dict[str, str],
        settings: WorkerSettings,
        persistence: Persistence,
        metrics: Metrics,
        activity: Activity,
        stopping: asyncio.Event,
    ) -> None:
        self._unit = unit
        self._decoder = decoder
        self._dead_letters = dead_letters
        self._ids = ids
        self._settings = settings
        self._persistence = persistence
        self._metrics = metrics
        self._activity = activity
        self._stopping = stopping
        self._turn = asyncio.Lock()
        self._in_hand: asyncio.Task[bool] | None = None
        self.ended: asyncio.Future[WorkerEnded] = asyncio.get_running_loop().create_future()

    async def run(self, stream: Any) -> None:
        """The agent's body: takes slices until the worker stops or ends."""
        consumer = stream.app.consumer
        if not isinstance(consumer, Consumer):
            raise TypeError(f"the app's transport is {type(consumer)}, not the slice transport")
        async for event in stream.noack().events():
            if self._stopping.is_set() or self.ended.done():
                break
            if await self.take(event.value):
                consumer.ack(event.message)
        await asyncio.Event().wait()  # Faust would start an agent that returns anew

    async def finish(self, seconds: float) -> None:
        """Waits for the slice in hand, and gives it up after ``seconds``; it is not acked then."""
        task = self._in_hand
        if task is None or task.done():
            return
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            logger.warning(
                "unit %s gives up the slice in hand: %s", self._unit.name, self._activity
            )
            task.cancel()

    async def beat(self) -> None:
        """Calls the unit's heartbeat about every second, between slices, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.unit_heartbeat_seconds)
            async with self._turn:
                with self._activity.doing("the unit's heartbeat"):
                    await self._guarded(
                        self._persistence.until_done("heartbeat", self._unit.heartbeat)
                    )

    async def take(self, raw: RawSlice) -> bool:
        """Applies one slice, in a task of its own so that a stop can give it up.

        Returns:
            Whether it is durable. If not, the worker is stopping or has ended.
        """
        async with self._turn:
            task = asyncio.create_task(self._guarded(self._slice(raw)))
            self._in_hand = task
            await asyncio.wait({task})
            self._activity.idle()
            return not task.cancelled() and task.result()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> bool:
        """Runs ``work``; whatever ends the worker is told to ``ended``, and nothing is raised."""
        try:
            await work
        except Stopping:
            return False
        except WorkerEnded as end:
            self._end(end)
        except StateLost as error:
            self._end(Restart(f"unit {self._unit.name} lost state, restart to refill it: {error}"))
        except Exception as error:
            logger.exception("unit %s failed while %s", self._unit.name, self._activity)
            words = f"{type(error).__name__}: {error}"
            self._end(Defect(f"unit {self._unit.name} failed, nothing was acked: {words}"))
        else:
            return True
        return False

    def _end(self, end: WorkerEnded) -> None:
        if not self.ended.done():
            self.ended.set_result(end)

    async def _slice(self, raw: RawSlice) -> None:
        started = time.monotonic()
        topic = self._settings.logical(raw.tp.topic)
        until_done = self._persistence.until_done
        with self._activity.doing(f"decoding {raw}"):
            values = [record.value for record in raw.records]
            decoded = await until_done("decode", lambda: self._decoder.decode_batch(values, topic))
        letters = [
            self._letter(raw.records[bad.index], topic, "undecodable", bad.error)
            for bad in decoded.failures
        ]
        with self._activity.doing(f"appending {len(letters)} dead letters of {raw}"):
            await self._bury(letters)
        records = [
            Record(source.offset, source.timestamp, event)
            for source, event in zip(raw.records, decoded.events, strict=True)
            if event is not None
        ]
        with self._activity.doing(f"applying {raw}"):
            applied = await self._apply(raw, topic, records)
        self._count(raw, topic, applied, time.monotonic() - started)

    async def _apply(self, raw: RawSlice, topic: str, records: list[Record]) -> int:
        """Applies the slice, without those that the unit refuses; returns how many are left."""
        while True:
            piece = Slice(
                topic=topic,
                partition=raw.tp.partition,
                topic_id=self._ids[raw.tp.topic],
                start=raw.start,
                end=raw.end,
                records=records,
            )
            try:
                await self._persistence.until_done("apply", lambda: self._unit.apply(piece))  # noqa: B023
            except PoisonError as error:
                kept = [record for record in records if record.offset != error.offset]
                if len(kept) == len(records):
                    raise Defect(
                        f"unit {self._unit.name} refuses offset {error.offset}, "
                        f"which is not in {raw}: {error}"
                    ) from error
                source = next(r for r in raw.records if r.offset == error.offset)
                await self._bury([self._letter(source, topic, "refused", error)])
                records = kept
            else:
                return len(records)

    def _letter(
        self, record: RawRecord, topic: str, reason: Reason, error: Exception
    ) -> DeadLetter:
        detail = f"{type(error).__name__}: {error}"
        return DeadLetter(record, topic, self._unit.name, reason, detail)

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        await self._persistence.until_done(
            "dead-letter", lambda: self._dead_letters.append(letters)
        )
        first = letters[0]
        logger.error(
            "unit %s put %d records into dead letters, the first %s/%d@%d (%s): %s",
            self._unit.name,
            len(letters),
            first.topic,
            first.record.partition,
            first.record.offset,
            first.reason,
            first.detail,
        )
        place = (self._unit.name, first.topic, str(first.record.partition))
        self._metrics.dead_letters.labels(*place, first.reason).inc(len(letters))

    def _count(self, raw: RawSlice, topic: str, applied: int, seconds: float) -> None:
        place = (self._unit.name, topic, str(raw.tp.partition))
        self._metrics.events_applied.labels(*place).inc(applied)
        self._metrics.slices_applied.labels(*place).inc()
        self._metrics.applied_offset.labels(*place).set(raw.end)
        self._metrics.slice_records.labels(self._unit.name).observe(len(raw.records))
        self._metrics.apply_seconds.labels(self._unit.name).observe(seconds)
