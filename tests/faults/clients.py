"""Clients of a gateway to whose engines something is done: what they were told, and how soon."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import msgspec

from gateway.answers import HomeTimelinePage
from gateway.auth import Tokens

READING = ("home", "tweet", "user")
READERS = 4
THINK_S = 0.05
PAUSE_BETWEEN_POSTS_S = 0.25
TIMEOUT_S = 20.0
TOLD_S_MAX = 90.0
"""For some dozens of answers, of a machine that has much else to do."""
WHOLE_S_MAX = 30.0
"""Until a page is whole, where all is well; a probe finds an engine within 2 s."""
PAGE = 200
NO_ANSWER = 0
"""Status of a request whose connection failed: nobody knows what became of it."""


@dataclass(frozen=True)
class Told:
    """One request and its answer.

    Attributes:
        kind: ``home``, ``tweet``, ``user`` or ``post``.
        user: Who asked.
        text: Of a post.
        key: Idempotency key of a post.
        began: When it was sent; monotonic seconds.
        seconds: How long it took.
        answer: What came.
    """

    kind: str
    user: int
    text: str
    key: str
    began: float
    seconds: float
    answer: httpx.Response

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def ended(self) -> float:
        return self.began + self.seconds

    @property
    def failed(self) -> bool:
        """Whether there was a 5xx status, or no answer."""
        return self.status >= 500 or self.status == NO_ANSWER

    @property
    def asked_for(self) -> int:
        """The id in the path of a tweet or a user."""
        return int(self.answer.url.path.rpartition("/")[2])

    @property
    def stale(self) -> bool:
        return ("x-stale", "store") in self.answer.headers.items()

    def page(self) -> HomeTimelinePage:
        return msgspec.json.decode(self.answer.content, type=HomeTimelinePage)


@dataclass
class Clients:
    """A population that reads and posts until it is told to stop."""

    client: httpx.AsyncClient
    tokens: Tokens
    users: Sequence[int]
    tweets: Sequence[int]
    chance: random.Random
    told: list[Told] = field(default_factory=list)
    posts: int = 0

    async def ask(self, kind: str, user: int, path: str, *, text: str = "", key: str = "") -> Told:
        headers = {"authorization": f"Bearer {self.tokens.issue(user)}"}
        if key:
            headers["idempotency-key"] = key
        body = {"text": text} if text else None
        request = self.client.build_request(
            "POST" if text else "GET", path, json=body, headers=headers, timeout=TIMEOUT_S
        )
        began = time.monotonic()
        try:
            answer = await self.client.send(request)
        except httpx.TransportError as error:
            answer = httpx.Response(NO_ANSWER, request=request, text=repr(error))
        return Told(kind, user, text, key, began, time.monotonic() - began, answer)

    async def home(self, user: int) -> Told:
        return await self.ask("home", user, "/api/timeline/home?count=20")

    async def post(self, user: int, text: str, key: str) -> Told:
        return await self.ask("post", user, "/api/tweets", text=text, key=key)

    @asynccontextmanager
    async def running(self, tag: str) -> AsyncIterator[None]:
        """Reads and posts meanwhile; every answer is kept in ``told``."""
        self.told = []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read(stop))
            group.create_task(self._write(stop, tag))
            try:
                yield
            finally:
                stop.set()

    async def until_told(self, reads: int, posts: int, since: float) -> None:
        """Returns once so many were answered of what began after ``since``."""
        async with asyncio.timeout(TOLD_S_MAX):
            while True:
                told = [one for one in self.told if one.began >= since]
                written = len(of(told, "post"))
                if written >= posts and len(told) - written >= reads:
                    return
                await asyncio.sleep(THINK_S)

    async def until_none_fails(self, reads: int, posts: int, since: float) -> float:
        """Waits until so many were answered one after the other, and none failed among them.

        Where a machine has much else to do single requests fail without any fault of ours.

        Returns:
            From when on that was, ``since`` or later.
        """
        deadline = time.monotonic() + TOLD_S_MAX
        while True:
            await self.until_told(reads, posts, since)
            told = [one for one in self.told if one.began >= since]
            failed = of(told, *READING, "post", where=lambda one: one.failed)
            if not failed:
                return since
            assert time.monotonic() < deadline, failed[-1].answer.text
            since = max(one.ended for one in failed)

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            user, draw = self.chance.choice(self.users), self.chance.random()
            if draw < 0.6:
                told = await self.home(user)
            elif draw < 0.8:
                tweet = self.chance.choice(self.tweets)
                told = await self.ask("tweet", user, f"/api/tweets/{tweet}")
            else:
                told = await self.ask("user", user, f"/api/users/{self.chance.choice(self.users)}")
            self.told.append(told)
            await asyncio.sleep(THINK_S)

    async def _write(self, stop: asyncio.Event, tag: str) -> None:
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self.posts += 1
                group.create_task(self._post(f"{tag} {self.posts}"))
                await asyncio.sleep(PAUSE_BETWEEN_POSTS_S)

    async def _post(self, text: str) -> None:
        user = self.chance.choice(self.users)
        key = secrets.token_hex(16) if self.chance.random() < 0.5 else ""
        self.told.append(await self.post(user, text, key))

    async def homes(self) -> dict[int, list[int]]:
        """The whole home timeline of everybody."""
        found: dict[int, list[int]] = {}
        for at in range(0, len(self.users), READERS):
            some = self.users[at : at + READERS]
            pages = await asyncio.gather(*(self._whole_home(user) for user in some))
            found.update(zip(some, pages, strict=True))
        return found

    async def _whole_home(self, user: int) -> list[int]:
        """Every page of a home timeline, none of which may lack anything."""
        found: list[int] = []
        cursor = ""
        while True:
            page = await self._whole_page(user, cursor)
            found += [int(tweet.id) for tweet in page.data]
            if page.meta.next_cursor is None:
                return found
            cursor = f"&cursor={page.meta.next_cursor}"

    async def _whole_page(self, user: int, cursor: str) -> HomeTimelinePage:
        """A page that lacks nothing, asked for again while the gateway says that it cannot tell.

        Where a machine has much else to do a breaker opens for a moment without any fault of ours.
        """
        deadline = time.monotonic() + WHOLE_S_MAX
        while True:
            told = await self.ask("home", user, f"/api/timeline/home?count={PAGE}{cursor}")
            assert told.status in (200, 503), told.answer.text
            if told.status == 200:
                page = told.page()
                if not (page.meta.stale or page.meta.incomplete):
                    return page
            assert time.monotonic() < deadline, f"user {user} gets no whole page: {told.status}"
            await asyncio.sleep(THINK_S)


def of(told: Iterable[Told], *kinds: str, where: Callable[[Told], bool] = bool) -> list[Told]:
    """Those of some kinds that a condition holds of."""
    return [one for one in told if one.kind in kinds and where(one)]


def p99(told: Sequence[Told]) -> float:
    """Seconds within which 99 of 100 were answered."""
    return _within(told, 0.99)


def median(told: Sequence[Told]) -> float:
    """Seconds within which half were answered."""
    return _within(told, 0.5)


def _within(told: Sequence[Told], share: float) -> float:
    ordered = sorted(one.seconds for one in told)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
