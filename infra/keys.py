"""Keys in files: made at the first start, for their owner alone.

Keeps true: of several processes that start together one makes the key and all read the same; a file
that others can read is refused.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from gateway.auth import new_private_key
from infra.settings import Settings


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Returns what a key file holds; makes the file, of mode 0600, where there is none.

    Raises:
        ValueError: others can read it.
        OSError: it can be neither read nor made.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
        try:
            os.link(draft, path)  # a link never replaces
        except FileExistsError:
            return _read(path)
    finally:
        draft.unlink()
    return _read(path)


def token_key(settings: Settings) -> bytes:
    """Returns the key that signs tokens, and from which those of cursors and links are derived.

    Raises:
        ValueError: others can read its file.
        OSError: the file can be neither read nor made.
    """
    return kept(settings.token_key_path, new_private_key)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others; run: chmod 600 {path}")
    return key
