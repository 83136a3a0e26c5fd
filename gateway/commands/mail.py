"""What is done by a link in a mail; see :mod:`gateway.links`.

Keeps true: opening a link changes nothing (``GET`` shows a button, ``POST`` acts); whoever holds a
link acts on the one address that it names, and on nothing else of the user's.
"""

from __future__ import annotations

from typing import Any

from events.types import DeliveryAddressAdded, DeliveryAddressRemoved
from gateway.commands.appending import Appender, stamp
from gateway.http import Request, Response
from gateway.links import CONFIRM_PATH, PARAMETER, STOP_PATH, Link, Links
from gateway.mail_pages import asking, done
from gateway.problems import conflict
from gateway.services import Minter, Notifications
from projections.notifications.layout import EMAIL


class MailLinks:
    """Handlers of the links in mails."""

    def __init__(
        self, links: Links, notifications: Notifications, minter: Minter, appender: Appender
    ) -> None:
        self._links = links
        self._notifications = notifications
        self._minter = minter
        self._appender = appender

    async def ask_to_stop(self, request: Request) -> Response:
        """``GET /api/notifications/email/stop``."""
        link = self._links.open(STOP_PATH, request.query(PARAMETER))
        return asking(f"End all mails to {link.address}?", "End them")

    async def stop(self, request: Request) -> Response:
        """``POST /api/notifications/email/stop``: accepted again and again (RFC 8058)."""
        link = self._links.open(STOP_PATH, request.query(PARAMETER))
        event = DeliveryAddressRemoved(
            **await stamp(self._minter),
            user_id=link.user_id,
            channel=EMAIL,
            address=link.address,
        )
        await self._appender.append(request, event)
        return done(f"There will be no more mails to {link.address}.")

    async def ask_to_confirm(self, request: Request) -> Response:
        """``GET /api/notifications/email/confirm``."""
        link = await self._proposed(request)
        return asking(f"Get mails at {link.address}?", "Confirm")

    async def confirm(self, request: Request) -> Response:
        """``POST /api/notifications/email/confirm``: in place of any other address."""
        link = await self._proposed(request)
        known = await self._notifications.addresses(link.user_id, EMAIL)
        about: dict[str, Any] = {"user_id": link.user_id, "channel": EMAIL}
        events: list[DeliveryAddressAdded | DeliveryAddressRemoved] = [
            DeliveryAddressAdded(**await stamp(self._minter), **about, address=link.address)
        ]
        # The old one last: whatever is cut off here, there is an address.
        events += [
            DeliveryAddressRemoved(**await stamp(self._minter), **about, address=old.address)
            for old in known
            if old.address != link.address
        ]
        for part, event in enumerate(events):
            await self._appender.append(request, event, f":{part}")
        return done(f"Mails go to {link.address} from now on.")

    async def _proposed(self, request: Request) -> Link:
        """Returns what the link is about, if it is still what the user wants.

        Raises:
            Problem: 400 not such a link, 409 he proposed another address since, or none any more.
        """
        link = self._links.open(CONFIRM_PATH, request.query(PARAMETER))
        proposal = await self._notifications.proposed(link.user_id, EMAIL)
        if proposal is None or proposal.event_id != link.proposal:
            raise conflict("not-proposed", "This address was confirmed, or is not wanted any more.")
        return link
