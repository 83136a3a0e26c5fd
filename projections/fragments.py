"""Fragments: JSON objects that are built once and spliced as bytes into every answer.

A fragment is a small fixed binary header, which a reader's filters look at, followed by a JSON
object without its closing brace, so that what changes by the second (``public_metrics``) is
appended without parsing: ``body + b',"public_metrics":{…}}'``.

The format of a fragment belongs to its generation: another format is another generation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODER = msgspec.json.Encoder()


def rfc3339(milliseconds: int) -> str:
    """Returns a time since the Unix epoch as RFC 3339 in UTC, such as ``2024-05-01T08:00:00.123Z``.

    Years past 9999 cannot be written and end at the last millisecond of that year.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def open_object(value: msgspec.Struct) -> bytes:
    """Returns a struct as a JSON object without its closing brace; it must have a member."""
    return _ENCODER.encode(value)[:-1]
