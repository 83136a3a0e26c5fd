"""A running system as its clients see it: one worker process per unit, one gateway, HTTP only."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.answers import HomeTimelinePage, RegisteredAnswer, TweetPage
from infra import compose
from infra.demo.children import GatewayProcess, Worker
from infra.prepare import prepare
from infra.settings import Settings
from infra.stack import ports

UNITS = tuple(compose.UNITS)
READY_SECONDS_MAX = 60.0
TIMEOUT_SECONDS = 20.0


@dataclass
class Person:
    """A registered user, who reads what he wrote."""

    client: httpx.AsyncClient
    id: str
    username: str
    token: str
    written: list[str] = field(default_factory=list)

    async def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Sends a request; after it, reads wait for what it wrote."""
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        if self.written and "x-wait-for" not in sent:
            sent["x-wait-for"] = ",".join(self.written[-8:])
        response = await self.client.request(method, path, json=body, headers=sent)
        position = response.headers.get("x-event-position")
        if position:
            self.written.append(position)
        return response

    async def do(self, status: int, method: str, path: str, body: Any = None) -> Any:
        """Sends a request, expects the status, returns the JSON."""
        response = await self.send(method, path, body)
        assert response.status_code == status, response.text
        return response.json()

    async def relate(self, verb: str, other: Person, status: int = 201) -> None:
        """Follows, blocks or mutes somebody."""
        body = {"target_user_id": other.id}
        await self.do(status, "POST", f"/api/users/{self.id}/{verb}", body)

    async def end(self, verb: str, other: Person) -> None:
        """Takes it back."""
        await self.do(200, "DELETE", f"/api/users/{self.id}/{verb}/{other.id}")

    async def tweet(self, text: str = "hello", **fields: Any) -> str:
        """Posts a tweet and returns its id."""
        found = await self.do(201, "POST", "/api/tweets", {"text": text, **fields})
        tweet_id: str = found["data"]["id"]
        return tweet_id

    async def retweet(self, tweet_id: str) -> str:
        """Retweets and returns the retweet's id."""
        found = await self.do(201, "POST", f"/api/tweets/{tweet_id}/retweet")
        retweet_id: str = found["data"]["id"]
        return retweet_id

    async def until_applied(self, positions: list[str], path: str = "/api/timeline/home") -> None:
        """Waits until every unit that serves timelines, or a path, has applied these positions."""
        highest: dict[str, int] = {}
        for position in positions:
            source, _, offset = position.partition("@")
            highest[source] = max(highest.get(source, -1), int(offset))
        ordered = [f"{source}@{offset}" for source, offset in highest.items()]
        for at in range(0, len(ordered), 8):
            headers = {"x-wait-for": ",".join(ordered[at : at + 8])}
            response = await self.send("GET", path, headers=headers)
            assert response.status_code == 200, response.text

    async def home(self, count: int = 20, after: Person | None = None) -> list[str]:
        """The whole home timeline; waits for what this user wrote, and what another did."""
        return await self.pages("/api/timeline/home", count, after)

    async def pages(self, path: str, count: int = 20, after: Person | None = None) -> list[str]:
        """All pages of a timeline, each decoded strictly."""
        positions = [*self.written[-4:], *(after.written[-4:] if after else ())]
        headers = {"x-wait-for": ",".join(positions)} if positions else {}
        seen: list[str] = []
        cursor = ""
        for _ in range(200):
            join = "&" if "?" in path else "?"
            response = await self.send("GET", f"{path}{join}count={count}{cursor}", headers=headers)
            assert response.status_code == 200, response.text
            kind: type[HomeTimelinePage | TweetPage] = (
                HomeTimelinePage if path.startswith("/api/timeline/home") else TweetPage
            )
            page = msgspec.json.decode(response.content, type=kind)
            assert page.meta.result_count == len(page.data) <= count
            authors = {user.id for user in page.includes.users}
            assert authors >= {tweet.author_id for tweet in page.data}
            seen += [tweet.id for tweet in page.data]
            if page.meta.next_cursor is None:
                return seen
            cursor = f"&cursor={page.meta.next_cursor}"
        raise AssertionError("the pages do not end")


@dataclass
class Town:
    """The system and a client of it."""

    settings: Settings
    env: Mapping[str, str]
    logs: Path
    gateway: GatewayProcess
    client: httpx.AsyncClient
    workers: Mapping[str, Worker]

    async def until_working(self) -> None:
        """Waits until the workers have taken up their partitions."""
        body = {"username": f"first_{secrets.token_hex(4)}", "name": "first"}
        headers = {"idempotency-key": secrets.token_urlsafe(24)}
        async with asyncio.timeout(READY_SECONDS_MAX):
            while (
                response := await self.client.post("/api/users", json=body, headers=headers)
            ).status_code != 201:
                assert response.status_code == 504, response.text
        first = Person(self.client, response.json()["data"]["id"], "", response.json()["token"])
        async with asyncio.timeout(READY_SECONDS_MAX):
            posted = await first.send("POST", "/api/tweets", {"text": "first"})
            headers = {"x-wait-for": posted.headers["x-event-position"]}
            while True:
                read = await first.send("GET", "/api/timeline/home", headers=headers)
                if read.status_code == 200:
                    return
                assert read.status_code == 504, read.text

    async def person(self, name: str = "p") -> Person:
        """Registers somebody under a fresh name."""
        username = f"{name}_{secrets.token_hex(4)}"
        body = {"username": username, "name": name}
        response = await self.client.post("/api/users", json=body)
        assert response.status_code == 201, response.text
        answer = msgspec.json.decode(response.content, type=RegisteredAnswer)
        person = Person(self.client, answer.data.id, username, answer.token)
        person.written.append(response.headers["x-event-position"])
        return person

    async def people(self, *names: str) -> list[Person]:
        """Registers several."""
        return [await self.person(name) for name in names]


def free_port() -> int:
    """A port that nothing listens on."""
    return ports.choose({"http": 0}, {}, usual=False)["http"]


@asynccontextmanager
async def town(settings: Settings, logs: Path) -> AsyncIterator[Town]:
    """Starts a town on running engines, with topics of its own; stops it at the end."""
    env = {
        "MURMUR_DATA_DIR": str(settings.data_dir),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
        "MURMUR_TOKEN_KEY_FILE": str(logs / "token.key"),
    }
    await prepare(settings)
    async with AsyncExitStack() as closing:
        gateway = GatewayProcess(free_port(), logs, env)
        workers = {unit: Worker(unit, logs, env) for unit in UNITS}
        for child in (*workers.values(), gateway):
            closing.push_async_callback(child.stop)
            await child.start()
        client = await closing.enter_async_context(
            httpx.AsyncClient(base_url=gateway.url, timeout=TIMEOUT_SECONDS)
        )
        await gateway.until_ready(client, READY_SECONDS_MAX)
        running = Town(settings, env, logs, gateway, client, workers)
        await running.until_working()
        yield running
