"""Web Push (RFC 8030), encrypted (RFC 8291) and signed by VAPID (RFC 8292), by pywebpush.

Keeps true: nothing is posted but to the hosts that a setting lists, for an endpoint is an address
that a client named; a redirect is not followed. Bounded by: ``SECONDS_MAX`` a push,
``BODY_CHARACTERS_MAX`` of a text, since a push carries 4 KB.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from py_vapid import Vapid02, b64urlencode
from pywebpush import WebPushException, webpush_async

from infra.router.ports import Message, Outcome
from projections.notifications.layout import Address

SECONDS_MAX = 10.0
TTL_SECONDS = 86_400
"""How long a push service keeps what it cannot deliver."""

BODY_CHARACTERS_MAX = 300
GONE = frozenset({404, 410})
LATER = frozenset({429, 500, 502, 503, 504})

log = logging.getLogger(__name__)


class WebPush:
    """Posts to push services; ``async with`` it.

    Args:
        key: Signs.
        contact: A ``mailto:`` or ``https:`` that a push service may turn to.
        hosts: Names of hosts; one that begins with a dot stands for all below it.
    """

    def __init__(self, key: Vapid02, contact: str, hosts: Sequence[str]) -> None:
        self._key = key
        self._contact = contact
        self._hosts = tuple(hosts)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> WebPush:
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def push(self, address: Address, message: Message) -> Outcome:
        """See :class:`infra.router.ports.Pushes`."""
        host = urlsplit(address.address).hostname or ""
        if not any(host == one or (one[:1] == "." and host.endswith(one)) for one in self._hosts):
            log.warning("nothing is pushed to %s: it is not among MURMUR_PUSH_HOSTS", host)
            return Outcome.REFUSED
        shown = {
            "id": message.id,
            "title": message.title,
            "body": message.body[:BODY_CHARACTERS_MAX],
            "path": message.path,
        }
        headers: dict[str, Any] = {
            "urgency": "high" if message.urgent else "normal",
            # A later one of the same topic replaces what still waits (RFC 8030, 5.4).
            "topic": b64urlencode(blake2b(message.id.encode(), digest_size=24).digest()),
        }
        try:
            await webpush_async(
                {
                    "endpoint": address.address,
                    "keys": {"p256dh": address.p256dh, "auth": address.auth},
                },
                data=msgspec.json.encode(shown).decode(),
                vapid_private_key=self._key,
                vapid_claims={"sub": self._contact},
                ttl=TTL_SECONDS,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=SECONDS_MAX),
                aiohttp_session=_Straight(self._session),
            )
        except WebPushException as error:
            return _outcome(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("%s does not answer: %s", host, error)
            return Outcome.LATER
        except ValueError as error:  # keys that are none
            log.info("a subscription at %s has no keys that can be used: %s", host, error)
            return Outcome.REFUSED
        return Outcome.DELIVERED


class _Straight:
    """Posts without following a redirect, which could lead to another host."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, url: str, **options: Any) -> aiohttp.ClientResponse:
        return await self._session.post(url, **{**options, "allow_redirects": False})


def _outcome(error: WebPushException) -> Outcome:
    status = error.status_code
    if status in GONE:
        return Outcome.GONE
    if status in LATER:
        return Outcome.LATER
    log.warning("a push was refused: %s", error)
    return Outcome.REFUSED
