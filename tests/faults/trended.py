"""Trends under faults: the history of every place equals the oracle's, no window missing or twice.

Who works a window out writes its rows under a token, which is their write timestamp. So the rows
tell who did: of one window all places have one token, and no later window a lower one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from random import Random

import msgspec

from events.slices import LogRecord
from infra import trending
from infra.compose import Engines
from infra.simulate.acts import PLACES
from projections.trends.layout import DAY_MS, WINDOW_SLOTS, WORLDWIDE
from projections.trends.leader import CLOCK_SKEW_MS, LEASE_MS
from projections.trends.read import OWN_MIN, OWN_MS, OWN_ROWS, OWN_TRENDS_MAX
from projections.trends.unit import NAME
from tests.faults.models import Compared, Model
from tests.faults.world import World
from tests.oracle_trends import TrendsOracle

CHOSEN = {
    "trend_slot_s": 1.0,
    "trend_late_s": 3.0,
    "trend_score_min": 1.0,
    "trend_volume_min": 3,
    "trend_place_volume_min": 1,
    "trend_young_hours": 0.0,
}
"""What trends among so few, within so short a time."""

WORKED_OUT_S_MAX = 60.0
FOLLOWERS = 15
_TOKENS = (
    "SELECT window_end, WRITETIME(found) FROM {trends} WHERE scope = ? AND woeid = ? AND day = ?"
)
Windows = dict[tuple[int, int], object]
"""What trended, by place and window."""


def places() -> list[int]:
    """Where anything may trend."""
    named = {woeid for place in PLACES.values() for woeid in (place.woeid, place.country_woeid)}
    return [WORLDWIDE, *sorted(woeid for woeid in named if woeid)]


async def until_worked_out(on: Engines, history: Iterable[LogRecord]) -> int:
    """Waits until all windows are worked out that hold anything; returns the last one's end."""
    shape, reader = trending.shape(on.settings), trending.reader(on)
    posted = max(record.appended_at for record in history)
    end = (shape.slot(posted) + 1 + WINDOW_SLOTS) * shape.slot_ms
    due_s = (end + shape.late_ms + CLOCK_SKEW_MS) / 1000 - time.time()
    deadline = time.monotonic() + max(0.0, due_s) + LEASE_MS / 1000 + WORKED_OUT_S_MAX
    while not await reader.worked_out(end):
        assert time.monotonic() < deadline, f"{await reader.done()} is the last window, not {end}"
        await asyncio.sleep(0.2)
    return end


async def look(here: World) -> None:
    """Reads what trends everywhere."""
    reader = trending.reader(here.on)
    for place in places():
        await reader.newest(place)


async def compare(here: World, chance: Random) -> Compared:
    """Every place's history, what trends now, and what those use whom some follow."""
    on = here.on
    ends = await here.view.ends(["new-tweets"])
    history = [record async for record in here.view.records({}, ends)]
    end = await until_worked_out(on, history)
    reader = trending.reader(on)
    shape, rules = trending.shape(on.settings), trending.rules(on.settings)
    oracle = TrendsOracle(history, shape, rules)
    right: Windows = {
        (place, at): rows
        for place, windows in oracle.history(end).items()
        for at, rows in windows.items()
        if rows
    }
    first = min(record.appended_at for record in history) // DAY_MS
    days = range(first, end // DAY_MS + 1)
    found: Windows = {
        (place, one.window_end): msgspec.to_builtins(one.trends)
        for place in places()
        for day in days
        for one in await reader.of_day(place, day)
        if one.trends
    }
    lines = [
        f"trends of {at}: {right.get(at)} expected, {found.get(at)} found"
        for at in sorted(right.keys() | found.keys())
        if right.get(at) != found.get(at)
    ]
    for place in places():
        now = await reader.newest(place)
        if now.trends:
            lines.append(f"{place} is shown trends of {now.window_end}, which are over")
    people = [person.user_id for person in here.appender.simulation.people]
    done = await reader.done()
    for _ in range(FOLLOWERS):
        following = chance.sample(people, 12)
        own = [(one.term, one.followees) for one in await reader.own(following)]
        mine = oracle.own(following, done, own_min=OWN_MIN, hour_ms=OWN_MS, rows=OWN_ROWS)
        if own != mine[:OWN_TRENDS_MAX]:
            lines.append(f"own trends: {mine} expected, {own} found")
    lines += await two_at_a_time(on, days)
    assert len(right) > WINDOW_SLOTS, "a history in which next to nothing trends shows nothing"
    return len(right), lines


async def two_at_a_time(on: Engines, days: Iterable[int]) -> list[str]:
    """A line for each window that more than one worked out, or one who led no more."""
    by_window: dict[int, set[int]] = {}
    store, scope = on.store_of(NAME), on.keys(NAME).unit
    for place in places():
        for day in days:
            for end, token in await store.execute(_TOKENS, (scope, place, day)):
                by_window.setdefault(end, set()).add(token)
    lines, highest = [], 0
    for end, tokens in sorted(by_window.items()):
        if len(tokens) > 1 or min(tokens) < highest:
            lines.append(f"window {end} was worked out under {tokens}, one before under {highest}")
        highest = max(highest, *tokens)
    return lines


MODEL = Model(NAME, look, compare, chosen=CHOSEN)
