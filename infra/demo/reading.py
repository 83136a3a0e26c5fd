"""Home timelines, searches and tweets over HTTP, as a client reads them, and the time it takes.

Bounded by: the last `SAMPLES` latencies; `PAGES_MAX` pages of one timeline.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

import httpx
import msgspec

from gateway.answers import TweetMetrics
from gateway.auth import Tokens
from gateway.limits import PAGE_MAX

SAMPLES = 5_000
PAGES_MAX = 1_000
TIMEOUT_S = 30.0


class ReadFailed(Exception):
    """The gateway answered with something else than a page; the message has its words."""


class _Tweet(msgspec.Struct):
    id: str


class _Meta(msgspec.Struct):
    result_count: int
    next_cursor: str | None = None
    incomplete: bool = False


class _Page(msgspec.Struct):
    data: list[_Tweet]
    meta: _Meta


class _Metrics(msgspec.Struct):
    public_metrics: TweetMetrics


class _Counted(msgspec.Struct):
    data: _Metrics


class _Notice(msgspec.Struct):
    type: str
    latest_id: str
    count: int
    user_ids: list[str]


class _Notices(msgspec.Struct):
    data: list[_Notice]
    meta: _Meta


Told = tuple[str, int, int, list[int]]
"""A notification: its type, its newest act, how many acts, and who is named."""


class HomeReader:
    """A client with everybody's token.

    Args:
        url: The gateway's.
        tokens: Signs tokens with the gateway's key.
    """

    def __init__(self, url: str, tokens: Tokens) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S)
        self._tokens = tokens
        self._page = msgspec.json.Decoder(_Page)
        self._counted = msgspec.json.Decoder(_Counted)
        self._notices = msgspec.json.Decoder(_Notices)
        self._known: dict[int, str] = {}
        self.latencies_ms: deque[float] = deque(maxlen=SAMPLES)
        self.reads = 0
        self.search_latencies_ms: deque[float] = deque(maxlen=SAMPLES)
        self.searches = 0
        self._measuring = True

    async def __aenter__(self) -> HomeReader:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    @contextmanager
    def unmeasured(self) -> Iterator[None]:
        """Reads within are not counted."""
        self._measuring = False
        try:
            yield
        finally:
            self._measuring = True

    def token(self, user: int) -> str:
        """A bearer token of a user; the same one when asked again."""
        if user not in self._known:
            self._known[user] = self._tokens.issue(user)
        return self._known[user]

    async def page(
        self, user: int, cursor: str | None = None, count: int = 20
    ) -> tuple[list[int], str | None]:
        """One page of a home timeline: ids, and the cursor of the next page if there is one.

        Raises:
            ReadFailed: The gateway answered with an error, or not in time.
        """
        params = {"count": str(count)} | ({"cursor": cursor} if cursor else {})
        started = time.perf_counter()
        content = await self._get(user, "/api/timeline/home", params)
        if self._measuring:
            self.latencies_ms.append((time.perf_counter() - started) * 1000)
            self.reads += 1
        page = self._page.decode(content)
        return [int(tweet.id) for tweet in page.data], page.meta.next_cursor

    async def counts(self, user: int, tweet: int) -> dict[str, int]:
        """The counts of a tweet, in the oracle's words.

        Raises:
            ReadFailed: The gateway answered with an error, or not in time.
        """
        content = await self._get(user, f"/api/tweets/{tweet}", {})
        found = self._counted.decode(content).data.public_metrics
        return {
            "likes": found.like_count,
            "views": found.impression_count,
            "replies": found.reply_count,
            "retweets": found.retweet_count,
            "quotes": found.quote_count,
        }

    async def trends(self, user: int, woeid: int) -> bytes:
        """What trends in a place, as it was answered.

        Raises:
            ReadFailed: The gateway answered with an error, or not in time.
        """
        return await self._get(user, "/api/trends", {"woeid": str(woeid)})

    async def whole(self, user: int) -> list[int]:
        """Every page of a home timeline, in order.

        Raises:
            ReadFailed: See `page`; or the pages do not end.
        """
        found: list[int] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            ids, cursor = await self.page(user, cursor, PAGE_MAX)
            found += ids
            if cursor is None:
                return found
        raise ReadFailed(f"the home timeline of {user} does not end after {PAGES_MAX} pages")

    async def search_page(
        self, user: int, query: str, cursor: str | None = None, count: int = 20
    ) -> tuple[list[int], str | None]:
        """One page of a search, newest first, and the cursor of the next one if there is one.

        Raises:
            ReadFailed: The gateway answered with an error, with a part, or not in time.
        """
        params = {"q": query, "count": str(count)} | ({"cursor": cursor} if cursor else {})
        started = time.perf_counter()
        content = await self._get(user, "/api/search", params)
        if self._measuring:
            self.search_latencies_ms.append((time.perf_counter() - started) * 1000)
            self.searches += 1
        page = self._page.decode(content)
        if page.meta.incomplete:
            raise ReadFailed(f"the search for {query!r} was answered in part: the archive is away")
        return [int(tweet.id) for tweet in page.data], page.meta.next_cursor

    async def search(self, user: int, query: str) -> list[int]:
        """Every page of a search, in order.

        Raises:
            ReadFailed: See `search_page`; or the pages do not end.
        """
        found: list[int] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            ids, cursor = await self.search_page(user, query, cursor, PAGE_MAX)
            found += ids
            if cursor is None:
                return found
        raise ReadFailed(f"the search for {query!r} does not end after {PAGES_MAX} pages")

    async def told(self, user: int) -> list[Told]:
        """Every page of a user's notifications, in order.

        Raises:
            ReadFailed: See `page`; or the pages do not end.
        """
        found: list[Told] = []
        params = {"count": "50"}
        for _ in range(PAGES_MAX):
            page = self._notices.decode(await self._get(user, "/api/notifications", params))
            found += [
                (one.type, int(one.latest_id), one.count, [int(name) for name in one.user_ids])
                for one in page.data
            ]
            if page.meta.next_cursor is None:
                return found
            params["cursor"] = page.meta.next_cursor
        raise ReadFailed(f"the notifications of {user} do not end after {PAGES_MAX} pages")

    async def _get(self, user: int, path: str, params: dict[str, str]) -> bytes:
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        try:
            answer = await self._client.get(path, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise ReadFailed(f"{type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise ReadFailed(f"{answer.status_code}: {answer.text[:300]}")
        return answer.content

    def percentile_ms(self, share: float) -> float | None:
        """A percentile of the last latencies of pages, milliseconds; None before the first."""
        return _percentile(self.latencies_ms, share)

    def search_percentile_ms(self, share: float) -> float | None:
        """The same of searches."""
        return _percentile(self.search_latencies_ms, share)


def _percentile(latencies: Iterable[float], share: float) -> float | None:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
