"""What records of the past say today: from the record of an old version to the next one's.

Avro's own resolution fills what is new with its default and drops what is gone. That is right for a
field that was added; it loses what was *moved*, split or said in another way. For such a step there
is an upcaster here: a pure function from the fields of version N, as its schema has them, to those
of version N+1. The codec applies them one after the other when it reads (``events.codec``), so that
no projection, no oracle and no tool knows of any version but today's.

Keeps true: an upcaster says nothing that the record did not say, and depends on nothing else, so a
replay years later says the same. From the first step of an event that has one, every later step of
it has one too: after an upcaster there are no bytes left that Avro could resolve.

To add a version: docs/schema-evolution.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]
"""Of one record, by name; records within it are dicts as well."""

Upcaster: TypeAlias = Callable[[Fields], Fields]


def _tweet_posted_v1(fields: Fields) -> Fields:
    """``geo``, a point that could name its place, becomes ``coordinates`` and ``place``."""
    geo = fields.pop("geo")
    fields["coordinates"] = fields["place"] = None
    if geo is not None:
        fields["coordinates"] = {"latitude": geo["latitude"], "longitude": geo["longitude"]}
        if geo["woeid"] is not None:
            fields["place"] = {"woeid": geo["woeid"], "country_woeid": None}
    return fields


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("TweetPosted", 1): _tweet_posted_v1,
}
"""By event and the version that a function reads; it returns the next one's fields."""


def path(event: str, version: int, newest: int) -> tuple[int, Sequence[Upcaster]]:
    """Returns how to read what a version wrote.

    Args:
        event: The event's name.
        version: What was written.
        newest: What is to be read.

    Returns:
        The version to which Avro resolves the bytes, and the upcasters from there on.

    Raises:
        LookupError: a step after the first upcaster has none.
    """
    first = next((v for v in range(version, newest) if (event, v) in UPCASTERS), newest)
    return first, [UPCASTERS[event, step] for step in range(first, newest)]
