"""Routes of trends; see :mod:`gateway.routes`."""

from __future__ import annotations

from gateway.queries.trends import TrendQueries
from gateway.routing import Parameter, Route
from gateway.trend_answers import OwnTrendsAnswer, TrendsAnswer

TRENDS = "trends"

_WOEID = Parameter(
    "woeid",
    "Where On Earth id of the place: a city, a country, or 1 for the world.",
    {"type": "integer", "minimum": 1, "default": 1},
)


def trend_routes(trends: TrendQueries) -> list[Route]:
    """Returns the routes."""
    return [
        Route(
            method="GET",
            path="/api/trends",
            handler=trends.of_place,
            summary="What trends in a place, and why",
            units=(TRENDS,),
            answer=TrendsAnswer,
            query=(_WOEID,),
        ),
        Route(
            method="GET",
            path="/api/trends/personal",
            handler=trends.personal,
            summary="What those talk about whom one follows",
            units=(TRENDS, "timelines"),
            answer=OwnTrendsAnswer,
        ),
    ]
