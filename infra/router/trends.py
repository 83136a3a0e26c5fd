"""Of what began to trend, who is pushed to: those who want it, of what theirs talk about.

The brief's matrix: a *personalised match*, low priority, for those who ask (``push.trend``). A user
is told of the trends of a window that at least two of those whom he follows used in the last hour
(what ``GET /api/trends/personal`` shows), in one push.

The windows come from the history of the trends unit, which is worked out from the log and never
changed, so a window is told once: whoever reads it again finds it in the ledger. As with posts, the
first router begins at the newest window, and what is older than an hour is told in the app alone.

Bounded by: what the history bounds; ``AT_ONCE`` users at a time.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from events.snowflake import time_of
from gateway.queries.trends import query_of
from infra.router.ledger import Ledger
from infra.router.ports import Message
from infra.router.route import AT_ONCE, Router, together
from infra.router.words import trending
from projections.notifications.layout import TREND
from projections.notifications.preferences import PUSH, name_of
from projections.trends.layout import Start

PLACE = ("trend-starts", 0)
"""Under which the ledger keeps how far this is."""


class TrendPushes:
    """Pushes what began to trend.

    Args:
        router: Decides, with what it reads by.
        ledger: How far this is.
    """

    def __init__(self, router: Router, ledger: Ledger) -> None:
        self._router = router
        self._ledger = ledger

    async def turn(self) -> None:
        """Deals with the windows that are new since the last turn of any router.

        Raises:
            RetryableError, StoreUnavailable: an engine is away; take the turn again.
            Stopped: the router is to end.
        """
        starts = await self._router.reads.trends.starts()
        done = (await self._ledger.positions()).get(PLACE)
        if done is None:
            newest = max((start.window_end for start in starts), default=0)
            await self._ledger.reached({PLACE: newest})
            return
        for start in sorted(starts, key=lambda one: one.window_end):
            if start.window_end > done:
                if not await self._tell(start):
                    return  # the next turn tells the same again
                await self._ledger.reached({PLACE: start.window_end})

    async def _tell(self, start: Start) -> bool:
        """Tells a window; whether nothing of it is under way in another router."""
        notifications = self._router.reads.notifications
        takers = notifications.takers(name_of(PUSH, TREND))
        told_ms = time_of(self._router.reads.trends.told_at(start))

        waiting = 0

        async def tell(user: int) -> None:
            nonlocal waiting
            told = await self._router.tell(user, TREND, told_ms, lambda: self._message(user, start))
            waiting += told is None

        some: list[int] = []
        async for user in takers:
            some.append(user)
            if len(some) == AT_ONCE:
                await together(map(tell, some))
                some.clear()
        await together(map(tell, some))
        return not waiting

    async def _message(self, user: int, start: Start) -> Message | None:
        """Returns what a user is told of a window; None where nothing of it concerns him."""
        reads = self._router.reads
        relations, people = await asyncio.gather(
            reads.graph.relations_of(user), reads.accounts.get([user])
        )
        if user not in people:
            return None
        heard = sorted(relations.heard)
        own = {one.term: one.followees for one in await reads.trends.own(heard)}
        match = [one for one in start.began if one.term in own]
        if not match:
            return None
        first = match[0]
        return Message(
            id=f"{TREND}:{start.window_end}",
            title=trending([one.name for one in match]),
            body=f"{own[first.term]} of those whom you follow talk about {first.name}",
            path=f"/api/search?q={quote(query_of(first.term))}",
            urgent=False,
        )
