"""The links in mails, under the key of tokens: gateways open what `murmur digest` mailed."""

from __future__ import annotations

from gateway.links import Links
from infra.keys import token_key
from infra.settings import Settings


def open_links(settings: Settings) -> Links:
    """Returns what makes and opens links; makes the key file where there is none.

    Raises:
        ValueError: others can read the key file.
        OSError: it can be neither read nor made.
    """
    return Links(token_key(settings), settings.public_url)
