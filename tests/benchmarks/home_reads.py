"""``home_reads``: home timelines a second of one gateway process, and how long they take.

500 readers follow 50 of 200 authors with 20 tweets each; every cache is warm, and each answer is a
page of 20 with its authors. Beside it ``bare_home``: a bare ASGI loop that sends the same commands
to the same Redis from the same server. Each is measured in turns, alone on the machine but for
Redis and the load generator; the best of ``ROUNDS`` counts, as other load only ever takes away.

Cold: the reader's cached timeline and relations are deleted before each of his reads, four readers
at a time. Past 800: pages whose cursor is below what is cached, read from the store.

Latency at half load is measured in an open loop, from when a request was due.
``BENCH_SECONDS`` (default 5) sets the length of each measurement.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from events.types import Event, UserFollowed, UserRegistered
from gateway.auth import Tokens
from infra import compose
from infra.compose import Engines
from infra.demo.children import Child, GatewayProcess
from infra.gateway import open_tokens
from infra.prepare import prepare_on
from infra.settings import Settings, load
from infra.stack import ports
from projections.timelines.layout import HOME
from projections.timelines.unit import NAME as TIMELINES
from tests.benchmarks.harness import Figure
from tests.benchmarks.http_load import Answered, Load, run_load
from tests.posts import post

READERS = 500
AUTHORS = 200
FOLLOWED = 50
TWEETS_EACH = 20
CONNECTIONS = 32
COLD_READERS, COLD_AT_ONCE = 400, 4
DEEP_READERS = 40
PATH = "/api/timeline/home"
SLICE_RECORDS = 1_000
ROUNDS = 3
READY_SECONDS_MAX = 60.0
TEXT = "a tweet of ordinary length, as people write them every day of the year #bench"


@dataclass
class Population:
    """Who there is, and what they did, by topic."""

    readers: list[int]
    events: dict[str, list[Event]] = field(default_factory=dict)


def population() -> Population:
    """The same population in each run, with ids of now, so that runs do not meet."""
    rng = random.Random(5)
    now_ms = int(time.time() * 1000)
    authors = [compose_id(now_ms, 0, number) for number in range(AUTHORS)]
    people = Population([compose_id(now_ms, 1, number) for number in range(READERS)])
    first_event, first_tweet = compose_id(now_ms, 2, 0), compose_id(now_ms + 60_000, 0, 0)
    people.events["users"] = [
        UserRegistered(
            event_id=user,
            occurred_at=1,
            user_id=user,
            username=f"user{number}",
            name=f"User Number {number}",
            created_at=1,
        )
        for number, user in enumerate((*authors, *people.readers))
    ]
    pairs = [
        (reader, author) for reader in people.readers for author in rng.sample(authors, FOLLOWED)
    ]
    people.events["social-graph"] = [
        UserFollowed(event_id=at, occurred_at=1, user_id=reader, target_user_id=author)
        for at, (reader, author) in enumerate(pairs, first_event)
    ]
    people.events["new-tweets"] = [
        post(tweet, authors[number % AUTHORS], text=TEXT, created_at=1_700_000_000_000)
        for number, tweet in enumerate(range(first_tweet, first_tweet + AUTHORS * TWEETS_EACH))
    ]
    return people


async def populate(on: Engines, people: Population) -> None:
    """Applies the events as the workers would."""
    await prepare_on(on)
    for make in compose.UNITS.values():
        unit = make(on)
        await unit.open()
        for topic, events in people.events.items():
            if topic in unit.topics:
                # On a stack that has seen a run before: behind that one's events.
                begin = await unit.resume(topic, 0, "bench") or 0
                records = [Record(offset, 1, event) for offset, event in enumerate(events, begin)]
                for at in range(0, len(records), SLICE_RECORDS):
                    part = records[at : at + SLICE_RECORDS]
                    start, end = part[0].offset, part[-1].offset + 1
                    await unit.apply(Slice(topic, 0, "bench", start, end, part))
        await unit.close()


async def run() -> list[Figure]:
    """Measures and returns the figures."""
    mark = secrets.token_hex(4)
    base = load().settings
    with TemporaryDirectory(prefix="murmur-bench-") as folder:
        changes = {"topic_prefix": f"b{mark}-", "token_key_file": Path(folder) / "token.key"}
        settings = base.model_copy(update=changes)
        people = population()
        async with compose.engines(settings) as on:
            await populate(on, people)
            return await _measure(on, people.readers, Path(folder))


async def _measure(on: Engines, readers: Sequence[int], folder: Path) -> list[Figure]:
    settings = on.settings
    tokens = open_tokens(settings)
    async with serving_gateway(settings, folder) as gateway, _bare(settings, folder) as bare:
        ours = Served(*gateway, [home_request(reader, tokens) for reader in readers])
        limit = Served(*bare, [f"GET /{reader} HTTP/1.1\r\nHost: bench" for reader in readers])
        await warm_all(ours)
        for _ in range(ROUNDS):
            await ours.saturate()
            await limit.saturate()
        half_rate = ours.best.per_second / 2
        for _ in range(ROUNDS):
            await ours.load_at(half_rate)
            await limit.load_at(half_rate)
        cold = await _cold(on, ours, readers[:COLD_READERS])
        deep = Served(*gateway, await _deep_requests(ours))
        await deep.saturate()
        await deep.load_at(deep.best.per_second / 2)
    best, beside = ours.best, limit.best
    half, beside_half = ours.calmest, limit.calmest
    return [
        Figure("home_reads", best.per_second, "reads/s", {"bare ASGI loop": beside.per_second}),
        Figure("home_reads CPU", ours.cpu_us, "µs/read", {"bare ASGI loop": limit.cpu_us}),
        _latency("home_reads p50, saturated", best.p50_ms, beside.p50_ms),
        _latency("home_reads p99, saturated", best.p99_ms, beside.p99_ms),
        _latency("home_reads p50, half load", half.p50_ms, beside_half.p50_ms),
        _latency("home_reads p99, half load", half.p99_ms, beside_half.p99_ms, limit=20.0),
        *cold,
        Figure("home_reads past 800", deep.best.per_second, "reads/s"),
        Figure("home_reads past 800, CPU", deep.cpu_us, "µs/read"),
        Figure("home_reads past 800, p50 at half load", deep.calmest.p50_ms, "ms"),
        Figure("home_reads past 800, p99 at half load", deep.calmest.p99_ms, "ms"),
    ]


async def _cold(on: Engines, served: Served, readers: Sequence[int]) -> list[Figure]:
    """Reads whose timeline and relations Redis has just lost."""
    keys = on.keys(TIMELINES)
    left = list(zip(readers, served.requests, strict=False))
    took_ms: list[float] = []
    async with _client(served) as client:

        async def read_on() -> None:
            while left:
                reader, request = left.pop()
                lost = [keys.of(HOME, reader), keys.of("relations", reader)]
                await on.bus.calls_strict([("DEL", key) for key in lost])
                began = time.perf_counter()
                await _page(client, request, 20)
                took_ms.append((time.perf_counter() - began) * 1e3)

        before = served.cpu_seconds()
        await asyncio.gather(*(read_on() for _ in range(COLD_AT_ONCE)))
        spent = served.cpu_seconds() - before
    took_ms.sort()
    return [
        Figure("home_reads cold, CPU", spent / len(took_ms) * 1e6, "µs/read"),
        Figure("home_reads cold, p50", took_ms[len(took_ms) // 2], "ms"),
        Figure("home_reads cold, p99", took_ms[len(took_ms) * 99 // 100], "ms"),
    ]


async def _deep_requests(served: Served) -> list[str]:
    """Requests for the page after the 800 newest entries, of some of the readers."""
    found = []
    async with _client(served) as client:
        for request in served.requests[:DEEP_READERS]:
            cursor = ""
            for _ in range(800 // 200):
                meta = await _page(client, request, 200, cursor)
                cursor = f"&cursor={meta['next_cursor']}"
            found.append(request.replace(PATH, f"{PATH}?count=20{cursor}"))
    return found


def _client(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=30)


async def _page(
    client: httpx.AsyncClient, request: str, count: int, cursor: str = ""
) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {request.rpartition(' ')[2]}"}
    answer = await client.get(f"{PATH}?count={count}{cursor}", headers=headers)
    if answer.status_code != 200 or answer.json()["meta"]["result_count"] != count:
        raise RuntimeError(f"not a full page: {answer.text[:300]}")
    meta: dict[str, Any] = answer.json()["meta"]
    return meta


class Served:
    """A process under load, and what was measured of it.

    Attributes:
        cpu_us: Least CPU time of the process for an answer, in any saturated round: other load on
            the machine hardly changes it.
    """

    def __init__(self, port: int, pid: int, requests: list[str]) -> None:
        self.port = port
        self.requests = requests
        self.cpu_us = float("inf")
        self._pid = pid
        self._saturated: list[Answered] = []
        self._half: list[Answered] = []

    @property
    def best(self) -> Answered:
        """The saturated round with the most answers."""
        return max(self._saturated, key=lambda found: found.per_second)

    @property
    def calmest(self) -> Answered:
        """The round at half load with the lowest 99th percentile."""
        return min(self._half, key=lambda found: found.p99_ms)

    async def saturate(self) -> None:
        """Measures one round of as many requests as are answered."""
        before = self.cpu_seconds()
        found = await _load(self.port, self.requests)
        spent = self.cpu_seconds() - before
        self.cpu_us = min(self.cpu_us, spent / found.total * 1e6)
        self._saturated.append(found)

    def cpu_seconds(self) -> float:
        """CPU time of the process since it began."""
        return _cpu_seconds(self._pid)

    async def load_at(self, rate: float) -> None:
        """Measures one round at a rate, in requests a second."""
        self._half.append(await _load(self.port, self.requests, rate))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _latency(name: str, value: float, bare: float, limit: float | None = None) -> Figure:
    beside = {"bare ASGI loop": bare} | ({} if limit is None else {"aim, below": limit})
    return Figure(name, value, "ms", beside)


def home_request(reader: int, tokens: Tokens) -> str:
    return f"GET {PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {tokens.issue(reader)}"


async def _load(port: int, requests: list[str], rate: float = 0.0) -> Answered:
    seconds = float(os.environ.get("BENCH_SECONDS", "5"))
    found = await run_load(Load("127.0.0.1", port, requests, CONNECTIONS, seconds, rate))
    if found.errors:
        raise RuntimeError(f"{found.errors} requests were not answered with a page")
    return found


async def warm_all(served: Served) -> None:
    """Reads every timeline once: afterwards no request reaches the store."""
    async with _client(served) as client:
        for request in served.requests:
            await _page(client, request, 20)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    return {
        "MURMUR_DATA_DIR": str(settings.data_dir.resolve()),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
        "MURMUR_TOKEN_KEY_FILE": str(folder / "token.key"),
    }


@asynccontextmanager
async def serving_gateway(settings: Settings, folder: Path) -> AsyncIterator[tuple[int, int]]:
    port = ports.choose({"http": 0}, {}, usual=False)["http"]
    gateway = GatewayProcess(port, folder, environment(settings, folder))
    await gateway.start()
    try:
        async with httpx.AsyncClient() as client:
            await gateway.until_ready(client, READY_SECONDS_MAX)
        yield int(gateway.url.rpartition(":")[2]), gateway.pid or 0
    finally:
        await gateway.stop()


@asynccontextmanager
async def _bare(settings: Settings, folder: Path) -> AsyncIterator[tuple[int, int]]:
    port = ports.choose({"http": 0}, {}, usual=False)["http"]
    argv = ["-m", "tests.benchmarks.bare_home", str(port)]
    bare = Child("the bare loop", argv, folder / "bare.log", environment(settings, folder))
    await bare.start()
    try:
        await _until_listening(port, bare)
        yield port, bare.pid or 0
    finally:
        await bare.stop()


async def _until_listening(port: int, bare: Child) -> None:
    transport = httpx.AsyncHTTPTransport(retries=8)  # 0.5 s and more between them
    async with httpx.AsyncClient(transport=transport, timeout=30) as patient:
        await patient.get(f"http://127.0.0.1:{port}/0")
    bare.check()
