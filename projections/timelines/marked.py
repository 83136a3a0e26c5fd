"""Marked timelines: cached ids that say from where upwards they are complete.

A string of 8 bytes per id behind a marker of 13; ``effects.lua`` keeps the rules. Ids stand in the
order in which they came, so that adding is an APPEND whatever the length (decision 0005 has the
figures beside a sorted set); a reader sorts what is nearly sorted already. A reader that finds a
timeline cold

1. marks it as being built, so that what is pushed meanwhile is collected;
2. reads the store;
3. fills it, if its mark still stands.

A timeline was filled in an *epoch* of pushing (:mod:`.tiers`). One of an earlier epoch lacks what
was posted while nothing was pushed: a reader who wants it whole takes it for cold.

Bounded by: whoever pushes trims to ``keep`` ids once a quarter more have come.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from projections.base import RetryableError
from projections.bus import Command, RedisBus, Reply
from projections.functions import EFFECTS
from projections.positions import Effect
from projections.timelines.layout import BUILD_SECONDS, pack_ids, unpack_ids

MARKER_BYTES, ID_BYTES = 13, 8
_FLOOR_END, _FILLED_END = 9, 11
EPOCHS = 1 << 16
"""Epochs that a marker can tell apart."""

COMPLETE, BUILDING = b"F", b"B"

TIMELINES_PER_EFFECT_MAX = 1_000
"""Timelines in one operation; an APPEND and what surrounds it take about 1 µs of Redis."""

T = TypeVar("T")

_COLLECT = EFFECTS.name("murmur_collect")
_FINISH = EFFECTS.name("murmur_finish_timeline")


class Window(msgspec.Struct, frozen=True):
    """What a read of a marked timeline found.

    Attributes:
        ids: Newest first, under the cursor and from the marker upwards.
        floor: Complete from this id upwards; None when the timeline is cold.
        more: The timeline holds more ids, under the last one.
        value: The timeline itself, for :func:`filled`; None when the ids were read from the store.
    """

    ids: list[int]
    floor: int | None
    more: bool
    value: bytes | None = None


COLD = Window([], None, False)


def query(key: bytes) -> Command:
    """Returns the command that reads a timeline; hand its reply to :func:`window`."""
    return ("GET", key)


def window(value: bytes | None, below: int, limit: int, epoch: int | None = None) -> Window:
    """Reads the reply to :func:`query`: up to ``limit`` ids under ``below``.

    Args:
        value: The reply.
        below: Where the window begins.
        limit: Ids at most.
        epoch: The timeline counts only if it was filled in this one; None for any.
    """
    if value is None or value[:1] != COMPLETE:
        return COLD
    if epoch is not None and _epoch(value) != epoch % EPOCHS:
        return COLD
    floor = _marker(value)
    ids = unpack_ids(value[MARKER_BYTES:]).tolist()
    ids.sort()
    found: list[int] = []
    for at in range(bisect_left(ids, below) - 1, -1, -1):
        tweet_id = ids[at]
        if tweet_id < floor:
            break
        if not found or tweet_id != found[-1]:
            if len(found) == limit:
                return Window(found, floor, True, value)
            found.append(tweet_id)
    return Window(found, floor, False, value)


def filled(value: bytes) -> frozenset[int]:
    """Returns which ids of a timeline it was filled with; the others were added since."""
    count = int.from_bytes(value[_FLOOR_END:_FILLED_END], "little")
    return frozenset(unpack_ids(value[MARKER_BYTES : MARKER_BYTES + count * ID_BYTES]))


def added(keep: int, timelines: Sequence[tuple[bytes, bytes]]) -> Iterator[Effect]:
    """Yields the effects that add packed ids to timelines, each trimmed to about ``keep``.

    Args:
        keep: How many ids a timeline holds.
        timelines: Keys of one bucket, with what to add.
    """
    for part in _parts(timelines):
        keys, ids = zip(*part, strict=True)
        yield keys, ("A", keep, len(part), *ids)


def shared(keep: int, keys: Sequence[bytes], ids: bytes) -> Iterator[Effect]:
    """Yields the effects that add the same packed ids to many timelines of one bucket."""
    for part in _parts(keys):
        yield part, ("S", keep, len(part), ids)


def backfilled(keys: Sequence[bytes], floor: int, ids: Iterable[int]) -> Iterator[Effect]:
    """Yields the effects that add all ids of one author from ``floor`` upwards to timelines."""
    packed = pack_ids(ids)
    for part in _parts(keys):
        yield part, ("B", len(part), pack_ids([floor]), packed)


def seen(keys: Sequence[bytes], ttl_seconds: int) -> Iterator[Effect]:
    """Yields the effects that let timelines that there are live for so long from now."""
    for part in _parts(keys):
        yield part, ("X", len(part), ttl_seconds * 1000)


async def floors(bus: RedisBus, keys: Sequence[bytes]) -> list[int | None]:
    """Returns from which id upwards each timeline is complete; None where it is not usable yet.

    One round trip for all of them.
    """
    values: list[bytes] = await bus.calls_strict(
        [("GETRANGE", key, 0, MARKER_BYTES - 1) for key in keys]
    )
    return [_marker(value) if value[:1] == COMPLETE else None for value in values]


async def begin(bus: RedisBus, key: bytes) -> bytes | None:
    """Marks a cold timeline as being built (1); returns the token, or None if another builds it."""
    token = secrets.token_bytes(MARKER_BYTES - 1)
    reply: Reply = await bus.call("SET", key, BUILDING + token, "NX", "PX", BUILD_SECONDS * 1000)
    return token if reply is not None else None


async def finish(
    bus: RedisBus,
    key: bytes,
    token: bytes,
    floor: int,
    ids: Sequence[int],
    ttl_seconds: int,
    epoch: int = 0,
) -> bool:
    """Fills a timeline that :func:`begin` marked (3); False when its mark was taken away."""
    reply: Reply = await bus.call(
        *("FCALL", _FINISH, 1, key, token, ttl_seconds * 1000),
        *(pack_ids([floor]), epoch % EPOCHS, pack_ids(reversed(ids))),
    )
    return bool(reply == 1)


async def collect(bus: RedisBus, key: bytes, ids: Sequence[int]) -> None:
    """Adds ids to a timeline that somebody else is filling, or has filled."""
    await bus.call("FCALL", _COLLECT, 1, key, pack_ids(reversed(ids)))


async def abandon(bus: RedisBus, key: bytes) -> None:
    """Takes away the mark of a timeline that could not be built, so that the next reader builds it.

    Should it be another's by now, that timeline is cold again, which is harmless at any time.
    """
    with suppress(RetryableError):  # the mark expires by itself
        await bus.call("DEL", key)


def _parts(timelines: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yields as many timelines at a time as one operation takes."""
    for start in range(0, len(timelines), TIMELINES_PER_EFFECT_MAX):
        yield timelines[start : start + TIMELINES_PER_EFFECT_MAX]


def _marker(value: bytes) -> int:
    return int.from_bytes(value[1:_FLOOR_END], "little")


def _epoch(value: bytes) -> int:
    return int.from_bytes(value[_FILLED_END:MARKER_BYTES], "little")
