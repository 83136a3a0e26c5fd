"""What every unit of projection is to the worker that feeds it, and the ways in which it can fail.

Errors, by what the worker does about them::

    ProjectionError
    ├── RetryableError   an engine is away or slow: the same slice is tried again, with backoff
    │   ├── PartlyRead   what the cache holds could be read, and the rest could not
    │   └── Overloaded   refused before anything was done: too much of it is under way
    ├── PoisonError      one record can never be applied: it becomes a dead letter, the rest goes on
    └── StateLost        Redis went back in time: the worker ends, and resumes from what is left
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from events.slices import Slice


class ProjectionError(Exception):
    """Base of all that a projection raises on purpose."""


class RetryableError(ProjectionError):
    """An engine did not answer; trying the same work again is right and safe."""


class Overloaded(RetryableError):
    """Too much of this is under way; nothing was done."""


class PartlyRead(RetryableError):
    """Some entries are in the cache, and the others could not be loaded.

    Whoever cannot do with a part lets it pass, as any other engine that is away. A missing entry is
    *not known*: nothing may be taken for absent because of it.

    Attributes:
        found: The entries that are known, by id.
        missing: The ids of which nothing is known.
    """

    def __init__(self, why: str, found: Mapping[int, Any], missing: Collection[int]) -> None:
        super().__init__(why)
        self.found = found
        self.missing = frozenset(missing)


class PoisonError(ProjectionError):
    """One record can never be applied.

    Attributes:
        offset: The record's offset in its slice's partition.
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset


class StateLost(ProjectionError):
    """A bucket's position is behind what this worker wrote there: acknowledged writes were lost."""


class Unit(Protocol):
    """A projection as its worker sees it; one consumer group and one generation.

    ``apply`` is called for one slice of a partition at a time, in order of offset; slices of
    different partitions may be applied concurrently.
    """

    @property
    def name(self) -> str:
        """The unit's name, such as ``timelines``."""
        ...

    @property
    def topics(self) -> frozenset[str]:
        """Logical names of the topics that feed it."""
        ...

    async def open(self) -> None:
        """Creates the generation's tables where they are missing and prepares statements."""
        ...

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        """Returns the next offset to read, or None to read from the earliest.

        Raises:
            ForeignTopic: the position on record is of another topic of the same name.
        """
        ...

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; returns when its effects and its position are durable.

        Raises:
            RetryableError: nothing is lost; apply the same slice again.
            PoisonError: apply the slice again without that record.
            StateLost: end the worker.
        """
        ...

    async def heartbeat(self) -> None:
        """Carries positions to the buckets that had nothing to do; called about every second."""
        ...

    async def close(self) -> None:
        """Releases what ``open`` took; clients that were passed in stay open."""
        ...


class ForeignTopic(ProjectionError):
    """The position on record belongs to another topic that had the same name."""
