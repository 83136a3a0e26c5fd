"""The gateway on top of the oracle: a whole system in memory, always at lag zero unless held back.

The log's fake feeds the oracle, and the readers' fakes answer from it, so that a route test sees
what the commands before it did.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from gateway.auth import Tokens, new_private_key
from gateway.build import Services, build
from gateway.guards.guards import Guards
from gateway.health import Check
from gateway.http import Request, Response
from gateway.levels.admission import Admission
from gateway.levels.level import Levels
from gateway.links import CONFIRM_PATH, Link, Links
from gateway.metrics import GatewayMetrics
from gateway.openings import Openings
from tests.oracle import Oracle
from tests.unit.gateway.fake_collections import FakeCollections
from tests.unit.gateway.fake_notifications import FakeNotifications
from tests.unit.gateway.fake_search import FakePeople, FakeSearch
from tests.unit.gateway.fake_trends import FakeTrends
from tests.unit.gateway.fakes import (
    FakeAccounts,
    FakeAuthors,
    FakeEngagement,
    FakeGraph,
    FakeHome,
    FakeLog,
    FakeMinter,
    FakeTweets,
    FakeUnit,
)
from tests.unit.gateway.talk_fakes import FakeMentions, FakeThreads

KEY = new_private_key()
PERIOD_SECONDS = 3600.0


class World:
    """A gateway and all behind it."""

    def __init__(
        self,
        wait_seconds_max: float = 0.2,
        checks: Mapping[str, Check] | None = None,
        guards: Guards | None = None,
    ) -> None:
        self.oracle = Oracle()
        self.guards = guards
        self.log = FakeLog(self.oracle)
        self.collections = FakeCollections(self.oracle.collections)
        self.search = FakeSearch(self.oracle)
        self.trends = FakeTrends(self.log)
        self.tokens = Tokens(KEY)
        self.links = Links(b"secret", "https://murmur.example/")
        self.metrics = GatewayMetrics(CollectorRegistry())
        minter = FakeMinter()
        self.openings = Openings(self.log, minter, self.metrics, PERIOD_SECONDS)
        accounts, tweets = FakeAccounts(self.log), FakeTweets(self.oracle)
        self.tweets = tweets
        topics = {
            "accounts": frozenset({"users", "usernames"}),
            "tweets": frozenset({"new-tweets"}),
            "timelines": frozenset({"new-tweets", "social-graph"}),
            "engagement": frozenset({"new-tweets", "engagements"}),
            "collections": frozenset({"lists", "bookmarks"}),
            "search": frozenset({"new-tweets", "users"}),
            "notifications": frozenset(
                {"new-tweets", "engagements", "social-graph", "user-activity"}
            ),
            "trends": frozenset({"new-tweets"}),
        }
        self.home = FakeHome(self.oracle, tweets, accounts)
        self.levels = Levels()
        self.admission = Admission(delay_seconds=0.1)
        services = Services(
            log=self.log,
            minter=minter,
            accounts=accounts,
            tweets=tweets,
            mentions=FakeMentions(self.oracle),
            threads=FakeThreads(self.oracle),
            engagement=FakeEngagement(self.oracle),
            authors=FakeAuthors(self.oracle),
            graph=FakeGraph(self.oracle),
            home=self.home,
            collections=self.collections,
            search=self.search,
            people=FakePeople(self.oracle),
            notifications=FakeNotifications(self.oracle),
            trends=self.trends,
            links=self.links,
            push_key="public",
            openings=self.openings,
            units={name: FakeUnit(self.log, found) for name, found in topics.items()},
            tokens=self.tokens,
            tweet_partitions=1,
            cursor_secret=b"secret",
            checks=checks or {},
            metrics=self.metrics,
            version="test",
            guards=guards,
            levels=self.levels,
            admission=self.admission,
            wait_seconds_max=wait_seconds_max,
        )
        self.gateway, self.health = build(services)

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        user: int = 0,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Response:
        """Sends a request; ``body`` goes as JSON, ``raw`` as it is."""
        sent = {"content-type": "application/json"} if raw is None else {}
        if user:
            sent["authorization"] = f"Bearer {self.tokens.issue(user)}"
        sent.update(headers or {})
        data = raw if raw is not None else json.dumps(body).encode()
        path, _, query = target.partition("?")

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        request = Request(
            method=method,
            path=path,
            query_string=query,
            header=sent.get,
            chunks=chunks,
            request_id="test",
        )
        return await self.gateway.answer(request)

    async def call(
        self, status: int, method: str, target: str, body: Any = None, **options: Any
    ) -> dict[str, Any]:
        """Sends a request, expects the status, returns the JSON."""
        response = await self.send(method, target, body, **options)
        assert response.status == status, response.body
        if status >= 400:
            assert response.media_type == "application/problem+json"
        found = json.loads(response.body)
        assert isinstance(found, dict)
        return found

    async def register(self, username: str) -> int:
        """Registers a user and returns the id."""
        found = await self.call(201, "POST", "/api/users", {"username": username, "name": "N"})
        return int(found["data"]["id"])

    async def mailed_to(self, user: int, address: str) -> None:
        """Has a user confirm an address."""
        await self.call(200, "PUT", "/api/notifications/email", {"address": address}, user=user)
        proposal, _ = self.oracle.notifications.proposals[user, "email"]
        url = self.links.url(CONFIRM_PATH, Link(user, address, proposal))
        answer = await self.send("POST", url.removeprefix("https://murmur.example"))
        assert answer.status == 200, answer.body

    async def tweet(self, user: int, text: str = "hello", **fields: Any) -> int:
        """Posts a tweet and returns the id."""
        found = await self.call(201, "POST", "/api/tweets", {"text": text, **fields}, user=user)
        return int(found["data"]["id"])


def position_of(response: Response) -> str:
    """Returns what ``X-Event-Position`` says."""
    return dict(response.headers)["x-event-position"]
