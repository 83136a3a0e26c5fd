"""Digests: what somebody has not read, mailed once a day or once a week to whoever asked for it.

What a digest lists is what ``GET /api/notifications`` shows him at that moment, so blocks, mutes,
deletions and types that are off hold here as there. One of a period is sent once (:mod:`.ledger`);
who has read everything gets none. What another run claimed and has not ended is tried again at the
end, until it has, or until that run is taken for dead.

Bounded by: ``LISTED_MAX`` notifications a mail, ``TRIES_MAX`` tries, one mail at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Sequence
from typing import Literal

from events.snowflake import compose
from gateway.links import STOP_PATH, Link
from gateway.queries.notifications import NAMES_MAX, UNREAD_PART, Notice, Reading
from gateway.routing import ID_MAX
from infra.router.confirming import Mailing, sent
from infra.router.ledger import Claim, Ledger
from infra.router.ports import Mail
from infra.router.route import PAUSE_SECONDS, Reads
from infra.router.words import sentence, trending
from projections.notifications.layout import EMAIL, GROUPED, TREND, Group
from projections.notifications.preferences import is_on

AGAIN_SECONDS = 5.0
LISTED_MAX = 10
STEPS_MAX = 8
Period = Literal["daily", "weekly"]
SECONDS: dict[Period, int] = {"daily": 86_400, "weekly": 7 * 86_400}


class Digests:
    """Writes and sends digests.

    Args:
        reads: The units' reading sides.
        ledger: What was sent.
        mailing: Sends, with the link that ends them.
    """

    def __init__(
        self,
        reads: Reads,
        ledger: Ledger,
        mailing: Mailing,
        pause_seconds: float = PAUSE_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._reads = reads
        self._ledger = ledger
        self._mailing = mailing
        self._pause_seconds = pause_seconds
        self._again_seconds = again_seconds

    async def send(self, users: AsyncIterable[int], period: Period, now_ms: int) -> dict[str, int]:
        """Sends the digests of the period that has just ended; returns how many had what outcome.

        Raises:
            RetryableError, StoreUnavailable: an engine is away; whoever got his gets no second one.
        """
        counts: dict[str, int] = {}
        waiting: list[int] = []
        began = time.monotonic()

        async def one(user: int) -> None:
            at_ms = now_ms + int((time.monotonic() - began) * 1000)
            outcome = await self._one(user, period, now_ms, at_ms)
            if outcome is None:
                waiting.append(user)
            else:
                counts[outcome] = counts.get(outcome, 0) + 1

        async for user in users:
            await one(user)
        while waiting:
            await asyncio.sleep(self._again_seconds)
            again = waiting.copy()
            waiting.clear()
            for user in again:
                await one(user)
        return counts

    async def _one(self, user: int, period: Period, now_ms: int, at_ms: int) -> str | None:
        """Sends one, as of ``now_ms``; what became of it, None where another is at it."""
        settings = await self._reads.notifications.settings(user)
        if not is_on(settings.preferences, EMAIL, period):
            return "off"
        addresses = await self._reads.notifications.addresses(user, EMAIL)
        if not addresses or user not in await self._reads.accounts.get([user]):
            return "nowhere"
        length_ms = SECONDS[period] * 1000
        body, number = await self._body(user, compose(now_ms - length_ms, 0, 0))
        if not number:
            return "nothing"
        notice = f"digest:{period}:{now_ms // length_ms}"
        claim = await self._ledger.claim(user, notice, at_ms)
        if claim is not Claim.OURS:
            return "repeated" if claim is Claim.ENDED else None
        subject = f"{number} new notification{'s' if number > 1 else ''}"
        to = addresses[0].address
        stop = self._mailing.links.url(STOP_PATH, Link(user, to))
        body = f"{body}\n\nYou get this because you turned it on. To end it: {stop}\n"
        mail = Mail(f"{notice}:{user}".replace(":", "."), to, subject, body, stop)
        outcome = await sent(self._mailing.mails, mail, self._pause_seconds)
        await self._ledger.end(user, notice, at_ms, outcome.value)
        return outcome.value

    async def _body(self, user: int, above: int) -> tuple[str, int]:
        """Returns the text about what is newer than an id and not read, and how many it is."""
        reads = self._reads
        reading = Reading(reads.notifications, reads.tweets, reads.accounts, reads.trends, user)
        await reading.begin(reads.graph)
        above = max(above, reading.read_up_to)
        notices: list[Notice] = []
        below = ID_MAX
        for _ in range(STEPS_MAX):
            found, below = await reading.part(below, UNREAD_PART)
            notices += [notice for notice in found if notice.at > above]
            if below <= above + 1:
                break
        listed = notices[:LISTED_MAX]
        lines = await self._lines(user, listed, reading)
        if len(notices) > len(listed):
            lines.append(f"and {len(notices) - len(listed)} more")
        return "\n".join(f"- {line}" for line in lines), len(notices)

    async def _lines(self, user: int, notices: Sequence[Notice], reading: Reading) -> list[str]:
        groups = {n: Group(n.kind, user, n.subject) for n in notices if n.kind in GROUPED}
        counts = await self._reads.notifications.counts(groups.values(), reading.hidden)
        lines = []
        for notice in notices:
            if notice.kind == TREND:
                lines.append(trending([one.name for one in reading.began_in(notice)]))
                continue
            names = [reading.users[one].named.username for one in notice.users[:NAMES_MAX]]
            count = counts[groups[notice]] if notice in groups else 1
            lines.append(sentence(notice.kind, names, max(count, len(names))))
        return lines
