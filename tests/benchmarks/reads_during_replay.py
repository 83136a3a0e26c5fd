"""``reads_during_replay``: what a home read takes while units are rebuilt, beside none.

The population and the gateway of ``home_reads``, warm. Reads are sent at ``READS_A_SECOND`` for
``BENCH_SECONDS`` (default 5) at a time: alone, and while a process of its own replays ``tweets``
and ``timelines`` into new generations (``replay_rate``, over and over), in turns.

Redis, Cassandra, the gateway, the replay and the load share one machine: what is measured is how
they crowd each other on it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra import compose
from infra.demo.children import Child
from infra.gateway import open_tokens
from infra.settings import load
from tests.benchmarks.harness import Figure
from tests.benchmarks.home_reads import (
    Served,
    environment,
    home_request,
    populate,
    population,
    serving_gateway,
    warm_all,
)

READS_A_SECOND = 200.0
TURNS = 2
BEGUN_SECONDS_MAX = 120.0
POLL_SECONDS = 0.1
UNITS = ("tweets", "timelines")


@asynccontextmanager
async def replaying(env: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    """A process that replays, from its first slice on."""
    said = folder / "replay.log"
    said.unlink(missing_ok=True)
    child = Child("the replay", ["-m", "tests.benchmarks.replay_rate", *UNITS], said, env)
    await child.start()
    try:
        async with asyncio.timeout(BEGUN_SECONDS_MAX):
            while "replaying" not in said.read_text():
                child.check()
                await asyncio.sleep(POLL_SECONDS)
        yield
        child.check()
    finally:
        await child.stop()


async def run() -> list[Figure]:
    """Measures and returns the figures."""
    changes: dict[str, Any] = {"topic_prefix": f"b{secrets.token_hex(4)}-"}
    with TemporaryDirectory(prefix="murmur-bench-") as name:
        folder = Path(name)
        changes["token_key_file"] = folder / "token.key"
        settings = load().settings.model_copy(update=changes)
        people = population()
        async with compose.engines(settings) as on:
            await populate(on, people)
            tokens = open_tokens(settings)
            requests = [home_request(reader, tokens) for reader in people.readers]
            async with serving_gateway(settings, folder) as gateway:
                alone, beside = Served(*gateway, requests), Served(*gateway, requests)
                await warm_all(alone)
                for _ in range(TURNS):
                    await alone.load_at(READS_A_SECOND)
                    async with replaying(environment(settings, folder), folder):
                        await beside.load_at(READS_A_SECOND)
    none, during = alone.calmest, beside.calmest
    return [
        Figure("reads_during_replay p50", during.p50_ms, "ms", {"no replay": none.p50_ms}),
        Figure("reads_during_replay p99", during.p99_ms, "ms", {"no replay": none.p99_ms}),
        Figure("reads_during_replay", during.per_second, "reads/s", {"sent": READS_A_SECOND}),
    ]
