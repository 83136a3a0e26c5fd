"""Links in mails: what whoever reads a mailbox may do without a token, and nothing else.

Keeps true: a link opens only at the path that it was made for, and only unchanged; it says whose
address it is about, so that nothing is asked of a client but the link. A link that ends mails never
expires: a mail of last year must still end them. One that confirms is good while its proposal is
the last that the user made.

The seal is that of cursors (:mod:`gateway.cursors`) under a key of its own, over the path.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

import msgspec

from gateway.cursors import Cursors
from gateway.problems import Problem, bad_request

STOP_PATH = "/api/notifications/email/stop"
CONFIRM_PATH = "/api/notifications/email/confirm"
PARAMETER = "link"

_KEY_PURPOSE = b"murmuration mail links v1"


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a link is about.

    Attributes:
        user_id: Whose address.
        address: Where the mail went.
        proposal: The event that proposed it, where the link confirms it.
    """

    user_id: int
    address: str
    proposal: int = 0


_LINK = msgspec.msgpack.Decoder(Link)


class Links:
    """Makes and opens links.

    Args:
        secret: Any secret that whoever mails and all gateway processes share.
        base_url: Where clients reach the gateway.
    """

    def __init__(self, secret: bytes, base_url: str) -> None:
        derived = hmac.digest(hashlib.sha256(secret).digest(), _KEY_PURPOSE, "sha256")
        self._seals = Cursors(derived)
        self._base_url = base_url.rstrip("/")

    def url(self, path: str, link: Link) -> str:
        """Returns a link."""
        sealed = self._seals.seal(path, 0, msgspec.msgpack.encode(link))
        return f"{self._base_url}{path}?{urlencode({PARAMETER: sealed})}"

    def open(self, path: str, text: str | None) -> Link:
        """Returns what a link is about.

        Args:
            path: Where it was opened.
            text: Its parameter.

        Raises:
            Problem: 400, it was not made for this path, or was changed.
        """
        try:
            return _LINK.decode(self._seals.open(path, 0, text or ""))
        except Problem as error:
            raise bad_request(
                "invalid-link", PARAMETER, "This link is not whole. Copy all of it from the mail."
            ) from error
