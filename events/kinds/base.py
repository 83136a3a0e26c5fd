"""What every event starts with, and the types of fields."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

INT64_MAX = 2**63 - 1

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Offset: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Int32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


class Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,  # plain values hold no cycles, and there are many of them
    tag_field="type",
    tag=True,
    forbid_unknown_fields=True,
):
    """What every event starts with.

    Attributes:
        event_id: Snowflake id of the event itself; orders facts that come from different
            partitions.
        occurred_at: When it happened, by the producer's clock, in milliseconds since the Unix
            epoch.
    """

    event_id: Id
    occurred_at: Millis
