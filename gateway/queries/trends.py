"""``GET /api/trends`` and ``/api/trends/personal``: what trends in a place, and among followees.

Both are off at level 1 (``gateway.levels``): then they are refused before anything is read.

Bounded by: what the unit bounds, fifty trends a place and twenty among followees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gateway.http import Request, Response
from gateway.levels.level import RETRY_SECONDS, Feature, Levels
from gateway.problems import bad_request, unavailable
from gateway.routing import ID_MAX
from gateway.services import Graph, Trends
from gateway.trend_answers import (
    OwnTrend,
    OwnTrendsAnswer,
    TrendItem,
    TrendsAnswer,
    TrendsMeta,
)
from projections.fragments import rfc3339
from projections.trends.layout import WORLDWIDE, Trend
from projections.trends.scoring import PERSON, why

_DIGITS_MAX = 19


class TrendQueries:
    """Handlers of trends.

    Args:
        trends: Reads trends.
        graph: Reads whom one follows.
        levels: How far the system is degraded.
    """

    def __init__(self, trends: Trends, graph: Graph, levels: Levels) -> None:
        self._trends = trends
        self._graph = graph
        self._levels = levels

    async def of_place(self, request: Request) -> Response:
        """``GET /api/trends``."""
        self._refuse_if_off()
        woeid = _woeid(request)
        found = await self._trends.newest(woeid)
        end = rfc3339(found.window_end) if found.window_end else None
        data = [_item(trend, woeid) for trend in found.trends]
        return _answer(TrendsAnswer(data=data, meta=TrendsMeta(woeid=woeid, window_end=end)))

    async def personal(self, request: Request) -> Response:
        """``GET /api/trends/personal``."""
        self._refuse_if_off()
        relations = await self._graph.relations_of(request.user_id)
        heard: Sequence[int] = sorted(relations.heard)
        own, everywhere = await asyncio.gather(
            self._trends.own(heard), self._trends.newest(WORLDWIDE)
        )
        trending = {trend.term for trend in everywhere.trends}
        return _answer(
            OwnTrendsAnswer(
                data=[
                    OwnTrend(
                        name=one.name,
                        query=query_of(one.term),
                        followee_count=one.followees,
                        trending=one.term in trending,
                    )
                    for one in own
                ]
            )
        )

    def _refuse_if_off(self) -> None:
        if not self._levels.has(Feature.TRENDS):
            raise unavailable(
                "feature-off",
                f"Trends are off at degradation level {self._levels.now.value}. Try again later.",
                retry_after_seconds=RETRY_SECONDS,
            )


def _woeid(request: Request) -> int:
    text = request.query("woeid") or str(WORLDWIDE)
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX:
        number = int(text)
        if 0 < number <= ID_MAX:
            return number
    raise bad_request("invalid-woeid", "woeid", "woeid is a positive number; 1 is worldwide.")


def _item(trend: Trend, woeid: int) -> TrendItem:
    return TrendItem(
        name=trend.name,
        query=query_of(trend.term),
        volume=trend.volume // PERSON,
        ordinary_volume=round(trend.baseline / PERSON, 1),
        score=trend.score,
        author_count=trend.authors,
        tweet_count=trend.tweets,
        started_at=rfc3339(trend.started_at),
        why=why(trend, woeid),
    )


def query_of(term: str) -> str:
    """Returns the search that finds the tweets of a term."""
    return term if term.startswith("#") else f'"{term}"'


def _answer(answer: TrendsAnswer | OwnTrendsAnswer) -> Response:
    return Response(msgspec.json.encode(answer))
