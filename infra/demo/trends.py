"""Trends in the demo: what is asked of the gateway meanwhile, and the oracle's answers to the same.

A population of hundreds has no five hundred people on one subject, and a demo no five minutes to
look back on: both are scaled down, as are the tiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from events.slices import LogRecord
from gateway.trend_answers import TrendsAnswer
from infra import trending
from infra.demo.convergence import LogView
from infra.demo.reading import HomeReader, ReadFailed
from infra.settings import Origin, Settings
from infra.simulate.acts import PLACES
from projections.trends.layout import WORLDWIDE

if TYPE_CHECKING:
    from tests.oracle_trends import TrendsOracle

SHOWN = 3
"""Trends that the view has room for."""

SCALED: Mapping[str, float] = {
    "trend_slot_s": 1.0,
    "trend_late_s": 3.0,
    "trend_young_hours": 0.0,
}

_DECODER = msgspec.json.Decoder(TrendsAnswer)

Row = tuple[str, int, int, float]
"""Of a trend its query, authors, tweets and score."""


def scaled(settings: Settings, origins: Mapping[str, Origin], users: int) -> dict[str, Any]:
    """Returns settings for so few, unless somebody has set some."""
    people = max(4, users // 50)
    volumes = {"trend_volume_min": people, "trend_place_volume_min": max(2, people // 3)}
    found = {**SCALED, **volumes}
    if any(origins[name] is not Origin.DEFAULT for name in found):
        return {}
    return {name: type(getattr(settings, name))(value) for name, value in found.items()}


class TrendsOutcome(msgspec.Struct, frozen=True):
    """What a comparison of trends found.

    Attributes:
        windows: Answers of the gateway compared, each of a place and window.
        trends: Trends in them.
        differences: A line for each answer that differs.
    """

    windows: int
    trends: int
    differences: list[str]


class TrendsWatch:
    """Asks what trends, and keeps what was answered.

    Args:
        reader: Asks.
        settings: Those that the workers have.
    """

    def __init__(self, reader: HomeReader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._answers: dict[tuple[int, int], list[Row]] = {}
        self.failures = 0

    async def look(self, user: int) -> list[str]:
        """Returns what trends worldwide, as a user sees it; asks for some place besides."""
        places = [WORLDWIDE, *(place.woeid for place in PLACES.values())]
        found: list[str] = []
        for woeid in (WORLDWIDE, places[len(self._answers) % len(places)]):
            try:
                answer = _DECODER.decode(await self._reader.trends(user, woeid))
            except ReadFailed:
                self.failures += 1
                continue
            rows = [(o.query, o.author_count, o.tweet_count, o.score) for o in answer.data]
            if answer.meta.window_end is not None:
                self._answers[woeid, _ms(answer.meta.window_end)] = rows
            if woeid == WORLDWIDE:
                found = [f"{one.name} ({one.author_count})" for one in answer.data[:SHOWN]]
        return found

    async def check(self, view: LogView) -> TrendsOutcome:
        """Compares what was answered with what the log says, that of earlier demos as well."""
        ends = {at: end for at, end in (await view.ends()).items() if at[0] == "new-tweets"}
        records = [record async for record in view.records({}, ends)]
        return await asyncio.to_thread(self._compare, records)

    def _compare(self, records: Iterable[LogRecord]) -> TrendsOutcome:
        """Compares, by the whole of ``new-tweets``."""
        from tests.oracle_trends import TrendsOracle  # noqa: PLC0415 - see infra.demo.convergence

        shape, rules = trending.shape(self._settings), trending.rules(self._settings)
        first = min((end for _, end in self._answers), default=0)
        right = _rows(TrendsOracle(records, shape, rules), first)
        lines = [
            f"trends of {woeid} at {end}: {expected} expected, {found} found"
            for (woeid, end), found in sorted(self._answers.items())
            if found != (expected := right.get((woeid, end), []))
        ]
        return TrendsOutcome(len(self._answers), sum(map(len, self._answers.values())), lines)


def _rows(oracle: TrendsOracle, since: int) -> dict[tuple[int, int], list[Row]]:
    return {
        (woeid, end): [
            (_query(row["term"]), row["authors"], row["tweets"], row["score"]) for row in rows
        ]
        for woeid, windows in oracle.history(since=since).items()
        for end, rows in windows.items()
    }


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _query(term: str) -> str:
    return term if term.startswith("#") else f'"{term}"'
