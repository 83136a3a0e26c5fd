"""The log behind a guard: while no broker answers, an append is refused at once.

The breaker opens with the first append that fails because no broker took it, or whose outcome
nobody knows; and before that, once an append has had no answer for ``SUSPECT_SECONDS`` and a probe
of the brokers fails too. From then on ``send`` raises ``BrokerUnreachable``: nothing was sent. A
probe that is answered lets appends through again; one that succeeds closes the breaker.

Keeps true: what was sent keeps its own outcome, and an outcome that nobody knows stays unknown.

Bounded by: one append at a time is watched for being late.
"""

from __future__ import annotations

import asyncio
from functools import partial

from events.errors import BrokerUnreachable, EventsError, OutcomeUnknown
from events.producer import Headers, Place, ProducerSettings, RecordProducer
from gateway.guards.guard import EngineAway, Guard

SUSPECT_SECONDS = 1.0
"""An append takes some milliseconds; one that takes this long may meet no broker at all."""


class GuardedProducer(RecordProducer):
    """Sends records while the log's breaker lets it.

    Args:
        settings: How records are sent.
        guard: Watches the log.
    """

    def __init__(self, settings: ProducerSettings, guard: Guard) -> None:
        super().__init__(settings)
        self._guard = guard
        self._watch: asyncio.TimerHandle | None = None

    def refusal(self) -> EventsError | None:
        """Returns why nothing would be sent now, if so."""
        return self._away() if self._guard.refuses else None

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> asyncio.Future[Place]:
        """Queues one record; see :meth:`RecordProducer.send`.

        Raises:
            BrokerUnreachable: no broker answers, and none was asked.
        """
        guard = self._guard
        if not guard.admit():
            raise self._away()
        try:
            sent = super().send(topic, key, value, headers)
        except EventsError:
            guard.ended()
            raise
        sent.add_done_callback(partial(self._ended, guard.clock()))
        if self._watch is None:
            loop = asyncio.get_running_loop()
            self._watch = loop.call_later(SUSPECT_SECONDS, self._late, sent)
        return sent

    def _away(self) -> BrokerUnreachable:
        away = EngineAway(self._guard.engine, self._guard.retry_after_seconds)
        error = BrokerUnreachable(f"nothing was sent: {away}")
        error.__cause__ = away
        return error

    def _ended(self, began: float, sent: asyncio.Future[Place]) -> None:
        self._guard.ended()
        if sent.cancelled():
            return  # the client is gone; what became of it is not known here
        error = sent.exception()
        if error is None:
            self._guard.answered(0.0)
        elif isinstance(error, BrokerUnreachable | OutcomeUnknown):
            self._guard.failed(error, began)

    def _late(self, sent: asyncio.Future[Place]) -> None:
        self._watch = None
        if not sent.done():
            self._guard.suspect(f"an append has no answer after {SUSPECT_SECONDS:g} s")
