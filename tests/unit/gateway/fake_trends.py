"""The trends unit's reading side, over the oracle: the log got every tweet as it was posted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.types import TweetPosted
from projections.trends.layout import Began, Rules, Shape, Start, Trend, told_at
from projections.trends.read import OWN_MIN, OWN_MS, OWN_ROWS, Found, Own
from tests.oracle import LogRecord
from tests.oracle_trends import TrendsOracle
from tests.unit.gateway.fakes import FakeLog

RULES = Rules(score_min=1.0, volume_min=2, place_volume_min=1, young_hours=0)
SHAPE = Shape()


class FakeTrends:
    """As of the end of the slot in which the last tweet was posted."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    def _posts(self) -> list[TweetPosted]:
        return [event for event in self._log.events if isinstance(event, TweetPosted)]

    def _oracle(self) -> TrendsOracle:
        posts = self._posts()
        records = [LogRecord("new-tweets", 0, n, p, p.created_at) for n, p in enumerate(posts)]
        return TrendsOracle(records, SHAPE, RULES)

    def _end(self) -> int:
        last = max((post.created_at for post in self._posts()), default=0)
        return (last // SHAPE.slot_ms + 1) * SHAPE.slot_ms

    async def newest(self, woeid: int) -> Found:
        found = self._oracle().history(self._end()).get(woeid, {})
        rows = found.get(self._end(), [])
        return Found(self._end() if rows else 0, msgspec.convert(rows, list[Trend]))

    async def own(self, following: Sequence[int]) -> list[Own]:
        found = self._oracle().own(
            following, self._end(), own_min=OWN_MIN, hour_ms=OWN_MS, rows=OWN_ROWS
        )
        return [Own(term, term, number) for term, number in found]

    async def starts(self) -> list[Start]:
        found = self._oracle().starts(self._end())
        return [
            Start(end, [Began(term, term, authors) for term, authors in began])
            for end, began in sorted(found.items(), reverse=True)
        ]

    def told_at(self, start: Start) -> int:
        return told_at(start.window_end, SHAPE)
