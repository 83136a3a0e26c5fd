"""The loop between the transport and a unit: a slice is in hand until it is durable.

Slices of one partition are applied one after the other, those of different partitions at once: a
small slice spends its time waiting for the store's log, and many can wait together. What has come
of a partition meanwhile is applied as one slice, so that a worker that falls behind does more at
once (decision 0200). The ledger takes acks in any order, so nothing is committed past a slice that
is not durable.

Per slice:

1. Leave out the records that an operator decided upon (:mod:`.decisions`).
2. Decode the whole batch; what can never be decoded becomes a dead letter.
3. Append the dead letters. Only when they are durable is their offset anybody's to pass.
4. Apply what is left. A record that the unit refuses (``PoisonError``) becomes a dead letter too,
   and the slice is applied again without it.
5. Ack.

A slice of ``redrive`` is the same with the records that it sends back (:mod:`.redrive`), part by
part, in place of its own.

A failure that passes (an engine away) repeats the step it happened in, with backoff, and nothing
else of the partition is done meanwhile: the slice keeps its place. Whatever no rule covers is a
defect: nothing is acked and the worker ends. The loop never raises into Faust, which would start
the agent anew behind the slice that failed.

Bounds: ``slices_at_once_max`` slices of ``slice_records_max`` records are applied at a time, and as
many records again are in hand, those that wait for an earlier slice of their partition among them;
dead letters of a slice by its records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Container, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from aiokafka.structs import ConsumerRecord
from faust.types import TP
from msgspec.structs import replace

from events.slices import Record, Slice
from events.types import Event
from projections.base import PoisonError, StateLost, Unit
from streams.activity import Activity
from streams.dead_letters import DeadLetter, DeadLetters, Reason
from streams.decisions import REDRIVE, Decoder
from streams.errors import Defect, Restart, Stopping, WorkerEnded
from streams.ledger import RawSlice, joined
from streams.metrics import Metrics
from streams.redrive import Redrives
from streams.retry import Persistence
from streams.settings import WorkerSettings
from streams.transport import Consumer

logger = logging.getLogger(__name__)

RawRecord: TypeAlias = ConsumerRecord[bytes, bytes]


class _Taken:
    """A slice in hand.

    Attributes:
        raw: The slice.
        ack: Called once it is durable.
        is_durable: None before it was applied or given up.
    """

    __slots__ = ("ack", "is_durable", "raw")

    def __init__(self, raw: RawSlice, ack: Callable[[], object]) -> None:
        self.raw = raw
        self.ack = ack
        self.is_durable: bool | None = None

    @property
    def weight(self) -> int:
        """What it counts for the bound: its records; an empty one is not nothing."""
        return max(1, len(self.raw.records))


class _Lane:
    """One partition: whose turn it is, and what has come meanwhile, in order."""

    __slots__ = ("turn", "waiting")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting: deque[_Taken] = deque()

    def together(self, records_max: int) -> list[_Taken]:
        """Takes the next slice out, with those behind it that continue it and fit."""
        found = [self.waiting.popleft()]
        records = len(found[0].raw.records)
        while self.waiting and self.waiting[0].raw.start == found[-1].raw.end:
            records += len(self.waiting[0].raw.records)
            if records > records_max:
                break
            found.append(self.waiting.popleft())
        return found


class SliceLoop:
    """Feeds one unit.

    Args:
        unit: What is fed.
        decoder: Reads record values.
        dead_letters: Where records go that can never be applied.
        ids: Topic ids by physical name, filled in when partitions are assigned.
        redrives: What operators decided about the unit's dead letters, where it reads ``redrive``.
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
        redrives: Redrives | None = None,
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
        self._redrives = redrives
        self._at_once = asyncio.Semaphore(settings.slices_at_once_max)
        self._lanes: defaultdict[TP, _Lane] = defaultdict(_Lane)
        self._in_hand: set[asyncio.Task[bool]] = set()
        self._held = 0
        self._room = asyncio.Event()
        self.ended: asyncio.Future[WorkerEnded] = asyncio.get_running_loop().create_future()

    async def run(self, stream: Any) -> None:
        """The agent's body: takes slices until the worker stops or ends."""
        consumer = stream.app.consumer
        if not isinstance(consumer, Consumer):
            raise TypeError(f"the app's transport is {type(consumer)}, not the slice transport")
        async for event in stream.noack().events():
            if self._over:
                break
            await self.take(event.value, partial(consumer.ack, event.message))
        await asyncio.Event().wait()  # Faust would start an agent that returns anew

    @property
    def _over(self) -> bool:
        return self._stopping.is_set() or self.ended.done()

    async def finish(self, seconds: float) -> None:
        """Waits for what is in hand, and gives it up after ``seconds``; it is not acked then."""
        if not self._in_hand:
            return
        _, hanging = await asyncio.wait(self._in_hand, timeout=seconds)
        if hanging:
            logger.warning(
                "unit %s gives up %d slices in hand: %s",
                *(self._unit.name, len(hanging), self._activity),
            )
        for task in hanging:
            task.cancel()

    async def beat(self) -> None:
        """Calls the unit's heartbeat about every second, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.unit_heartbeat_seconds)
            with self._activity.doing("the unit's heartbeat"):
                await self._guarded(self._persistence.until_done("heartbeat", self._unit.heartbeat))

    async def take(self, raw: RawSlice, ack: Callable[[], object]) -> asyncio.Task[bool]:
        """Takes a slice in hand, when there is room, in a task of its own.

        Args:
            raw: The slice; those of one partition in order.
            ack: Called once it is durable.

        Returns:
            Whether it is durable. If not, the worker is stopping or has ended.
        """
        while self._held >= self._settings.records_in_hand_max:
            self._room.clear()
            await self._room.wait()
        taken = _Taken(raw, ack)
        self._lanes[raw.tp].waiting.append(taken)
        task = asyncio.create_task(self._in_turn(taken))
        self._in_hand.add(task)
        self._held += taken.weight
        task.add_done_callback(partial(self._out_of_hand, taken.weight))
        return task

    def _out_of_hand(self, weight: int, task: asyncio.Task[bool]) -> None:
        self._in_hand.discard(task)
        self._held -= weight
        self._room.set()

    async def _in_turn(self, taken: _Taken) -> bool:
        lane = self._lanes[taken.raw.tp]
        async with lane.turn:
            if taken.is_durable is not None:  # it went along with the one before it
                return taken.is_durable
            async with self._at_once:
                together = lane.together(self._settings.slice_records_max)
                raw = joined([one.raw for one in together])
                # Whatever kept the slice before this one from being durable ends the worker.
                is_durable = not self._over and await self._guarded(self._slice(raw))
            for one in together:
                one.is_durable = is_durable
                if is_durable:
                    one.ack()
            return is_durable

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
        decided = await self._decided(raw, topic)  # 1
        with self._activity.doing(f"decoding {raw}"):
            values = [None if r.offset in decided else r.value for r in raw.records]
            decoded = await until_done("decode", lambda: self._decoder.decode_batch(values, topic))
        await self._bury(  # 2, 3
            [
                self._letter(topic, "undecodable", raw.records[bad.index], bad.error)
                for bad in decoded.failures
            ]
        )
        if topic == REDRIVE and self._redrives is not None:
            applied = await self._send_back(self._redrives, raw, decoded.events)
        else:
            records = [
                Record(source.offset, source.timestamp, event)
                for source, event in zip(raw.records, decoded.events, strict=True)
                if event is not None
            ]
            piece = self._piece(raw, topic, raw.start, records)
            applied = await self._apply(piece, raw.records, partial(self._letter, topic, "refused"))
        self._count(raw, topic, applied, time.monotonic() - started)

    async def _decided(self, raw: RawSlice, topic: str) -> Container[int]:
        redrives = self._redrives
        if redrives is None or topic == REDRIVE or not raw.records:
            return ()
        oldest_ms = raw.records[0].timestamp
        with self._activity.doing(f"reading what was decided about {raw}"):
            return await self._persistence.until_done(
                "decisions", lambda: redrives.decided(topic, raw.tp.partition, oldest_ms)
            )

    async def _send_back(
        self, redrives: Redrives, raw: RawSlice, events: Sequence[Event | None]
    ) -> int:
        """Applies what a slice of ``redrive`` sends back; returns how many records."""
        until_done, topic_id = self._persistence.until_done, self._ids[raw.tp.topic]
        with self._activity.doing(f"reading what {raw} sends back"):
            requests = await until_done("redrive", lambda: redrives.requests(raw, events))
        done, applied = raw.start, 0
        for offset, request in requests:
            with self._activity.doing(f"reading what {raw} sends back by offset {offset}"):
                send = partial(redrives.send, (offset, request), raw, topic_id, done)
                sent = await until_done("redrive", send)
            await self._bury([sent.letter] if sent.letter else [])
            letter = partial(redrives.letter, request, "refused")
            applied += await self._apply(sent.piece, sent.tried, letter)
            done = offset + 1
        if done < raw.end:
            await self._apply(self._piece(raw, REDRIVE, done, []), (), _no_letter)
        return applied

    def _piece(self, raw: RawSlice, topic: str, start: int, records: list[Record]) -> Slice:
        topic_id = self._ids[raw.tp.topic]
        return Slice(topic, raw.tp.partition, topic_id, start, raw.end, records)

    async def _apply(
        self,
        piece: Slice,
        sources: Sequence[RawRecord],
        letter: Callable[[RawRecord, Exception], DeadLetter],
    ) -> int:
        """Applies a slice, without those that the unit refuses; returns how many are left.

        Args:
            piece: The slice.
            sources: What its records were decoded from.
            letter: Makes the letter of one that is refused.
        """
        while True:
            with self._activity.doing(f"applying {piece.source}@[{piece.start}, {piece.end})"):
                try:
                    await self._persistence.until_done("apply", partial(self._unit.apply, piece))
                except PoisonError as error:
                    refused = error
                else:
                    return len(piece.records)
            kept = [record for record in piece.records if record.offset != refused.offset]
            if len(kept) == len(piece.records):
                raise Defect(
                    f"unit {self._unit.name} refuses offset {refused.offset}, "
                    f"which is not in {piece.source}@[{piece.start}, {piece.end}): {refused}"
                ) from refused
            source = next(r for r in sources if r.offset == refused.offset)
            await self._bury([letter(source, refused)])
            piece = replace(piece, records=kept)

    def _letter(
        self, topic: str, reason: Reason, record: RawRecord, error: Exception
    ) -> DeadLetter:
        detail = f"{type(error).__name__}: {error}"
        group = self._settings.group
        return DeadLetter(record, topic, self._unit.name, reason, detail, group=group)

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        with self._activity.doing(f"appending {len(letters)} dead letters"):
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


def _no_letter(record: RawRecord, error: Exception) -> DeadLetter:
    raise Defect(f"offset {record.offset} of an empty slice was refused: {error}")
