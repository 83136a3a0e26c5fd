"""A gateway process in memory: the product's own, but for the server before it and the engines."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from prometheus_client import CollectorRegistry

from events.position import Position
from events.types import Event
from gateway.auth import Tokens, new_private_key
from gateway.build import Services, build
from gateway.http import Request, Response
from gateway.metrics import GatewayMetrics
from gateway.openings import Openings
from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from projections.accounts.read import AccountsReader
from projections.collections.read import CollectionsReader
from projections.engagement.read import EngagementReader
from projections.engagement.threads import ThreadsReader
from projections.tweets.mentions import MentionsReader
from projections.tweets.read import TweetsReader
from tests.model.log import PARTITIONS
from tests.model.processes import Engines, Process, timelines_reader

_TOKENS = Tokens(new_private_key())
_METRICS = GatewayMetrics(CollectorRegistry())


class _NoLog:
    """A log that keeps nothing: what readers say to it is for other tests."""

    async def append(self, event: Event) -> Position:
        return Position("user-activity", 0, 0)

    async def append_once(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def recall(self, *_: Any, **__: Any) -> Event | None:
        raise NotImplementedError

    async def mint(self) -> int:
        return 1


class MemoryGateway:
    """One gateway process.

    Making its routes and their document takes longer than a run of the model, so it is handed from
    run to run (:meth:`Process.move`). All that it remembers are the tiers, under a version that no
    other run has.
    """

    def __init__(self, on: Engines, generation: str = "g1") -> None:
        self.process = of = Process(on, generation)
        log = _NoLog()
        timelines = timelines_reader(of)
        accounts = AccountsReader(of.bus, of.store, of.keys("accounts"))
        engagement = EngagementReader(of.bus, of.store, of.keys("engagement"))
        tweets = CountedTweets(TweetsReader(of.bus, of.store, of.keys("tweets")), engagement)
        self._gateway, _ = build(
            Services(
                log=log,
                minter=log,
                accounts=accounts,
                tweets=tweets,
                mentions=MentionsReader(of.store),
                threads=ThreadsReader(of.store),
                engagement=engagement,
                authors=timelines.authors,
                graph=timelines.graph,
                home=HomeTimelines(timelines, tweets, accounts),
                collections=CollectionsReader(of.bus, of.store, of.keys("collections")),
                openings=Openings(log, log, _METRICS, 3600.0),
                units={},
                tokens=_TOKENS,
                tweet_partitions=PARTITIONS["new-tweets"],
                cursor_secret=b"secret",
                checks={},
                metrics=_METRICS,
                version="model",
            )
        )

    async def get(self, user: int, path: str, **query: object) -> tuple[int, bytes]:
        """Returns status and body of an answer."""
        headers = {"authorization": f"Bearer {_token(user)}"}

        async def nothing() -> AsyncIterator[bytes]:
            for chunk in _NOTHING:
                yield chunk

        response: Response = await self._gateway.answer(
            Request(
                method="GET",
                path=path,
                query_string="&".join(f"{k}={quote(str(v))}" for k, v in query.items()),
                header=headers.get,
                chunks=nothing,
                request_id="model",
            )
        )
        return response.status, response.body


class _Errors(logging.Handler):
    """Keeps the last error that a gateway logged; its answer says nothing of the inside."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = self.format(record)


errors = _Errors()
"""What an answer 500 comes of."""
logging.getLogger("gateway").addHandler(errors)

_NOTHING: tuple[bytes, ...] = ()
_issued: dict[int, str] = {}


def _token(user: int) -> str:
    if user not in _issued:
        _issued[user] = _TOKENS.issue(user)
    return _issued[user]
