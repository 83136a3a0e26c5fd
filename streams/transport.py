"""The slice transport: Faust, with a slice of a partition as its message instead of a record.

Stock Faust spends several asyncio tasks on each message, about 10 thousand a second and process.
Here the message is what one poll returned of one partition, so that this cost is paid per slice:

1. ``_getmany`` polls aiokafka and hands out one ``RawSlice`` per partition whose position moved.
2. Faust's conductor puts it into the agent's queue, as it would a record.
3. The agent acks by hand after the write (``ack``), which moves a number in the ledger.
4. ``force_commit`` tells the coordinator the ledger's numbers, every commit interval and before
   partitions are given up.

Keeps true:

- Nothing is committed that was not acked, nor past a slice that is still out.
- Commits reach the end of the log: gaps belong to slices, and a tail without records (a
  transaction marker) is an empty slice.
- A partition starts where its unit's state says (``Resume``), never at the group's committed
  offset; and an offset that the log does not hold is an error, never a silent reset.

Bounds: one fetch response per partition (``consumer_max_fetch_size``) waits in aiokafka and
``stream_buffer_maxsize`` slices of ``broker_max_poll_records`` wait in the agent's queue; a full
queue stops the polling. Decision 0020 tells the faults of Faust that are stepped around here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT, TPorTopicSet
from mode.threads import WorkerThread

from streams.errors import LogMoved
from streams.ledger import Ledger, OutOfOrder, RawSlice
from streams.watchdog import Progress

T = TypeVar("T")

# How long the broker holds a fetch that finds nothing. aiokafka has one fetch in flight per broker:
# a partition that was drained meanwhile waits this long before it is asked for again.
FETCH_WAIT_MS_MAX = 100
# A whole fetch response; ``consumer_max_fetch_size`` bounds one partition's share of it.
FETCH_BYTES_MAX = 8 * 1024 * 1024
POLL_SECONDS = 0.5
REVOKE_COMMIT_SECONDS_MAX = 2.0


@dataclass(frozen=True)
class Bounds:
    """What the log holds of a partition, and what the group committed.

    Attributes:
        earliest: First offset in the log.
        end: Next offset that a reader of committed records can reach.
        committed: The group's committed offset, ``None`` when there is none.
    """

    earliest: int
    end: int
    committed: int | None


class Resume(Protocol):
    """Says where a partition is read from."""

    async def __call__(self, tp: TP, bounds: Bounds) -> int:
        """Returns the next offset to read; raises what must end the worker."""
        ...


@dataclass(frozen=True)
class Polled:
    """What one poll returned of one partition."""

    records: list[ConsumerRecord[bytes, bytes]]
    position: int


class _Thread(WorkerThread):
    """A thread that does not keep the process from ending: a broker that is away can hold it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka in a thread with a loop of its own, so that heartbeats outlive a busy agent."""

    Worker = _Thread

    async def here(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` in the thread; unlike ``call_thread`` it queues behind nothing.

        Raises:
            ConsumerStoppedError: The thread has ended.
        """
        if self.thread_loop.is_closed():
            work.close()
            raise ConsumerStoppedError
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS_MAX,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            check_crcs=conf.broker_check_crcs,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def poll(self, wanted: set[TP], timeout_seconds: float) -> dict[TP, Polled]:
        """Records and position of each of ``wanted``, read in one step of the thread's loop."""
        consumer = self._ensure_consumer()
        records = await self._fetch_records(
            consumer, wanted, timeout=timeout_seconds, max_records=consumer._max_poll_records
        )
        polled = {}
        assignment = consumer._subscription.subscription.assignment
        for tp in wanted:
            state = assignment.state_value(tp) if assignment else None
            if state is not None and state.has_valid_position:
                polled[tp] = Polled(list(records.get(tp, ())), state.position)
        return polled

    async def bounds(self, tps: set[TP]) -> dict[TP, Bounds]:
        """Asks the log and the coordinator about ``tps``."""
        consumer = self._ensure_consumer()
        earliest = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        return {tp: Bounds(earliest[tp], ends[tp], await consumer.committed(tp)) for tp in tps}

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        """Moves the positions of those partitions that are still assigned."""
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            if tp in consumer.assignment():
                consumer.seek(tp, offset)

    async def tell(self, offsets: Mapping[TP, int]) -> bool:
        """Commits; ``False`` when the group has moved on and the offsets are another's now."""
        consumer = self._ensure_consumer()
        mine = consumer.assignment()
        if not set(offsets) <= mine:
            return False
        try:
            await consumer.commit(
                {
                    driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(at, "")
                    for tp, at in offsets.items()
                }
            )
        except (CommitFailedError, IllegalStateError) as error:
            self.log.info("commit refused, the group is rebalancing: %s", error)
            return False
        return True

    def end_offset(self, tp: TP) -> int | None:
        """The last stable offset seen in a fetch response; ``None`` before the first."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return None
        state = subscription.assignment.state_value(tp)
        return cast("int | None", state.lso) if state else None


class Consumer(driver.Consumer):
    """Faust's consumer with the ledger in place of its lists of offsets."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # From the log to the agent

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:  # noqa: ASYNC109
        active = active_partitions or set()
        if not await self._resumed(active):
            return {}
        epoch = self.ledger.epoch
        try:
            polled = await self._thread.here(self._thread.poll(active, POLL_SECONDS))
            if epoch != self.ledger.epoch:
                return {}
            return self._slices(polled)
        except (OffsetOutOfRangeError, OutOfOrder) as error:
            raise LogMoved(f"the log no longer holds what was to be read next: {error}") from error

    def _slices(self, polled: Mapping[TP, Polled]) -> dict[TP, list[RawSlice]]:
        pieces = {}
        for tp, poll in polled.items():
            piece = self.ledger.hand_out(tp, poll.records, poll.position)
            if piece is not None:
                pieces[tp] = [piece]
        return pieces

    async def _resumed(self, active: set[TP]) -> bool:
        """Moves fresh partitions to where their unit resumes; ``False`` when a rebalance cut in."""
        fresh = self.ledger.unknown(active)
        if not fresh:
            return True
        epoch = self.ledger.epoch
        bounds = await self._thread.here(self._thread.bounds(fresh))
        resume = cast("Transport", self.transport).resume
        offsets = {tp: await resume(tp, bounds[tp]) for tp in sorted(fresh)}
        await self._thread.here(self._thread.seek_all(offsets))
        if epoch != self.ledger.epoch:
            return False
        for tp, offset in offsets.items():
            self.ledger.resume(tp, offset, bounds[tp].committed)
            self._read_offset[tp] = offset or None
        return True

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        piece: Any = record  # Faust expects bytes here; a slice is as opaque to it
        generation = self.app.consumer_generation_id
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            piece.start,
            0.0,
            1,
            None,
            None,
            piece,
            None,
            tp=tp,
            generation_id=generation,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps lie inside slices: the ledger needs no list of them."""

    def on_buffer_full(self, tp: TP) -> None:
        """Keeps the partition: a full queue blocks the poll loop, which is the bound we want.

        Faust would drop it from the fetch and, with no partition left, sleep for a whole second.
        """

    # From the agent to the coordinator

    def ack(self, message: Message) -> bool:
        """Marks the message's slice as applied."""
        self._unacked_messages.discard(message)
        message.acked = True
        return self.ledger.ack(cast(RawSlice, message.value))

    async def commit(
        self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True
    ) -> bool:
        """Commits what was acked before this call.

        Faust's waits for one that is under way, whose offsets may be older, and takes it for its
        own.
        """
        is_under_way = self._commit_fut is not None
        done = await super().commit(topics, start_new_transaction)
        if done or not is_under_way:
            return done
        return await super().commit(topics, start_new_transaction)

    async def force_commit(
        self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True
    ) -> bool:
        """Tells the coordinator what was applied; called by ``commit``, one at a time."""
        due = self.ledger.due()
        if not due or not await self._thread.here(self._thread.tell(due)):
            return False
        self.ledger.told(due)
        return True

    async def perform_seek(self) -> None:
        """Closes the books; the next poll asks the unit where to resume.

        Faust calls this after each rebalance, and when it dropped records that came while the flow
        was stopped. Asking there would be bounded by ``broker_request_timeout``, which an engine's
        outage may exceed.
        """
        self.ledger.forget()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits before the partitions are another's, then closes the books.

        Bounded: the group waits for this member, and what is not committed is only applied twice.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.commit(), REVOKE_COMMIT_SECONDS_MAX)
        self.ledger.forget()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Commits what was acked and leaves the rest to the next owner, without waiting for it."""
        self._unacked_messages.clear()
        with contextlib.suppress(ConsumerStoppedError):  # it crashed, there is nobody to tell
            await super().on_stop()

    def progress(self) -> dict[TP, Progress]:
        """Where each assigned partition stands, for the watchdog and the lag metric."""
        committed = self.ledger.committed()
        return {
            tp: Progress(committed.get(tp), self._thread.end_offset(tp), tp in committed)
            for tp in self._active_partitions | committed.keys()
        }

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's stall detector compares offsets that are not kept here; see ``watchdog``."""


class Transport(driver.Transport):
    """Set as ``app.transport``, with ``resume``, before the app starts."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer
    resume: Resume
