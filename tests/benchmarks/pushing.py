"""What the benchmarks of fan-outs share: follows, warm timelines, workers, when all is visible."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import DEVNULL, Popen

from events.log import Log
from events.slices import Record
from events.snowflake import compose as compose_id
from events.types import TweetPosted, UserFollowed
from infra.compose import Engines
from infra.settings import Settings
from projections.functions import EFFECTS
from projections.timelines import graph, marked
from projections.timelines.layout import HOME, TABLES, pack_ids
from projections.timelines.unit import NAME
from tests.posts import post

TEXT = "a tweet of ordinary length, as people write them every day of the year"
BURST = 2_000
POLL_SECONDS = 0.005
LOOK_SECONDS = 0.02
"""Between two looks at a timeline; more often, the looking itself is the load."""
COLD_MARKER = marked.COMPLETE + bytes(marked.MARKER_BYTES - 1)
"""The marker of a timeline that is complete from the beginning, and empty."""


async def make_tables(on: Engines) -> None:
    """Makes the unit's tables where they are missing."""
    on.bus.use_library(EFFECTS.source)
    for name, ddl in TABLES.items():
        await on.store.create(name, ddl)


async def follow(on: Engines, author: int, followers: Sequence[int]) -> None:
    """Writes the facts of follows, as the unit would."""
    event_id = compose_id(int(time.time() * 1000), 1, 0)
    for at in range(0, len(followers), BURST):
        events = [
            UserFollowed(event_id=event_id, occurred_at=1, user_id=reader, target_user_id=author)
            for reader in followers[at : at + BURST]
        ]
        await on.store.write([f for e in events for f in graph.facts(Record(0, 0, e))])


async def warm(on: Engines, readers: Sequence[int]) -> None:
    """Makes every reader's home timeline warm and empty."""
    keys = on.keys(NAME)
    for at in range(0, len(readers), BURST):
        await on.bus.calls_strict(
            [
                ("SET", keys.of(HOME, reader), COLD_MARKER, "EX", 86_400)
                for reader in readers[at : at + BURST]
            ]
        )


def tweet(author: int, tweet_id: int) -> TweetPosted:
    """An ordinary tweet."""
    return post(tweet_id, author, text=TEXT)


@contextmanager
def workers(settings: Settings, *units: str) -> Iterator[None]:
    """One worker process per unit."""
    environ = {
        **os.environ,
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
        "MURMUR_DATA_DIR": str(settings.data_dir),
    }
    processes = [
        Popen(
            [sys.executable, "-m", "infra.worker", unit],
            env=environ,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        for unit in units
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


async def append(log: Log, posted: Sequence[TweetPosted]) -> dict[str, int]:
    """Appends tweets; returns where each partition ends."""
    ends: dict[str, int] = {}
    for position in await log.append_many(posted):
        source = f"{position.topic}/{position.partition}"
        ends[source] = max(ends.get(source, 0), position.offset + 1)
    return ends


async def until_applied(on: Engines, unit: str, ends: dict[str, int], seconds: float) -> None:
    """Returns once a unit has applied every position of ``ends``."""
    applied = on.applied(unit)
    deadline = time.monotonic() + seconds
    for source, end in ends.items():
        while await applied.at(source) < end:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{source} was not applied up to {end} within {seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)


async def until_seen(on: Engines, reader: int, tweet_id: int, seconds: float) -> None:
    """Returns once a tweet is in a reader's cached home timeline."""
    key, wanted = on.keys(NAME).of(HOME, reader), pack_ids((tweet_id,))
    deadline = time.monotonic() + seconds
    while wanted not in (await on.bus.call("GET", key) or b""):
        if time.monotonic() > deadline:
            raise RuntimeError(f"tweet {tweet_id} was not visible within {seconds:g} s")
        await asyncio.sleep(LOOK_SECONDS)


async def entries(on: Engines, readers: Sequence[int]) -> int:
    """How many entries all timelines hold together."""
    keys = on.keys(NAME)
    found = 0
    for at in range(0, len(readers), BURST):
        lengths = await on.bus.calls_strict(
            [("STRLEN", keys.of(HOME, reader)) for reader in readers[at : at + BURST]]
        )
        found += sum((length - marked.MARKER_BYTES) // marked.ID_BYTES for length in lengths)
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
