"""Which offsets of which partitions are applied, and so may be committed.

The transport hands out slices; the agent acks a slice once its effects are durable. In between the
ledger keeps, per partition, three numbers and the slices still out::

    committed <= applied <= handed_out        (a resume may put ``committed`` anywhere)

- ``handed_out``: the next offset to hand out. A slice starts here, not at its first record, and
  ends at the consumer's position after the poll, not at its last record. So the gaps of compaction,
  transaction markers and aborted transactions are covered by the slice around them, and where the
  position moved and no record came, the slice is empty.
- ``applied``: every offset below it is applied. An ack in order moves this number; an ack out of
  order waits for those before it. No offset is ever put into a list.
- ``committed``: what the group's coordinator was last told.

An ack of a slice that the ledger does not know (handed out before a rebalance) changes nothing.
Bound: the slices out are those in the agent's queue (``transport``) and in hand (``agents``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from faust.types import TP

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord


class RawSlice:
    """Consecutive raw records of one partition: what Faust carries as one message.

    Attributes:
        tp: Topic (physical name) and partition.
        start: First offset covered.
        end: Next offset after the slice.
        records: What lies in ``[start, end)``, ascending; may be empty.
        acked: Whether the effects are durable.
    """

    __slots__ = ("acked", "end", "records", "start", "tp")

    def __init__(
        self, tp: TP, start: int, end: int, records: list[ConsumerRecord[bytes, bytes]]
    ) -> None:
        self.tp = tp
        self.start = start
        self.end = end
        self.records = records
        self.acked = False

    def __repr__(self) -> str:
        return f"{self.tp.topic}/{self.tp.partition}@[{self.start}, {self.end})"


def joined(pieces: Sequence[RawSlice]) -> RawSlice:
    """Returns slices of one partition, each of which begins where the one before ends, as one."""
    if len(pieces) == 1:
        return pieces[0]
    records = [record for piece in pieces for record in piece.records]
    return RawSlice(pieces[0].tp, pieces[0].start, pieces[-1].end, records)


class OutOfOrder(Exception):
    """The log went back below what was handed out; nothing of it may be applied."""


class _Partition:
    __slots__ = ("applied", "committed", "handed_out", "out")

    def __init__(self, resumed_at: int, committed: int | None) -> None:
        self.handed_out = resumed_at
        self.applied = resumed_at
        self.committed = committed
        self.out: deque[RawSlice] = deque()


class Ledger:
    """The books of every partition assigned to one consumer."""

    def __init__(self) -> None:
        self._partitions: dict[TP, _Partition] = {}
        self.epoch = 0

    def forget(self) -> None:
        """Closes the books: what is out now is never committed, and positions are asked anew."""
        self._partitions.clear()
        self.epoch += 1

    def resume(self, tp: TP, at: int, committed: int | None) -> None:
        """Opens the books of a partition at ``at``, which its unit has applied.

        Args:
            tp: The partition.
            at: Next offset to hand out.
            committed: The group's committed offset, ``None`` when there is none.
        """
        self._partitions[tp] = _Partition(at, committed)

    def knows(self, tp: TP) -> bool:
        """Whether the partition was resumed since the last ``forget``."""
        return tp in self._partitions

    def hand_out(
        self, tp: TP, records: list[ConsumerRecord[bytes, bytes]], position: int
    ) -> RawSlice | None:
        """Makes the slice of one poll; ``None`` when there is nothing new.

        Args:
            tp: A known partition.
            records: What the poll returned, ascending.
            position: The consumer's position after the poll.

        Raises:
            OutOfOrder: A record or the position lies below what was handed out before.
        """
        books = self._partitions[tp]
        first = records[0].offset if records else position
        if first < books.handed_out or position < books.handed_out:
            raise OutOfOrder(
                f"{tp.topic}/{tp.partition} was read to {books.handed_out}, "
                f"and the log now answers with {min(first, position)}"
            )
        if position == books.handed_out:
            return None
        piece = RawSlice(tp, books.handed_out, position, records)
        books.handed_out = position
        books.out.append(piece)
        return piece

    def ack(self, piece: RawSlice) -> bool:
        """Marks a slice as applied; returns whether the applied position moved."""
        books = self._partitions.get(piece.tp)
        if books is None or piece not in books.out:
            return False
        piece.acked = True
        before = books.applied
        while books.out and books.out[0].acked:
            books.applied = books.out.popleft().end
        return books.applied != before

    def due(self) -> dict[TP, int]:
        """Offsets that the coordinator has not been told yet."""
        return {
            tp: books.applied
            for tp, books in self._partitions.items()
            if books.applied != books.committed
        }

    def told(self, offsets: Mapping[TP, int]) -> None:
        """Records a commit that the coordinator confirmed."""
        for tp, offset in offsets.items():
            if tp in self._partitions:
                self._partitions[tp].committed = offset

    def committed(self) -> dict[TP, int | None]:
        """The committed offset of every known partition."""
        return {tp: books.committed for tp, books in self._partitions.items()}

    def applied(self) -> dict[TP, int]:
        """The applied offset of every known partition."""
        return {tp: books.applied for tp, books in self._partitions.items()}

    def unknown(self, tps: Iterable[TP]) -> set[TP]:
        """Those of ``tps`` that were not resumed yet."""
        return {tp for tp in tps if tp not in self._partitions}
