"""What can go wrong with events, as one tree.

EventsError
├── PoisonError            these bytes can never be read: a dead letter, then go on
│   ├── MalformedEvent     not the Confluent wire format, or the Avro body does not decode
│   ├── UnknownSchema      the registry does not know the schema id
│   └── WrongType          a well-formed record of a type that we do not read here
├── RetryableError         nothing is wrong with the event: try the same again, with backoff
│   ├── RegistryUnavailable the schema registry is away
│   ├── SchemaNotFetched   the codec has not asked the registry for this schema id yet
│   ├── BrokerUnreachable  nothing was sent, for certain
│   ├── QueueFull          too many appends in flight; nothing was sent
│   ├── StoreUnavailable   the store of leases and idempotency keys is away
│   ├── NoMachineId        every machine id for Snowflake ids is held
│   ├── LeaseLost          no id can be minted: the lease is over and no other could be had
│   └── ClockWentBack      no id can be minted: the clock is behind the last id
├── RejectedError          the same event can never be appended: change it
│   ├── InvalidEvent       a field is not what its schema allows; ``field`` names it
│   ├── EventTooLarge      more bytes than the log takes
│   └── KeyReused          the idempotency key was used for another event
├── OutcomeUnknown         sent, not acknowledged: retry with the same idempotency key
├── AppendManyFailed       some of many events were not appended: ``outcomes`` tells which
├── LogClosed              the log was closed; open a new one
├── AppendRefused          the broker said no for a reason that an operator must remove
├── SchemaRefused          the registry refuses a schema as incompatible; ``field`` names the cause
└── TopicMismatch          a topic on the broker is not what ``topics.yaml`` says
"""

from __future__ import annotations

from collections.abc import Sequence

from events.position import Position


class EventsError(Exception):
    """Root of everything this package raises on purpose."""


class PoisonError(EventsError):
    """These bytes can never be read."""


class MalformedEvent(PoisonError):
    """Not the wire format, or the body does not decode with the schema that it names."""


class UnknownSchema(PoisonError):
    """The registry does not know the schema id.

    Attributes:
        schema_id: The id in the record.
    """

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"the schema registry knows no schema with id {schema_id}")
        self.schema_id = schema_id


class WrongType(PoisonError):
    """A well-formed record whose schema is not one that this reader understands or expects here."""


class RetryableError(EventsError):
    """Nothing is wrong with the event; the same call can succeed later."""


class RegistryUnavailable(RetryableError):
    """The schema registry did not answer, or answered with a server error."""


class SchemaNotFetched(RetryableError):
    """The codec has not asked the registry for this schema id yet: ``await codec.prepare(…)``.

    Attributes:
        schema_id: The id in the record.
    """

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema {schema_id} was not fetched yet; prepare the batch first")
        self.schema_id = schema_id


class BrokerUnreachable(RetryableError):
    """No broker could be reached and nothing was sent: the event is certainly not in the log."""


class QueueFull(RetryableError):
    """Too many appends are in flight; this one was not sent."""


class StoreUnavailable(RetryableError):
    """The store did not answer; a write may or may not have happened."""


class NoMachineId(RetryableError):
    """Every machine id is held; one comes free when its lease is over."""


class LeaseLost(RetryableError):
    """No id can be minted now: the lease is over and no other could be had."""


class ClockWentBack(RetryableError):
    """No id can be minted now: the clock is behind the last id.

    Attributes:
        drift_ms: How far behind, in milliseconds.
    """

    def __init__(self, drift_ms: int) -> None:
        super().__init__(
            f"the clock went back: it is {drift_ms} ms behind the last id; "
            f"no ids until it has caught up"
        )
        self.drift_ms = drift_ms


class RejectedError(EventsError):
    """The same event can never be appended."""


class InvalidEvent(RejectedError):
    """A field is not what its schema allows.

    Attributes:
        event_type: Name of the event.
        field: Dotted path of the field; empty when it is the whole event.
    """

    def __init__(self, what: str, *, event_type: str, field: str) -> None:
        place = f"{event_type}.{field}" if field else event_type
        super().__init__(f"invalid event: {place}: {what}")
        self.event_type = event_type
        self.field = field


class EventTooLarge(RejectedError):
    """More bytes than the log takes.

    Attributes:
        size_bytes: Encoded size, when known.
        limit_bytes: What the log takes.
    """

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the event has {size_bytes} bytes; the log takes {limit_bytes} at most")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class KeyReused(RejectedError):
    """The idempotency key was used before, for another event.

    Attributes:
        idempotency_key: The key.
    """

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(
            f"idempotency key {idempotency_key!r:.80} was used for another event; use a new key"
        )
        self.idempotency_key = idempotency_key


class OutcomeUnknown(EventsError):
    """The event was sent and not acknowledged in time: it may or may not be in the log.

    Attributes:
        why: What is known of it.
        idempotency_key: Retry with this key to append the same bytes and get one answer; ``None``
            when the append carried none, and a retry may then put the event in the log twice.
    """

    def __init__(self, why: str, idempotency_key: str | None) -> None:
        hint = (
            f"retry with idempotency key {idempotency_key!r}"
            if idempotency_key
            else "no idempotency key was given"
        )
        super().__init__(f"the append may or may not have happened: {why}; {hint}")
        self.why = why
        self.idempotency_key = idempotency_key


class AppendManyFailed(EventsError):
    """Some of many events were not appended.

    Attributes:
        outcomes: Position or error of each event, in order; those after the last one were not
            tried.
    """

    def __init__(self, outcomes: Sequence[Position | EventsError], count: int) -> None:
        errors = [outcome for outcome in outcomes if isinstance(outcome, EventsError)]
        untried = count - len(outcomes)
        super().__init__(
            f"{len(errors)} of {count} events failed and {untried} were not tried; "
            f"the first error: {errors[0]}"
        )
        self.outcomes = outcomes


class LogClosed(EventsError):
    """The log was closed before the append; nothing was sent."""


class AppendRefused(EventsError):
    """The broker refused the append for a reason that repeats until an operator removes it."""


class SchemaRefused(EventsError):
    """The registry refuses a schema as incompatible with a published one.

    Attributes:
        subject: The registry subject.
        field: The field that makes it so, when it could be told; else empty.
    """

    def __init__(self, subject: str, why: str, field: str = "") -> None:
        super().__init__(f"schema refused for {subject}: {why}")
        self.subject = subject
        self.field = field


class TopicMismatch(EventsError):
    """A topic on the broker is not what ``topics.yaml`` says, and cannot be changed in place."""
