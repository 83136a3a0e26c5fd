"""What the settings say of trends, who works them out, and what a worker tells of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from infra.fan_out import LogEnds
from infra.settings import Settings
from projections.trends.layout import Rules, Shape
from projections.trends.leader import Flow, Leader
from projections.trends.read import TrendsReader
from projections.trends.terms import term_of
from projections.trends.unit import NAME, Trends

if TYPE_CHECKING:
    from infra.compose import Engines


def shape(settings: Settings) -> Shape:
    """How time is cut."""
    return Shape(
        slot_ms=int(settings.trend_slot_s * 1000), late_ms=int(settings.trend_late_s * 1000)
    )


def rules(settings: Settings) -> Rules:
    """What it takes to trend."""
    return Rules(
        score_min=settings.trend_score_min,
        volume_min=settings.trend_volume_min,
        place_volume_min=settings.trend_place_volume_min,
        young_hours=settings.trend_young_hours,
        never=frozenset(term_of(text).removeprefix("#") for text in settings.trend_never),
    )


def unit(on: Engines) -> Trends:
    """The writing side."""
    return Trends(on.bus, on.store_of(NAME), on.keys(NAME), shape(on.settings))


def reader(on: Engines) -> TrendsReader:
    """The reading side."""
    cut, takes = shape(on.settings), rules(on.settings)
    return TrendsReader(on.bus, on.store_of(NAME), on.keys(NAME), shape=cut, rules=takes)


def leader(on: Engines, name: str | None = None, flow: Flow | None = None) -> Leader:
    """Who would work out trends; runs in the processes that feed the unit.

    Args:
        on: The engines.
        name: Under which is led; the unit's by default.
        flow: Where the log is; Kafka's by default.
    """
    return Leader(
        on.bus,
        on.store_of(NAME),
        on.keys(NAME),
        flow=flow or LogEnds(on),
        shape=shape(on.settings),
        rules=rules(on.settings),
        name=name,
    )


class TrendCounts(Collector):
    """What a worker left out of trends, and the windows that it worked out.

    Args:
        unit: What is fed.
        leader: Who would work out trends in this process.
    """

    def __init__(self, unit: Trends, leader: Leader) -> None:
        self._unit = unit
        self._leader = leader

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yields the counters."""
        left_out = CounterMetricFamily(
            "murmur_trends_left_out",
            "Posts that count nothing in trends, by why",
            labels=["why"],
        )
        left_out.add_metric(["late"], self._unit.late)
        left_out.add_metric(["early"], self._unit.early)
        yield left_out
        windows = CounterMetricFamily("murmur_trends_windows", "Windows worked out")
        windows.add_metric([], self._leader.windows_done)
        yield windows
