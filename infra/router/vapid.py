"""The key that signs pushes (VAPID, RFC 8292), and what browsers subscribe with.

Apart from :mod:`.web_push`, so that a gateway tells the one without loading what sends the others.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from py_vapid import Vapid02, b64urlencode

from infra.keys import kept


async def vapid_key(path: Path) -> Vapid02:
    """Reads the key that signs pushes; makes the file, of mode 0600, where there is none.

    Raises:
        OSError: it can be neither read nor made.
        ValueError: it holds no such key, or others can read it.
    """
    return Vapid02.from_pem(await asyncio.to_thread(kept, path, _new))


def _new() -> bytes:
    made = Vapid02()
    made.generate_keys()
    pem: bytes = made.private_pem()
    return pem


def public_key(key: Vapid02) -> str:
    """Returns what a browser subscribes with (``applicationServerKey``), base64url."""
    raw = key.public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    found: str = b64urlencode(raw)
    return found
