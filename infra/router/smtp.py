"""Mail by SMTP, by aiosmtplib: one connection a mail, with STARTTLS where the server offers it.

Keeps true: what a server refuses for good is told from what it refuses for now (RFC 5321, 4.2.1).
Bounded by: ``SECONDS_MAX`` a command.
"""

from __future__ import annotations

import logging
from email.message import EmailMessage
from email.utils import formatdate

import aiosmtplib
import msgspec

from infra.router.ports import Mail, Outcome

SECONDS_MAX = 20.0
MAILBOX_GONE = 550

log = logging.getLogger(__name__)


class Server(msgspec.Struct, frozen=True):
    """Where mails are handed over.

    Attributes:
        host: Its name.
        port: Its port.
        sender: Address that mails are from.
        username: Empty for none.
        password: Of ``username``.
    """

    host: str
    port: int
    sender: str
    username: str = ""
    password: str = ""


class Smtp:
    """Hands mails to a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def mail(self, mail: Mail) -> Outcome:
        """See :class:`infra.router.ports.Mails`."""
        server = self._server
        message = EmailMessage()
        message["From"] = server.sender
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{mail.id}@{server.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        if mail.stop:
            message["List-Unsubscribe"] = f"<{mail.stop}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(mail.body)
        try:
            await aiosmtplib.send(
                message,
                hostname=server.host,
                port=server.port,
                username=server.username or None,
                password=server.password or None,
                timeout=SECONDS_MAX,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {one.code for one in error.recipients}
            return Outcome.GONE if codes == {MAILBOX_GONE} else _outcome(min(codes))
        except aiosmtplib.SMTPResponseException as error:
            log.warning("a mail was refused: %s", error)
            return _outcome(error.code)
        except (aiosmtplib.SMTPException, OSError) as error:
            log.warning("%s:%d takes no mail: %s", server.host, server.port, error)
            return Outcome.LATER
        return Outcome.DELIVERED


def _outcome(code: int) -> Outcome:
    return Outcome.LATER if 400 <= code < 500 else Outcome.REFUSED
