"""The oracle's side of what is compared of trends; see :mod:`infra.diff.oracle`.

Bounded by: the posts of the log.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from events.slices import LogRecord
from events.types import TweetPosted
from infra import trending
from infra.diff import trends
from projections.trends.layout import DAY_MS, SHARDS, shard_of

if TYPE_CHECKING:
    from infra.compose import Engines
    from infra.diff.keys import Key
    from tests.oracle_trends import TrendsOracle


class TrendsSide:
    """Answers by the posts that it was fed.

    Args:
        on: Engines at the compared generation.
    """

    def __init__(self, on: Engines) -> None:
        self._scope = on.keys("trends").unit
        self._shape = trending.shape(on.settings)
        self._rules = trending.rules(on.settings)
        self._posts: list[LogRecord] = []

    def feed(self, record: LogRecord) -> None:
        """Takes in a record."""
        if isinstance(record.event, TweetPosted):
            self._posts.append(record)
            self.__dict__.pop("_oracle", None)
            self.__dict__.pop("_history", None)
            self.__dict__.pop("_starts", None)

    @cached_property
    def _oracle(self) -> TrendsOracle:
        from tests.oracle_trends import TrendsOracle  # noqa: PLC0415 - as in infra.diff.oracle

        return TrendsOracle(self._posts, self._shape, self._rules)

    @cached_property
    def _history(self) -> dict[int, dict[int, list[dict[str, Any]]]]:
        return self._oracle.history(trends.now_ms())

    @cached_property
    def _starts(self) -> dict[int, list[tuple[str, int]]]:
        return self._oracle.starts(trends.now_ms())

    def keys_of_starts(self) -> set[Key]:
        """Returns the days on which anything is told to have begun."""
        return {(self._scope, end // DAY_MS) for end in self._starts}

    def keys_of_trends(self) -> set[Key]:
        """Returns the places and days in which anything trended."""
        return {
            (self._scope, woeid, end // DAY_MS)
            for woeid, windows in self._history.items()
            for end in windows
        }

    def keys_of_uses(self) -> set[Key]:
        """Returns the slots in which anything was used."""
        return {
            (self._scope, slot, shard) for slot in self._oracle.slots() for shard in range(SHARDS)
        }

    def trends(self, key: tuple[str, int, int]) -> Any:
        """Returns the trends of a place and day."""
        scope, woeid, day = key
        if scope != self._scope:
            return None
        upto = trends.settled(self._shape)
        return {
            str(end): rows
            for end, rows in self._history.get(woeid, {}).items()
            if end // DAY_MS == day and rows and end <= upto
        }

    def starts(self, key: tuple[str, int]) -> Any:
        """Returns what is told to have begun on a day."""
        scope, day = key
        if scope != self._scope:
            return None
        upto = trends.settled(self._shape)
        return {
            str(end): [list(one) for one in began]
            for end, began in self._starts.items()
            if end // DAY_MS == day and end <= upto
        }

    def uses(self, key: tuple[str, int, int]) -> Any:
        """Returns the uses of a slot and shard."""
        scope, slot, shard = key
        if scope != self._scope:
            return None
        if not trends.kept(slot, self._shape):
            return trends.EXPIRED
        return {"uses": [use for use in self._oracle.uses(slot) if shard_of(use[0]) == shard]}
