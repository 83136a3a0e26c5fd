"""``search_served``: pages of a search and a typeahead over HTTP, and when a new tweet is found.

*Over HTTP*: one gateway process, ``USERS`` users with two names each and ``TWEETS`` tweets of
:mod:`tests.benchmarks.search_tiers`, its queries of one and of two common words, and beginnings of
names as somebody types them. Saturated, and at half of that rate in an open loop.

*Visible*: one worker of the search, tweets appended at half of the rate that the issue asks for
(500/s a shard) for ``BENCH_SECONDS`` (default 10). Each has a word of its own; of one in
``SAMPLED`` it is measured when the real-time tier finds it, and by when the archive does as well.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from events.log import Log
from events.snowflake import compose as compose_id
from events.types import TweetPosted, UserRegistered
from gateway.auth import Tokens
from infra import compose
from infra.compose import Engines
from infra.gateway import open_tokens
from infra.prepare import prepare_on
from infra.settings import load
from projections.search.archive import ArchiveReader
from projections.search.part import NEWEST
from projections.search.program import Program, compiled
from projections.search.query.parse import parse
from projections.search.recent import RecentReader
from projections.search.unit import NAME as SEARCH
from tests.benchmarks import search_tiers
from tests.benchmarks.harness import Figure
from tests.benchmarks.home_reads import Population, Served, populate, serving_gateway
from tests.benchmarks.pushing import append, quantile, until_applied, workers
from tests.posts import post

BY_NAME = "search: users by a beginning"
USERS, TWEETS = 20_000, 10_000
ROUNDS = 3
HALF_RATE = 250.0
SAMPLED = 64
LOOK_SECONDS = 0.05
"""Between two looks for a tweet; more often, or for more tweets, the looking is the load."""
TICK_SECONDS = 0.01
SECONDS_MAX = 60.0
SYLLABLES = ("an", "be", "ca", "do", "el", "fi", "go", "ha", "in", "jo", "ka", "li", "ma", "no")


async def run() -> list[Figure]:
    """Measures on the running stack."""
    return [*await _over_http(), *await _visible()]


async def _over_http() -> list[Figure]:
    with TemporaryDirectory(prefix="murmur-bench-") as folder:
        changes = {
            "topic_prefix": f"b{secrets.token_hex(4)}-",
            "token_key_file": Path(folder) / "token.key",
        }
        settings = load().settings.model_copy(update=changes)
        async with compose.engines(settings) as on:
            people, posted = _population()
            await populate(on, people)
        found: list[Figure] = []
        async with serving_gateway(settings, Path(folder)) as gateway:
            for name, paths in _paths(posted).items():
                requests = _requests(people.readers, open_tokens(settings), paths)
                found += await _served(name, Served(*gateway, requests))
        return found


async def _served(name: str, served: Served) -> list[Figure]:
    beside = {"aim, below": 10.0} if name == BY_NAME else {}
    for _ in range(ROUNDS):
        await served.saturate()
    for _ in range(ROUNDS):
        await served.load_at(served.best.per_second / 2)
    half = served.calmest
    return [
        Figure(name, served.best.per_second, "answers/s of one gateway process"),
        Figure(f"{name}, CPU", served.cpu_us, "µs"),
        Figure(f"{name}, p50 at half load", half.p50_ms, "ms"),
        Figure(f"{name}, p99 at half load", half.p99_ms, "ms", beside),
    ]


def _population() -> tuple[Population, list[TweetPosted]]:
    rng = random.Random(9)
    now_ms = int(time.time() * 1000)
    users = [compose_id(now_ms, 1, 0) + number for number in range(USERS)]
    registered = [
        UserRegistered(
            event_id=user,
            occurred_at=1,
            user_id=user,
            username=f"{_name(rng)}{number}",
            name=f"{_name(rng).title()} {_name(rng).title()}",
            created_at=1,
        )
        for number, user in enumerate(users)
    ]
    posted = [
        post(compose_id(now_ms + number, 2, 0), rng.choice(users), text=tweet.text)
        for number, tweet in enumerate(search_tiers.tweets(TWEETS))
    ]
    return Population(users[:500], {"users": [*registered], "new-tweets": [*posted]}), posted


def _name(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=3))


def _paths(posted: list[TweetPosted]) -> dict[str, list[str]]:
    rng = random.Random(3)
    names = [_name(rng)[: rng.randint(2, 6)] for _ in range(200)]
    asked = search_tiers.queries(posted)
    return {
        BY_NAME: [f"/api/search/users?q={quote(name)}" for name in names],
        **{
            f"search: a page, {kind}": [f"/api/search?q={quote(ours)}" for ours, *_ in asked[kind]]
            for kind in ("one common word", "two common words")
        },
    }


def _requests(readers: Sequence[int], tokens: Tokens, paths: Sequence[str]) -> list[str]:
    return [
        f"GET {path} HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {tokens.issue(readers[at % len(readers)])}"
        for at, path in enumerate(paths)
    ]


async def _visible() -> list[Figure]:
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench5").settings
    async with compose.engines(settings) as on:
        await prepare_on(on)
        with workers(settings, SEARCH):
            async with compose.open_log(on) as log:
                begun = await append(log, search_tiers.tweets(100))
                await until_applied(on, SEARCH, begun, SECONDS_MAX)
                recent, archive = await _paced(on, log)
    what = f"ms from append to found, {HALF_RATE:g} tweets/s"
    return [
        Figure(f"search: visible, {tier} p{share}", quantile(took, share / 100) * 1e3, what, beside)
        for tier, took, beside in (
            ("real-time tier", recent, {"aim p99, below": 1_000.0}),
            ("archive", archive, {"aim, below": 10_000.0}),
        )
        for share in (50, 99)
    ]


async def _paced(on: Engines, log: Log) -> tuple[list[float], list[float]]:
    """Returns after how many seconds either tier found those that were sampled."""
    seconds = float(os.environ.get("BENCH_SECONDS", "10"))
    recent_reader = RecentReader(on.bus, on.keys(SEARCH))
    archive_reader = ArchiveReader(on.store_of(SEARCH))
    recent, archive = list[float](), list[float]()

    async def in_recent(program: Program) -> bool:
        part, _ = await recent_reader.find(program, NEWEST, 0, 1)
        return bool(part.ids)

    async def in_archive(program: Program) -> bool:
        return bool((await archive_reader.find(program, NEWEST, 0)).ids)

    async def one(tweet: TweetPosted, number: int) -> None:
        began = time.perf_counter()
        await log.append(tweet)
        if number % SAMPLED == 0:
            program = compiled(parse(tweet.text.rpartition(" ")[2]), {})
            await _until(in_recent, program, began, recent)
            await _until(in_archive, program, began, archive)

    words = search_tiers.tweets(2_000)
    started, posted = time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while (elapsed := time.perf_counter() - started) < seconds:
            while posted < elapsed * HALF_RATE:
                said = f"{words[posted % len(words)].text} {secrets.token_hex(8)}"
                tweet_id = compose_id(int(time.time() * 1000), 3, posted % 4096)
                group.create_task(one(post(tweet_id, posted + 1, text=said), posted))
                posted += 1
            await asyncio.sleep(TICK_SECONDS)
    return recent, archive


async def _until(
    is_found: Callable[[Program], Awaitable[bool]],
    program: Program,
    began: float,
    took: list[float],
) -> None:
    while not await is_found(program):
        if time.perf_counter() - began > SECONDS_MAX:
            raise RuntimeError(f"a tweet was not found within {SECONDS_MAX:g} s")
        await asyncio.sleep(LOOK_SECONDS)
    took.append(time.perf_counter() - began)
