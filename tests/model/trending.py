"""Trends in the model: who leads, and every window beside what the oracle says.

Two processes of a generation would lead; either goes on when the machine says so, and may be cut
off in the middle. Their lease ends by the log's time.

What is compared, of every generation that is fed:

- what they worked out as things happened, if no tweet was sent back after its window;
- what one works out who begins at the first window, from the uses that are there.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from infra import trending
from projections.base import RetryableError
from projections.trends.layout import DAY_MS, WORLDWIDE
from projections.trends.leader import Leader
from tests.memory.line import Crashed, Line
from tests.model.life import PLACE
from tests.model.processes import process, trend_leader
from tests.oracle_trends import TrendsOracle

if TYPE_CHECKING:
    from tests.model.town import Town

LEADERS = 2
AHEAD_MS = 120_000
"""By so much the clock of who leads at the end is ahead: what was said trends no more."""

FIRST_TOKEN = 1 << 40
"""Of who looks at everything anew: above those of all who led."""

PLACES = (WORLDWIDE, PLACE.woeid, PLACE.country_woeid or WORLDWIDE)

_SEED_LEADER = (
    "INSERT INTO {trend_leader} (name, fence, holder, until_ms, window_end, standing) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)

_looks = count(1)


class TownTrends:
    """The trends of a town.

    Args:
        town: The town.
    """

    def __init__(self, town: Town) -> None:
        self._town = town
        self._leaders: dict[tuple[str, int], tuple[Leader, Line]] = {}
        self._begun_ms = town.on.log.now_ms()
        self.compared = 0

    async def lead(self, generation: str, which: int, breaks: int | None) -> None:
        """A process leads for a turn, if it may; who is killed is another one the next time."""
        key = generation, which % LEADERS
        if key not in self._leaders:
            line = Line()
            leader = trend_leader(self._town.on, generation, self._town.on.log.now_ms, line=line)
            self._leaders[key] = leader, line
        leader, line = self._leaders[key]
        if breaks is not None:
            line.breaks_after(breaks // 2, kills=breaks % 2 == 0)
        try:
            await leader.turn()
        except RetryableError:
            line.mend()
        except Crashed:
            del self._leaders[key]
        else:
            line.mend()

    def oracle(self) -> TrendsOracle:
        """Returns what is right, by the log as it is meant."""
        settings = self._town.on.settings
        return TrendsOracle(
            self._town.desk.told_to("trends", "new-tweets"),
            trending.shape(settings),
            trending.rules(settings),
        )

    async def differences(self) -> list[str]:
        """Compares every window of every generation with the oracle."""
        history = self.oracle().history()
        right = {
            (place, end): rows
            for place, windows in history.items()
            for end, rows in windows.items()
        }
        found: list[str] = []
        for generation in await self._town.generations.ready("trends"):
            await self._work_out(generation)
            if self._town.desk.is_undecided:
                live = await self._shown(generation)
                self.compared += len(right)
                found += _lines(f"{generation} as it was worked out", live, right)
            anew = await self._looked_at(generation)
            self.compared += len(right)
            found += _lines(f"{generation} from the first window", anew, right)
        return found

    async def _work_out(self, generation: str, name: str | None = None) -> None:
        leader = trend_leader(self._town.on, generation, self._later, name=name)
        while await leader.turn():
            pass

    async def _looked_at(self, generation: str) -> dict[tuple[int, int], Any]:
        """Has one begin where nobody has led."""
        there = process(self._town.on, {"trends": generation})
        scope, number = there.keys("trends").unit, next(_looks)
        nothing = msgspec.msgpack.encode({})
        await there.store_of("trends").execute(
            _SEED_LEADER, (f"{scope} {number}", FIRST_TOKEN + number, "", 0, 0, nothing)
        )
        await self._work_out(generation, f"{scope} {number}")
        return await self._shown(generation)

    async def _shown(self, generation: str) -> dict[tuple[int, int], Any]:
        reader = trending.reader(process(self._town.on, {"trends": generation}))
        days = range(self._begun_ms // DAY_MS, self._later() // DAY_MS + 1)
        return {
            (place, one.window_end): msgspec.to_builtins(one.trends)
            for place in PLACES
            for day in days
            for one in await reader.of_day(place, day)
            if one.trends
        }

    def _later(self) -> int:
        return self._town.on.log.now_ms() + AHEAD_MS


def _lines(what: str, found: dict[Any, Any], right: dict[Any, Any]) -> list[str]:
    return [
        f"trends {at} of {what}: {found.get(at)} came, {right.get(at)} is right"
        for at in sorted(found.keys() | right.keys())
        if found.get(at) != right.get(at)
    ]
