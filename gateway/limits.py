"""Every bound of the gateway, named, with its unit last.

What a client can make this process hold is bounded by these numbers alone: requests under way,
bytes of a body, of the headers, of a page, seconds of each stage. Rate limits per user are not
here: they come with their own unit.
"""

from __future__ import annotations

BODY_BYTES_MAX = 64 * 1024
"""A JSON body; the largest legal tweet is under 4 KiB."""

BODY_SECONDS_MAX = 5.0
"""From the request's headers to the last byte of its body, however slowly the bytes trickle."""

HEADERS_BYTES_MAX = 16 * 1024
"""Request line and headers together; enforced by the server (431)."""

HEADERS_SECONDS_MAX = 10.0
"""For the whole head of a request, and for an idle connection; enforced by the server."""

REQUEST_SECONDS_MAX = 10.0
"""One request, waiting for a position included."""

READ_SECONDS_MAX = 4.0
"""One read, after what it waited for: the bound that holds whichever engine is away or slow."""

STORE_SECONDS_MAX = 2.0
"""One statement of the store, retry included; below ``READ_SECONDS_MAX``."""

STORE_SLOW_SECONDS = 1.5
"""A statement that took this long counts as one that failed."""

REDIS_SECONDS_MAX = 1.0
"""One batch of commands to one node of Redis; what is not answered by then is read from the
store."""

REQUESTS_MAX = 1024
"""Requests under way in one process; one more is answered 503 at once."""

DRAIN_SECONDS_MAX = 15.0
"""How long a stopping process lets requests finish; above ``REQUEST_SECONDS_MAX``."""

WAIT_SECONDS_MAX = 5.0
"""How long a read is held for ``X-Wait-For``."""

WAIT_POSITIONS_MAX = 8
"""Positions in one ``X-Wait-For``."""

PAGE_DEFAULT = 20
PAGE_MAX = 200
REPLIES_MAX = 40
"""Replies on a page of a conversation: each brings up to twelve beneath it."""

TWEET_CODE_POINTS_MAX = 280
MEDIA_MAX = 4
VIEWS_MAX = 100
"""Tweets in one report of what was seen."""

NAME_CODE_POINTS_MAX = 50
DESCRIPTION_CODE_POINTS_MAX = 160
LIST_NAME_CODE_POINTS_MAX = 25
LIST_DESCRIPTION_CODE_POINTS_MAX = 100
LOCATION_CODE_POINTS_MAX = 30
URL_CODE_POINTS_MAX = 200
IDEMPOTENCY_KEY_CHARACTERS_MAX = 128

TOKEN_CHARACTERS_MAX = 4096
TOKENS_REMEMBERED_MAX = 16_384
"""Verified tokens kept, at about 0.5 KB each."""

TOKEN_SECONDS = 30 * 86_400
"""Life of a token that registration or the CLI gives out."""
