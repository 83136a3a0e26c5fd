"""Dead letters: records that can never be applied, kept as they are, with origin and reason.

A letter is the raw record under its original key; its headers are the original ones followed by
ours, which start with ``dl_``. Keeps true: ``append`` returns when every letter is durable
(``acks=all``), so a slice acked afterwards loses nothing. A failed append is repeated by the
caller, and every generation buries what it cannot apply, so a letter may be in the topic more than
once: readers take (origin, unit) as its identity.

Bounded by the records of one slice, and ``VALUE_BYTES_MAX`` bytes of a record: a larger one is left
where it is, in the log at its origin, so that a letter always fits into its topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.structs import ConsumerRecord
from confluent_kafka import KafkaError, KafkaException, Producer

from events.errors import OutcomeUnknown

Reason = Literal["undecodable", "refused", "missing"]

APPEND_SECONDS_MAX = 5.0
VALUE_BYTES_MAX = 900_000
"""Key, value and headers of a record that its letter carries; a broker takes 1 MiB by default."""


@dataclass(frozen=True)
class DeadLetter:
    """One record given up on.

    Attributes:
        record: The raw record.
        topic: Logical name of its topic.
        unit: Who gave up.
        reason: ``undecodable`` (our decoder), ``refused`` (the unit), or ``missing`` (a redrive of
            what the log does not hold any more).
        detail: The error in words.
        attempt: How many times it was tried.
        group: Consumer group of who gave up, which names the generation.
    """

    record: ConsumerRecord[bytes, bytes]
    topic: str
    unit: str
    reason: Reason
    detail: str
    attempt: int = 1
    group: str = ""

    @property
    def whole(self) -> bool:
        """Whether the letter carries the record; else it only says where it is."""
        headers = sum(len(name) + len(held) for name, held in self.record.headers)
        size = len(self.record.key or b"") + len(self.record.value or b"") + headers
        return size <= VALUE_BYTES_MAX

    def headers(self) -> list[tuple[str, bytes]]:
        """The original headers, then origin and reason."""
        theirs = self.record.headers
        ours: dict[str, str | int] = {
            "dl_topic": self.topic,
            "dl_partition": self.record.partition,
            "dl_offset": self.record.offset,
            "dl_unit": self.unit,
            "dl_reason": self.reason,
            "dl_detail": self.detail[:500],
            "dl_attempt": self.attempt,
            "dl_appended_at": self.record.timestamp,
            "dl_group": self.group,
        }
        if not self.whole:
            ours["dl_left_out_bytes"] = len(self.record.value or b"")
            theirs = ()
        return [*theirs, *((k, str(v).encode()) for k, v in ours.items())]


class DeadLetters:
    """Appends letters to one topic.

    Args:
        bootstrap: ``host:port`` of the brokers.
        topic: Physical name of the topic, which must exist.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self._producer: Producer | None = None

    async def append(self, letters: Sequence[DeadLetter]) -> None:
        """Appends all of ``letters``; returns when they are durable.

        Raises:
            OutcomeUnknown: Not all were acknowledged in time; append them all again.
            KafkaException: The broker refused one for a reason that repeats.
        """
        if letters:
            await asyncio.to_thread(self._append, letters)

    def _append(self, letters: Sequence[DeadLetter]) -> None:
        producer = self._open()
        failures: list[KafkaError] = []
        done = 0

        def on_delivery(error: KafkaError | None, _message: object) -> None:
            nonlocal done
            done += 1
            if error is not None:
                failures.append(error)

        for letter in letters:
            self._produce(producer, letter, on_delivery)
        producer.flush(APPEND_SECONDS_MAX)
        if done < len(letters) or any(_passes(error) for error in failures):
            producer.purge()
            producer.flush(APPEND_SECONDS_MAX)
            raise OutcomeUnknown(f"{done - len(failures)} of {len(letters)} dead letters", None)
        if failures:
            raise KafkaException(failures[0])

    def _produce(
        self, producer: Producer, letter: DeadLetter, on_delivery: Callable[..., Any]
    ) -> None:
        producer.produce(
            self._topic,
            value=letter.record.value if letter.whole else None,
            key=letter.record.key if letter.whole else None,
            headers=letter.headers(),
            on_delivery=on_delivery,
        )
        producer.poll(0)

    def _open(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "acks": "all",
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",
                    "delivery.timeout.ms": int(APPEND_SECONDS_MAX * 1000),
                    "log_level": 3,
                }
            )
        return self._producer


def _passes(error: KafkaError) -> bool:
    """Whether the same append may succeed later."""
    return bool(error.retriable()) or error.code() in (
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
    )
