"""Marked timelines: cached sorted sets of ids that say from where upwards they are complete.

Rank 0 of the set (score -inf) is its marker, ``from:ID``, or ``building:TOKEN`` while a reader
fills it; ``effects.lua`` keeps the rules. A reader that finds it cold

1. marks it as being built, so that what is pushed meanwhile is collected;
2. reads the store;
3. fills it, if its mark still stands.

Scores are the ids as doubles, which are not exact above 2^53: ranges are asked for inclusively and
cut here by comparing ids. Bounded by: ``limit`` ids a read; trimmed by whoever pushes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import msgspec

from projections.bus import Argument, Command, RedisBus, Reply
from projections.timelines.layout import BUILD_SECONDS, TIMELINE_TTL_SECONDS, member

SAME_SCORE_SLACK = 8
"""Ids at or above the cursor that may share its score and are read in vain (a double at 2^61 spans
512 ids, of which one worker mints a few)."""


class Window(msgspec.Struct, frozen=True):
    """What a read of a marked timeline found.

    Attributes:
        ids: Newest first, under the cursor and from the marker upwards.
        floor: Complete from this id upwards; None when the timeline is cold.
        more: There may be more ids in the set, under the last one.
    """

    ids: list[int]
    floor: int | None
    more: bool


COLD = Window([], None, False)


def queries(key: bytes, below: int, limit: int) -> tuple[Command, Command]:
    """Returns the two commands that read a window; hand their replies to :func:`window`."""
    return (
        ("ZRANGE", key, 0, 0),
        ("ZRANGE", key, below, 0, "BYSCORE", "REV", "LIMIT", 0, limit + SAME_SCORE_SLACK),
    )


def window(marker: Sequence[bytes], members: Sequence[bytes], below: int, limit: int) -> Window:
    """Reads the replies to :func:`queries`."""
    if not marker or not marker[0].startswith(b"from:"):
        return COLD
    floor = int(marker[0][5:])
    ids = [tweet_id for tweet_id in map(int, members) if floor <= tweet_id < below]
    more = len(members) == limit + SAME_SCORE_SLACK and int(members[-1]) > floor
    return Window(ids, floor, more)


def backfilled(floor: int, ids: Iterable[int]) -> tuple[Argument, ...]:
    """Returns the operation that adds all ids of one author from ``floor`` upwards."""
    members = [member(tweet_id) for tweet_id in ids]
    return ("B", member(floor), len(members), *members)


async def begin(bus: RedisBus, key: bytes) -> str | None:
    """Marks a cold timeline as being built (1); returns the token, or None if another builds it."""
    token = secrets.token_hex(8)
    reply: Reply = await bus.call(
        "FCALL", "murmur_begin_timeline", 1, key, token, BUILD_SECONDS * 1000
    )
    return token if reply == 1 else None


async def finish(bus: RedisBus, key: bytes, token: str, floor: int, ids: Sequence[int]) -> bool:
    """Fills a timeline that :func:`begin` marked (3); False when its mark was taken away."""
    command: list[Argument] = ["FCALL", "murmur_finish_timeline", 1, key, token]
    command += [TIMELINE_TTL_SECONDS * 1000, member(floor), *map(member, ids)]
    reply: Reply = await bus.call(*command)
    return bool(reply == 1)
