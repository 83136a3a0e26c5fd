"""Histories of the log, and the slices that a worker may get of them."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from secrets import randbits

from events.slices import Origin, Record, Slice
from events.types import Event
from tests.oracle import LogRecord

TOPIC_ID = "contract"


class LogBuilder:
    """Appends events to partitions; offsets have gaps, as after compaction or a transaction.

    Args: rng: Decides where the gaps are. first_partition: Number of partition 0, fresh for each
    history, so that no position on record belongs to another.
    """

    def __init__(self, rng: Random, first_partition: int) -> None:
        self._rng = rng
        self._first = first_partition
        self._next: dict[tuple[str, int], int] = defaultdict(int)
        self.records: list[LogRecord] = []

    def append(self, topic: str, partition: int, event: Event, appended_at: int = 0) -> None:
        """Appends an event; ``partition`` counts from 0 within the history."""
        source = (topic, self._first + partition)
        offset = self._next[source] + (self._rng.randrange(3) if self._rng.random() < 0.1 else 0)
        self._next[source] = offset + 1
        self.records.append(LogRecord(*source, offset, event, appended_at))


def slices(history: list[LogRecord], rng: Random, longest: int) -> list[Slice]:
    """Cuts a history into slices: each partition in order, the partitions mixed by ``rng``."""
    by_source: dict[tuple[str, int], list[LogRecord]] = defaultdict(list)
    for record in history:
        by_source[record.topic, record.partition].append(record)
    queues = [_cut(source, records, rng, longest) for source, records in by_source.items()]
    mixed: list[Slice] = []
    while queues:
        queue = rng.choice(queues)
        mixed.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    return mixed


def redriven(history: list[LogRecord], rng: Random) -> list[Slice]:
    """Cuts a history of which some records were dead letters, sent back one by one.

    The slices of the others are mixed with those of a partition of ``redrive``, which may send a
    record back before its neighbours were read, as in a rebuild. That partition is a fresh one, so
    that no test finds the positions of another one.
    """
    letters: list[LogRecord] = []
    others: list[LogRecord] = []
    for record in history:
        (letters if rng.random() < 0.3 else others).append(record)
    rng.shuffle(letters)
    pieces = slices(others, rng, 5)
    at = sorted(rng.randrange(len(pieces) + 1) for _ in letters)
    partition, mixed = randbits(30), list(pieces)
    for offset, (place, letter) in enumerate(zip(at, letters, strict=True)):
        origin = Origin(letter.topic, letter.partition)
        back = [Record(letter.offset, letter.appended_at, letter.event)]
        piece = Slice("redrive", partition, TOPIC_ID, offset, offset + 1, back, origin)
        mixed.insert(place + offset, piece)
    return mixed


def _cut(
    source: tuple[str, int], records: list[LogRecord], rng: Random, longest: int
) -> list[Slice]:
    found: list[Slice] = []
    start = 0
    while records:
        part, records = records[: rng.randint(1, longest)], records[:]
        records = records[len(part) :]
        end = part[-1].offset + 1
        covered = [Record(one.offset, one.appended_at, one.event) for one in part]
        found.append(Slice(*source, TOPIC_ID, start, end, covered))
        start = end
    return found
