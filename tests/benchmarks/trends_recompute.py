"""``trends_recompute``: what a window costs with a million different tags in it, and what is kept.

A long tail of tags that one person each uses, under a few hundred that many do, over the ten slots
of a window. Measured are the first window that a new leader works out (all ten slots are read), the
next one (one slot), both with the tail left out as by default and with all of it kept, as where
twenty people make a trend; beside it the tail at a tenth of the size.
"""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from events.slices import Record, Slice
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.keys import Keys
from projections.trends import unit as unit_module
from projections.trends.layout import DAY_MS, WINDOW_SLOTS, Rules, Shape, shard_of
from projections.trends.leader import CLOCK_SKEW_MS, Leader
from projections.trends.unit import Trends
from tests.benchmarks.harness import Figure
from tests.posts import post

TAGS = 1_000_000
TAGS_FEW = 100_000
HOT_TAGS = 200
HOT_AUTHORS = 600
POSTS = 20_000
ROWS_AT_ONCE = 20_000
START = 1_800_000_000_000 // DAY_MS * DAY_MS
SHAPE = Shape()
BY_DEFAULT = Rules()
WHOLE_TAIL = Rules(volume_min=20, place_volume_min=20)

Row = tuple[str, tuple[Any, ...]]


class _AtItsEnd:
    """A log of which everything is applied."""

    async def ends(self, topic: str) -> dict[str, int]:
        return {f"{topic}/0": 0}


def rows(scope: str, tags: int) -> Iterator[Row]:
    """Uses of one window and the slot after it: the tail, each slot its own, and the hot ones."""
    first = START // SHAPE.slot_ms
    for number in range(tags * (WINDOW_SLOTS + 1) // WINDOW_SLOTS):
        slot = first + number * WINDOW_SLOTS // tags
        yield _use(scope, slot, f"#tail{number}", number + 1)
    for number in range(HOT_TAGS * HOT_AUTHORS):
        slot = first + number % (WINDOW_SLOTS + 1)
        yield _use(scope, slot, f"#hot{number % HOT_TAGS}", number + 1)
    for slot in range(first, first + WINDOW_SLOTS + 1):
        yield unit_module._SLOT, (scope, START // DAY_MS, slot, 1)


def _use(scope: str, slot: int, tag: str, author: int) -> Row:
    key = (scope, slot, shard_of(tag), tag, author, author)
    return unit_module._USE, (*key, 0, 1, tag, 0, 0, 1)


def resident_mib() -> float:
    """Memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def recompute(on: Engines, keys: Keys, rules: Rules) -> tuple[float, float, float]:
    """Returns CPU seconds of the first window and of the next, and the MiB that are kept."""
    end = START + SHAPE.window_ms

    def leader(now: list[int]) -> Leader:
        return Leader(
            on.bus,
            on.store_of("trends"),
            keys,
            flow=_AtItsEnd(),
            shape=SHAPE,
            rules=rules,
            now_ms=lambda: now[0],
            name=secrets.token_hex(8),
        )

    now = [end - SHAPE.slot_ms + SHAPE.late_ms + CLOCK_SKEW_MS]
    before = resident_mib()
    made = leader(now)
    begun = time.process_time()
    while await made.turn():
        pass
    first = time.process_time() - begun
    now[0] += SHAPE.slot_ms
    begun = time.process_time()
    await made.turn()
    following = time.process_time() - begun
    kept = resident_mib() - before
    return first, following, kept


async def applying(on: Engines) -> float:
    """Returns tweets a second of CPU that the unit applies; each has a tag and a phrase."""
    keys = Keys(on.settings.generation, secrets.token_hex(8), 16)
    unit = Trends(on.bus, on.store_of("trends"), keys, SHAPE)
    await unit.open()
    tweets = [
        post(1 + n, 1 + n, text=f"what a match in red town #tag{n % 999}", lang="en", created_at=1)
        for n in range(POSTS)
    ]
    records = [Record(n, 1, tweet) for n, tweet in enumerate(tweets)]
    begun = time.process_time()
    await unit.apply(Slice("new-tweets", 0, "bench", 0, POSTS, records))
    return POSTS / (time.process_time() - begun)


async def run() -> list[Figure]:
    """Measures on the stack of the settings."""
    async with compose.engines(load().settings) as on:
        await prepare_on(on)
        rate = await applying(on)
        found: dict[int, list[tuple[float, float, float]]] = {}
        for tags in (TAGS_FEW, TAGS):
            keys = Keys(on.settings.generation, secrets.token_hex(8), 16)
            part: list[Row] = []
            for row in rows(keys.unit, tags):
                part.append(row)
                if len(part) == ROWS_AT_ONCE:
                    await on.store_of("trends").write(part)
                    part.clear()
            await on.store_of("trends").write(part)
            part.clear()
            found[tags] = [await recompute(on, keys, r) for r in (BY_DEFAULT, WHOLE_TAIL)]
    few, many = found[TAGS_FEW], found[TAGS]
    figures = [Figure("trends_apply", rate, "tweets per CPU s")]
    for at, name in enumerate(("trends", "trends_whole_tail")):
        beside = {f"{TAGS_FEW:,} tags": few[at][1]}
        figures.append(Figure(f"{name}_window", many[at][1], "CPU s", beside))
        figures.append(Figure(f"{name}_takeover", many[at][0], "CPU s"))
        figures.append(Figure(f"{name}_memory", many[at][2], "MiB"))
    return figures
