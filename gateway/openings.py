"""``TimelineOpened``: that a user was here, said to the log at most once a period.

Keeps true: the reader neither waits for it nor learns of it. An opening is noted in memory, and a
task of its own appends the event; where that fails it is counted, and the user's next opening
after ``RETRY_SECONDS`` tries again. Each gateway process keeps its own notes, so a user has at most
one event a period and process, and one more where notes were forgotten.

Bounded by: ``users_max`` notes, the least recently seen forgotten first; ``APPENDS_MAX`` events
under way, beyond which an opening is skipped until the user comes again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from events.errors import EventsError
from events.types import TimelineOpened
from gateway.commands.appending import stamp
from gateway.metrics import GatewayMetrics
from gateway.services import Log, Minter

log = logging.getLogger("gateway")

USERS_MAX = 200_000
"""Users noted, at about 150 bytes each."""

APPENDS_MAX = 256
"""Events under way; with the log away each stays for as long as the producer tries."""

RETRY_SECONDS = 60.0
"""After an append failed or was skipped: how long the user's openings are left alone."""


class Openings:
    """Notes who opened the home timeline.

    Args:
        log: Appends the events.
        minter: Makes their ids.
        metrics: Counts them, by outcome.
        period_seconds: One event a user in this time.
        users_max: Users noted.
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(
        self,
        log: Log,
        minter: Minter,
        metrics: GatewayMetrics,
        period_seconds: float,
        *,
        users_max: int = USERS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._minter = minter
        self._appended = metrics.openings.labels("appended")
        self._failed = metrics.openings.labels("failed")
        self._skipped = metrics.openings.labels("skipped")
        self._period_seconds = period_seconds
        self._users_max = users_max
        self._clock = clock
        self._due: OrderedDict[int, float] = OrderedDict()
        self._under_way: set[asyncio.Task[None]] = set()

    def opened(self, user_id: int) -> None:
        """Notes that a user opened the home timeline; returns at once."""
        now = self._clock()
        due = self._due.get(user_id)
        if due is not None and now < due:
            self._due.move_to_end(user_id)
            return
        if len(self._under_way) >= APPENDS_MAX:
            self._skipped.inc()
            self._note(user_id, now + RETRY_SECONDS)
            return
        self._note(user_id, now + self._period_seconds)
        task = asyncio.create_task(self._append(user_id))
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Waits for what is under way; each append has a bound of its own."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _note(self, user_id: int, due: float) -> None:
        self._due[user_id] = due
        self._due.move_to_end(user_id)
        if len(self._due) > self._users_max:
            self._due.popitem(last=False)

    async def _append(self, user_id: int) -> None:
        try:
            await self._log.append(TimelineOpened(**await stamp(self._minter), user_id=user_id))
        except EventsError as error:
            self._failed.inc()
            self._note(user_id, self._clock() + RETRY_SECONDS)
            log.debug("user %d opened the timeline; the log does not know: %s", user_id, error)
        else:
            self._appended.inc()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.inc()
            log.error("an opening of the timeline was not noted", exc_info=error)
