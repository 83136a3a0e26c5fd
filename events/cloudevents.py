"""CloudEvents 1.0 in Kafka's binary mode: the envelope is in the record's headers, the value is
the event.

Any tool that knows CloudEvents can tell what a record is without its schema.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from events.errors import InvalidEvent
from events.types import Event
from schemas.catalog import NAMESPACE

CONTENT_TYPE = b"application/avro"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def headers_of(
    event: Event, key: bytes, source: bytes, traceparent: str | None = None
) -> list[tuple[str, bytes]]:
    """The headers of an event's record.

    Args:
        event: The event.
        key: Its record key; what the event is about.
        source: URI reference of the producer.
        traceparent: W3C trace context of the command, when there is one.

    Raises:
        InvalidEvent: ``traceparent`` is not one, or the event's time is beyond the year 9999.
    """
    kind = type(event).__name__
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event.event_id).encode()),
        ("ce_source", source),
        ("ce_type", f"{NAMESPACE}.{kind}".encode()),
        ("ce_time", _time(event)),
        ("ce_subject", key),
        ("content-type", CONTENT_TYPE),
    ]
    if traceparent is not None:
        if not _TRACEPARENT.fullmatch(traceparent):
            raise InvalidEvent("is not a W3C traceparent", event_type=kind, field="traceparent")
        headers.append(("traceparent", traceparent.encode()))
    return headers


def _time(event: Event) -> bytes:
    try:
        moment = datetime.fromtimestamp(event.occurred_at // 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        kind = type(event).__name__
        raise InvalidEvent(str(error), event_type=kind, field="occurred_at") from error
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{event.occurred_at % 1000:03d}Z".encode()
