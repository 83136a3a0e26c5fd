"""What is done by a link in a mail; see :mod:`gateway.links`.

Keeps true: opening a link changes nothing (``GET`` shows a button, ``POST`` acts); whoever holds a
link acts on the one address that it names, and on nothing else of the user's.
"""

from __future__ import annotations

from events.types import DeliveryAddressRemoved
from gateway.commands.appending import Appender, stamp
from gateway.http import Request, Response
from gateway.links import PARAMETER, STOP_PATH, Links
from gateway.mail_pages import asking, done
from gateway.services import Minter
from projections.notifications.layout import EMAIL


class MailLinks:
    """Handlers of the links in mails."""

    def __init__(self, links: Links, minter: Minter, appender: Appender) -> None:
        self._links = links
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
