"""Mails the link that confirms an address, to whoever a user says that he is.

Keeps true: an address that was proposed is mailed to once for each proposal, ``PER_HOUR`` times an
hour for each user and for each address, so that nobody can have somebody else's mailbox filled; no
proposal that is older than an hour is mailed about. Nothing else is mailed before the link was
followed (``gateway.commands.mail``).

Bounded by: one mail at a time, ``TRIES_MAX`` tries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from events.slices import LogRecord
from events.types import DeliveryAddressProposed
from gateway.links import CONFIRM_PATH, STOP_PATH, Link, Links
from infra.router.ledger import Claim, Ledger
from infra.router.metrics import RouterMetrics
from infra.router.ports import Mail, Mails, Outcome
from infra.router.route import AGE_MAX_MS, PAUSE_SECONDS, TRIES_MAX
from projections.base import RetryableError
from projections.notifications.layout import EMAIL

PER_HOUR = 3
KIND = "confirmation"
"""As the metrics have it."""

_TEXT = """Somebody, probably you, wants to get mails of Murmuration here. If so, follow this link:

{confirm}

If not, there is nothing to do: this link alone would have more mails sent here.
"""

log = logging.getLogger("murmur.router")


class Mailing(msgspec.Struct, frozen=True):
    """What it takes to mail.

    Attributes:
        mails: Sends.
        links: Makes the links.
    """

    mails: Mails
    links: Links


async def sent(mails: Mails, mail: Mail, pause_seconds: float = PAUSE_SECONDS) -> Outcome:
    """Sends a mail, in ``TRIES_MAX`` tries; returns what became of it."""
    outcome = await mails.mail(mail)
    for attempt in range(1, TRIES_MAX):
        if outcome is not Outcome.LATER:
            break
        await asyncio.sleep(pause_seconds * 2 ** (attempt - 1))
        outcome = await mails.mail(mail)
    return outcome


class Confirmations:
    """Mails about what was proposed.

    Args:
        ledger: What was mailed; of a scope of its own, for what it counts is no push.
        mailing: Sends; None where no server takes mails.
        metrics: Where it is counted.
        clock: Milliseconds since 1970.
    """

    def __init__(
        self,
        ledger: Ledger,
        mailing: Mailing | None,
        metrics: RouterMetrics,
        *,
        clock: Callable[[], float] = lambda: time.time() * 1000,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._mailing = mailing
        self._metrics = metrics
        self._clock = clock
        self._pause_seconds = pause_seconds

    async def route(self, records: Sequence[LogRecord]) -> None:
        """Returns when every proposal among the records was dealt with.

        Raises:
            RetryableError, StoreUnavailable: another router is at one, or the store is away; route
                the same records again.
        """
        for record in records:
            event = record.event
            if isinstance(event, DeliveryAddressProposed) and event.channel == EMAIL:
                outcome = await self._one(event)
                self._metrics.decided.labels(KIND, outcome).inc()

    async def _one(self, event: DeliveryAddressProposed) -> str:
        """Deals with one; says in a word what became of it."""
        if self._mailing is None:
            log.warning("an address waits to be confirmed; set MURMUR_SMTP_HOST to mail there")
            return "nowhere"
        if self._clock() - event.occurred_at >= AGE_MAX_MS:
            return "late"
        user, notice, now_ms = event.user_id, f"{KIND}:{event.event_id}", int(self._clock())
        claim = await self._ledger.claim(user, notice, now_ms)
        if claim is Claim.ENDED:
            return "repeated"
        if claim is not Claim.OURS:
            raise RetryableError("another router has a confirmation under way")
        counted = (user, _number_of(event.address))
        for one in counted:
            if await self._ledger.pushes(one, notice, now_ms, PER_HOUR) >= PER_HOUR:
                await self._ledger.end(user, notice, now_ms, "limited")
                return "limited"
        for one in counted:
            await self._ledger.pushed(one, notice, now_ms)
        mails, links = self._mailing.mails, self._mailing.links
        confirm = links.url(CONFIRM_PATH, Link(user, event.address, event.event_id))
        mail = Mail(
            notice.replace(":", "."),
            event.address,
            "Confirm your address",
            _TEXT.format(confirm=confirm),
            links.url(STOP_PATH, Link(user, event.address)),
        )
        outcome = await sent(mails, mail, self._pause_seconds)
        await self._ledger.end(user, notice, now_ms, outcome.value)
        return outcome.value


def _number_of(address: str) -> int:
    """Returns a number for an address, so that its mails are counted as a user's are."""
    digest = blake2b(address.casefold().encode(), digest_size=8).digest()
    return -(int.from_bytes(digest) >> 1) - 1  # no user's id is below 0
