"""What the router sends by, as protocols; each has one adapter beside this.

Keeps true: an adapter says what became of a message in one of four ways, and raises nothing for
what a receiver or a server answers.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from projections.notifications.layout import Address


class Outcome(enum.Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    """It was taken."""
    GONE = "gone"
    """There is nobody at this address any more."""
    REFUSED = "refused"
    """It will never be taken."""
    LATER = "later"
    """Not now; trying again is right."""


class Message(msgspec.Struct, frozen=True):
    """A push.

    Attributes:
        id: Of the notification; a later push of the same id replaces the earlier one.
        title: What happened.
        body: The tweet's text.
        path: Where it is read, in the API.
        urgent: Whether a device is to be woken for it.
    """

    id: str
    title: str
    body: str
    path: str
    urgent: bool


class Mail(msgspec.Struct, frozen=True):
    """A mail in plain text.

    Attributes:
        id: Makes the Message-ID, so that what was sent twice is seen to be the same.
        to: The address.
        subject: One line.
        body: Text.
        stop: A link that ends such mails, by a POST (RFC 8058); empty for none.
    """

    id: str
    to: str
    subject: str
    body: str
    stop: str = ""


class Pushes(Protocol):
    """Pushes to devices."""

    async def push(self, address: Address, message: Message) -> Outcome:
        """Sends a push; returns what became of it."""
        ...


class Mails(Protocol):
    """Sends mails."""

    async def mail(self, mail: Mail) -> Outcome:
        """Sends a mail; returns what became of it."""
        ...
