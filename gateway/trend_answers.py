"""What clients get of trends; see :mod:`gateway.answers`."""

from __future__ import annotations

import msgspec

from gateway.bodies import Time


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients get; strict, so that a test sees a field that is not described."""


class TrendItem(_Answer, frozen=True, kw_only=True):
    """Something that trends in a place.

    ``volume`` is what was counted of the people in the last window, ``ordinary_volume`` what is in
    an ordinary one; ``query`` finds the tweets by ``GET /api/search``.
    """

    name: str
    query: str
    volume: int
    ordinary_volume: float
    score: float
    author_count: int
    tweet_count: int
    started_at: Time
    why: str


class TrendsMeta(_Answer, frozen=True, kw_only=True):
    """Of which place and window; without a window where nothing trended lately."""

    woeid: int
    window_end: Time | None = None


class TrendsAnswer(_Answer, frozen=True, kw_only=True):
    """What trends in a place, the highest score first."""

    data: list[TrendItem]
    meta: TrendsMeta


class OwnTrend(_Answer, frozen=True, kw_only=True):
    """What those talk about whom one follows; ``trending`` if it trends worldwide as well."""

    name: str
    query: str
    followee_count: int
    trending: bool


class OwnTrendsAnswer(_Answer, frozen=True, kw_only=True):
    """What those talk about whom one follows; what most of them do first."""

    data: list[OwnTrend]
