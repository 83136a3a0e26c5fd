"""What is compared of trends: what trended in each window of a day, what of it is told to have
begun, and the uses that it came of.

Trends are worked out some time after the log says what they follow from, by a process of each
generation. So a side is read up to a moment (:func:`settled`) that its leader should be past, and
is waited for where it is not. Uses expire; those that may have in one generation and not in another
are nobody's.

Bounded by: ``WAIT_S``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from infra import trending
from projections.base import RetryableError
from projections.trends.layout import DAY_MS, Shape
from projections.trends.leader import CLOCK_SKEW_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from infra.compose import Engines
    from projections.trends.read import TrendsReader

WAIT_S = 60.0
POLL_S = 0.2
EXPIRED = "expired"


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def settled(shape: Shape) -> int:
    """Returns the moment up to which trends are compared."""
    return now_ms() - shape.late_ms - CLOCK_SKEW_MS - 2 * shape.slot_ms


def kept(slot: int, shape: Shape) -> bool:
    """Whether the uses of a slot are there in every generation."""
    return slot * shape.slot_ms > now_ms() - DAY_MS


async def worked_out(reader: TrendsReader, upto: int) -> None:
    """Returns when nothing that ended by a moment is still to be worked out.

    Raises:
        RetryableError: that takes longer than ``WAIT_S``, or an engine is away.
    """
    deadline = time.monotonic() + WAIT_S
    while not await reader.worked_out(upto):
        if time.monotonic() > deadline:
            raise RetryableError("trends are not worked out yet; try again in some minutes")
        await asyncio.sleep(POLL_S)


def reads(on: Engines, beside: Engines) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """Returns what answers each kind; see :func:`infra.diff.views.reads`."""
    del beside
    reader, shape = trending.reader(on), trending.shape(on.settings)
    scope = on.keys("trends").unit

    async def trends(key: tuple[str, int, int]) -> Any:
        of, woeid, day = key
        if of != scope:
            return None
        upto = settled(shape)
        await worked_out(reader, upto)
        return {
            str(found.window_end): msgspec.to_builtins(found.trends)
            for found in await reader.of_day(woeid, day)
            if found.trends and found.window_end <= upto
        }

    async def starts(key: tuple[str, int]) -> Any:
        of, day = key
        if of != scope:
            return None
        upto = settled(shape)
        await worked_out(reader, upto)
        return {
            str(start.window_end): [[one.term, one.authors] for one in start.began]
            for start in await reader.starts_of_day(day)
            if start.window_end <= upto
        }

    async def uses(key: tuple[str, int, int]) -> Any:
        of, slot, shard = key
        if of != scope:
            return None
        if not kept(slot, shape):
            return EXPIRED
        return {"uses": await reader.uses(slot, shard)}

    return {"trends": trends, "starts": starts, "uses": uses}
