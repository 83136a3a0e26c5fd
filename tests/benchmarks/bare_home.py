"""The limit of ``home_reads``: a bare ASGI loop that sends the same commands to the same Redis.

Same server (granian), same event loop, same Redis client, the same three round trips for the same
keys, and the bytes joined into an answer of the same size; no routing, token, cursor, filter,
limit, error handling or metric. ``python -m tests.benchmarks.bare_home PORT`` serves
``/<user id>``; settings as for a gateway.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from gateway.queries.home import candidates_for
from infra import compose
from infra.compose import Engines
from infra.settings import load
from projections.accounts.layout import USER, UserFragment
from projections.accounts.unit import NAME as ACCOUNTS
from projections.bus import Command
from projections.cache import Cache
from projections.engagement.layout import COUNTS, Counts, metrics_json
from projections.timelines import marked
from projections.timelines.authors import NEWEST
from projections.timelines.layout import HOME
from projections.timelines.tiers import Tiers
from projections.timelines.unit import NAME as TIMELINES
from projections.tweets.layout import TWEET, TweetFragment

COUNT = 20
WANTED = candidates_for(COUNT)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class BareHome:
    """The loop."""

    def __init__(self, on: Engines) -> None:
        self._bus = on.bus
        self._keys = on.keys(TIMELINES)
        self._prefixes = [
            (self._keys.prefix(TWEET, bucket), self._keys.prefix(COUNTS, bucket))
            for bucket in range(self._keys.buckets)
        ]
        self._users = Cache(on.bus, on.keys(ACCOUNTS), USER, _nothing)
        self._tiers = Tiers(on.bus, on.store, self._keys)

    async def __call__(self, scope: dict[str, Any], _receive: object, send: Send) -> None:
        """Answers any request."""
        user = int(scope["path"][1:])
        timeline, _, _ = await self._bus.calls(
            [
                marked.query(self._keys.of(HOME, user)),
                ("GET", self._keys.of("relations", user)),
                self._tiers.query(),
            ]
        )
        ids = marked.window(timeline, NEWEST, WANTED).ids
        replies = await self._bus.calls(self._beside(ids))
        found = [
            (TweetFragment.unpack(data), metrics_json(Counts.unpack(counts)))
            for values in replies
            for data, counts in zip(values, values[len(values) // 2 :], strict=False)
        ]
        authors = list({tweet.author_id for tweet, _ in found})
        users = await self._bus.calls(self._users.queries(authors))
        people = [UserFragment.unpack(data).body for values in users for data in values]
        body = b'{"data":[%s}],"includes":{"users":[%s}]}}' % (
            b"},".join([tweet.body + b"," + metrics for tweet, metrics in found[:COUNT]]),
            b"},".join(people),
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _beside(self, ids: list[int]) -> list[Command]:
        groups: dict[int, list[int]] = {}
        for tweet_id in ids:
            groups.setdefault(self._keys.bucket(tweet_id), []).append(tweet_id)
        return [
            (
                "MGET",
                *[b"%s%d" % (tweets, i) for i in group],
                *[b"%s%d" % (counts, i) for i in group],
            )
            for (tweets, counts), group in (
                (self._prefixes[bucket], group) for bucket, group in groups.items()
            )
        ]


async def _nothing(_ids: object) -> dict[int, bytes]:
    raise RuntimeError("everything is cached in this benchmark")


async def serve(port: int) -> None:
    """Serves until SIGTERM."""
    async with compose.engines(load().settings) as on:
        server = Server(
            BareHome(on),
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
