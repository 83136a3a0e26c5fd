"""Lists in the store, newest first, whose rows count only while a membership still names them.

A row of such a list is written once, under the id of the event that made it; what takes it back
need not know that id, because it changes the membership alone. So a page reads on past the rows
that no longer stand.

Bounded by: ``ROUNDS_MAX`` rounds for one page (a page may then be short and go on), and the
callers' page sizes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from projections.store import Row

ROUNDS_MAX = 4
NEWEST = (1 << 63) - 1
"""Above every id: where reading from the top begins."""


class Entry(msgspec.Struct, frozen=True):
    """One entry of a list.

    Attributes:
        at: Id that orders the list: of the event that made the entry, or of the tweet that it is.
        user_id: Who; in a list of one user's the user.
        tweet_id: The tweet that it is about, or that it is.
    """

    at: int
    user_id: int
    tweet_id: int


class Page(msgspec.Struct, frozen=True):
    """Part of a list.

    Attributes:
        entries: Newest first.
        below: Where to read on; None at the end.
    """

    entries: list[Entry]
    below: int | None


async def read_page(
    read: Callable[[int, int], Awaitable[list[Row]]],
    standing: Callable[[Sequence[Row]], Awaitable[list[Entry]]],
    below: int,
    limit: int,
) -> Page:
    """Reads until there are ``limit`` entries that stand, the list ends, or rounds run out.

    Args:
        read: Returns rows under an id, so many at most, newest first; their first column is the id.
        standing: Returns the entries of the rows that still stand.
        below: Where to begin.
        limit: Entries at most.
    """
    found: list[Entry] = []
    for _ in range(ROUNDS_MAX):
        wanted = limit + 1
        rows = await read(below, wanted)
        found += await standing(rows) if rows else []
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1].at)
        if len(rows) < wanted:
            return Page(found, None)
        below = rows[-1][0]
    return Page(found, below)
