"""The links in mails, under the key of tokens: gateways open what `murmur digest` mailed."""

from __future__ import annotations

from gateway.auth import new_private_key
from gateway.links import Links
from infra.keys import kept
from infra.settings import Settings


def open_links(settings: Settings) -> Links:
    """Returns what makes and opens links; makes the key file where there is none.

    Raises:
        ValueError: others can read the key file.
        OSError: it can be neither read nor made.
    """
    return Links(kept(settings.token_key_path, new_private_key), settings.public_url)
