"""What must hold of every answer once a fault is over, whatever the fault was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from itertools import cycle

from tests.faults.clients import Told, of
from tests.faults.town import EVENTS, Town
from tests.oracle import Oracle

WELL_S_MAX = 60.0
"""From a fault's end until all is well. The Cassandra driver tries every 5 s whether a node is
back."""
UNKNOWN = (0, 504)
"""Statuses after which nobody knows: no answer at all, and the one that says so."""


async def until_well(town: Town) -> float:
    """Waits until every breaker is closed, a read is not stale and a command is taken.

    Returns:
        When that was; monotonic seconds.
    """
    async with asyncio.timeout(WELL_S_MAX):
        for user in cycle(town.clients.users):  # one of them may have left
            home = await town.clients.home(user)
            post = await town.clients.post(user, "well again", "")
            if (home.status, post.status) == (200, 201) and not home.stale:
                states = await town.shown("breaker_state")
                if not any(states.values()):
                    return time.monotonic()
            await asyncio.sleep(0.1)
    raise AssertionError("there are no users")


async def sent_again(town: Town, inactive: Collection[int] = ()) -> list[Told]:
    """What had an unknown outcome and a key, sent once more, but for accounts that may not post."""
    told = [one for one in town.clients.told if one.user not in inactive]
    unknown = of(told, "post", where=lambda one: one.status in UNKNOWN and one.key != "")
    again = [await town.clients.post(one.user, one.text, one.key) for one in unknown]
    assert {one.status for one in again} <= {201}
    return again


async def check_outcomes(town: Town, told: list[Told], oracle: Oracle) -> int:
    """What was said to be in the log is there once, what was refused is not; homes are right.

    Returns:
        How many entries were compared.
    """
    ids: dict[str, set[int]] = {}
    for tweet in oracle._posted.values():
        ids.setdefault(tweet.text, set()).add(tweet.tweet_id)
    by_text: dict[str, set[int]] = {}
    for one in of(told, "post"):
        by_text.setdefault(one.text, set()).add(one.status)
    for text, statuses in by_text.items():
        if 201 in statuses:
            assert len(ids.get(text, ())) == 1, text
        elif statuses == {503}:
            assert text not in ids
        else:
            assert len(ids.get(text, ())) <= 1, text
    found = await town.clients.homes()
    for user, home in found.items():
        assert home == oracle.home(user), f"seed {town.seed}, user {user}"
    compared = sum(map(len, found.values()))
    assert compared > EVENTS // 2
    return compared
