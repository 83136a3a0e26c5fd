"""A gateway process in memory: the product's own, but for the server before it and the engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Self
from urllib.parse import quote

from prometheus_client import CollectorRegistry

from events.position import Position
from events.types import Event
from gateway.auth import Tokens, new_private_key
from gateway.build import Services, build
from gateway.http import Request, Response
from gateway.links import Links
from gateway.metrics import GatewayMetrics
from gateway.openings import Openings
from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from infra import compose, trending
from infra.compose import Engines as Clients
from infra.following import Following
from tests.model.log import PARTITIONS
from tests.model.processes import Engines, Process, process
from tests.model.words import Words

_TOKENS = Tokens(new_private_key())
_METRICS = GatewayMetrics(CollectorRegistry())
_READERS = (
    *("accounts", "tweets", "mentions", "threads", "engagement"),
    *("authors", "graph", "home", "collections", "search", "people", "notifications"),
    "trends",
)


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


class _Current:
    """Stands for a reader that is replaced when another generation comes into service."""

    def __init__(self) -> None:
        self.reader: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


class MemoryGateway:
    """One gateway process, which follows the generations as the product's do.

    Making its routes and their document takes longer than a run of the model, so it is handed from
    run to run, and only its readers are made anew (:meth:`begin`).
    """

    def __init__(self) -> None:
        log = _NoLog()
        self._readers = {name: _Current() for name in _READERS}
        current: dict[str, Any] = dict(self._readers)
        self._gateway, _ = build(
            Services(
                **current,
                log=log,
                minter=log,
                links=Links(b"secret", "https://murmur.example"),
                push_key="",
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
        self.reads: Process
        self._following: Following

    def begin(self, on: Engines, serving: Mapping[str, str] | None = None) -> Self:
        """Begins anew, on other engines."""
        self._read(process(on, serving))
        self._following = Following(self.reads, self._read)
        return self

    async def look(self) -> None:
        """Changes over to what the registry says, if it says anything new."""
        await self._following.look()

    def _read(self, on: Clients) -> None:
        assert isinstance(on, Process)
        self.reads = on
        timelines = compose.timelines_reader(on)
        accounts, engagement = compose.accounts_reader(on), compose.engagement_reader(on)
        tweets = CountedTweets(compose.tweets_reader(on), engagement)
        readers = {
            "accounts": accounts,
            "tweets": tweets,
            "mentions": compose.mentions_reader(on),
            "threads": compose.threads_reader(on),
            "engagement": engagement,
            "authors": timelines.authors,
            "graph": timelines.graph,
            "home": HomeTimelines(timelines, tweets, accounts),
            "collections": compose.collections_reader(on),
            "search": compose.search_reader(on),
            "people": compose.people_reader(on),
            "notifications": compose.notifications_reader(on),
            "trends": trending.reader(on),
        }
        for name, current in self._readers.items():
            current.reader = readers[name]

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


errors = Words("gateway")
"""What an answer 500 comes of."""

Words("infra.following")

_NOTHING: tuple[bytes, ...] = ()
_issued: dict[int, str] = {}


def _token(user: int) -> str:
    if user not in _issued:
        _issued[user] = _TOKENS.issue(user)
    return _issued[user]
