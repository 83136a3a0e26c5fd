"""What an append that went wrong means to a client: one table from the log's errors to problems.

Keeps true: 503 says that nothing happened, and 504 that nobody knows; a client that retries a 504
with the same ``Idempotency-Key`` does the thing once.
"""

from __future__ import annotations

from events.errors import (
    AppendRefused,
    EventsError,
    EventTooLarge,
    InvalidEvent,
    KeyReused,
    LogClosed,
    OutcomeUnknown,
    QueueFull,
    RetryableError,
)
from gateway.guards.guard import engine_away
from gateway.problems import FieldError, Problem, unavailable


def unknown_outcome() -> Problem:
    """The event was sent and not acknowledged (504)."""
    return Problem(
        504,
        "outcome-unknown",
        "The command was sent, and it is not known whether it took effect. Send it again with the "
        "same Idempotency-Key: it is then done once, and answered as if for the first time. If it "
        "had no Idempotency-Key, look first whether it took effect.",
        headers=[("retry-after", "1")],
    )


def append_problem(error: EventsError) -> Problem:
    """Returns what to answer for a failed append; unknown errors are raised again."""
    match error:
        case QueueFull():
            return unavailable(
                "log-busy", "Too many commands are under way. Nothing was changed. Try again."
            )
        case RetryableError() | LogClosed():
            away = engine_away(error)
            return unavailable(
                "log-away",
                "The log does not answer. Nothing was changed. Try again.",
                retry_after_seconds=away.retry_after_seconds if away is not None else 2,
            )
        case EventTooLarge():
            return Problem(413, "event-too-large", f"The command is too large: {error}. Send less.")
        case InvalidEvent():
            return Problem(
                422,
                "invalid-field",
                f"The command is not valid: {error}. Correct it and send it again.",
                errors=[FieldError(error.field or "$", str(error))],
            )
        case KeyReused():
            return Problem(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another command. Use a new key.",
                errors=[FieldError("Idempotency-Key", "was used for another command")],
            )
        case OutcomeUnknown():
            return unknown_outcome()
        case AppendRefused():
            return unavailable(
                "log-refuses",
                "The log refuses writes until an operator has looked at it. Nothing was changed.",
                retry_after_seconds=30,
            )
        case _:
            raise error
