"""Cursors: where the next page begins, opaque to clients and proof against tampering.

Keeps true: a cursor opens only on the route and for the user that it was made for, and only
unchanged; it carries what the query put in and nothing else. It does not expire: it names a place
in an order, not a moment.

The text is base64url(payload, MAC); the MAC is HMAC-SHA-256 truncated to 16 bytes (RFC 2104,
section 5) over the route, the user and the payload, each preceded by its length so that no two
inputs run together.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from gateway.problems import Problem, bad_request

MAC_BYTES = 16
PAYLOAD_BYTES_MAX = 1024
"""The longest is what is left of a hundred ranked tweets."""

TEXT_CHARACTERS_MAX = (PAYLOAD_BYTES_MAX + MAC_BYTES) * 4 // 3 + 4

_KEY_PURPOSE = b"murmuration cursors v1"


class Cursors:
    """Makes and opens cursors.

    Args:
        secret: Any secret that all gateway processes share; the key is derived from it for this
            purpose alone.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(hashlib.sha256(secret).digest(), _KEY_PURPOSE, "sha256")

    def seal(self, route: str, user_id: int, payload: bytes) -> str:
        """Returns the cursor for a payload of at most ``PAYLOAD_BYTES_MAX`` bytes.

        Raises:
            ValueError: the payload is longer.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a cursor holds {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
        sealed = payload + self._mac(route, user_id, payload)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, route: str, user_id: int, text: str) -> bytes:
        """Returns the payload.

        Raises:
            Problem: 400, not a cursor of this route and user.
        """
        if len(text) > TEXT_CHARACTERS_MAX or not text.isascii():
            raise _wrong()
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise _wrong() from error
        payload, mac = sealed[:-MAC_BYTES], sealed[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(route, user_id, payload)):
            raise _wrong()
        # Unused low bits of the last character decode alike; one cursor has one spelling.
        if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
            raise _wrong()
        return payload

    def _mac(self, route: str, user_id: int, payload: bytes) -> bytes:
        message = b"%d:%s%d:%s" % (len(route), route.encode(), user_id, payload)
        return hmac.digest(self._key, message, "sha256")[:MAC_BYTES]


def _wrong() -> Problem:
    return bad_request(
        "invalid-cursor",
        "cursor",
        "This cursor is not valid here. Use next_cursor of a page of this same request, or none to "
        "begin at the first page.",
    )
