"""The trends unit's reading side: what trends, what did, why, and among those whom one follows.

Bounded by: ``TRENDS_MAX`` trends a place; ``FOLLOWEES_MAX`` followees, of each the newest
``OWN_ROWS`` uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from projections.bus import RedisBus
from projections.cache import Cache
from projections.keys import Keys
from projections.store import Store
from projections.trends.layout import (
    BEGAN,
    BLOCKS,
    CACHE,
    DAY_MS,
    FOUND,
    STANDING,
    STARTS,
    STARTS_DAYS,
    STARTS_MAX,
    WORLDWIDE,
    Rules,
    Shape,
    Start,
    Trend,
    told_at,
)
from projections.trends.scoring import by_place, score, volume, without_tail
from projections.trends.windows import Windows, joined

CACHE_SECONDS = 60
"""Life of a cached row: what a leader that died could not forget is gone after that."""

DAYS_BACK = 2
"""Days in which the newest row of a place is looked for."""

FOLLOWEES_MAX = 500
OWN_ROWS = 20
OWN_MIN = 2
OWN_MS = 3_600_000
OWN_TRENDS_MAX = 20

_NEWEST = "SELECT window_end, found FROM {trends} WHERE scope = ? AND woeid = ? AND day = ? LIMIT ?"
_BEFORE = (
    "SELECT window_end, found FROM {trends} WHERE scope = ? AND woeid = ? AND day = ? "
    "AND window_end <= ? LIMIT ?"
)
_STARTS = "SELECT window_end, found FROM {trend_starts} WHERE scope = ? AND day = ? LIMIT ?"
_DONE = "SELECT window_end FROM {trend_leader} WHERE name = ?"
_STANDING = "SELECT window_end, standing FROM {trend_leader} WHERE name = ?"
_USES_OF = (
    "SELECT author_id, slot, term, written FROM {trend_uses_of} WHERE author_id IN ? AND slot >= ? "
    "AND slot < ? PER PARTITION LIMIT ?"
)
_STARTED = msgspec.msgpack.Decoder(list[Start])
_HEAD = 8
"""Bytes of a cached row before its trends: the window's end."""


class Found(msgspec.Struct, frozen=True):
    """The trends of a place in one window.

    Attributes:
        window_end: When the window ended; 0 where nothing ever trended lately.
        trends: The highest score first.
    """

    window_end: int
    trends: list[Trend]


class Own(msgspec.Struct, frozen=True):
    """A term that those use whom somebody follows."""

    term: str
    name: str
    followees: int


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Why a term trends, or does not.

    Attributes:
        window_end: Of which window.
        volume: What is counted, in thousandths of a person.
        authors: Of how many.
        tweets: In how many tweets.
        young: Of the authors those whose accounts are young.
        alike: And those whose text has the print of another's.
        left_out: Uses in slots in which too few used the term for it to count.
        baseline: What is counted in an ordinary window, in thousandths of a person.
        score: See :mod:`projections.trends.scoring`.
        verdict: Whether it trends by that, or why not.
    """

    window_end: int
    volume: int
    authors: int
    tweets: int
    young: int
    alike: int
    left_out: int
    baseline: int
    score: float
    verdict: str


class TrendsReader:
    """What the gateway and operators read of the trends unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        shape: How time is cut.
        rules: What it takes to trend.
        leader: The name by which is led; the unit's by default.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        shape: Shape,
        rules: Rules,
        leader: str | None = None,
    ) -> None:
        self._store = store
        self._scope = keys.unit
        self._leader = leader or keys.unit
        self._shape = shape
        self._rules = rules
        self._windows = Windows(store, keys.unit, shape, rules)
        self._rows = Cache(bus, keys, CACHE, self._load, ttl_seconds=CACHE_SECONDS)
        self._starts = Cache(bus, keys, STARTS, self._load_starts, ttl_seconds=CACHE_SECONDS)

    async def done(self) -> int:
        """Returns the end of the last window that was worked out; 0 for none."""
        rows = await self._store.execute(_DONE, (self._leader,))
        return int(rows[0][0]) if rows else 0

    async def worked_out(self, upto: int) -> bool:
        """Says whether nothing that ended by a moment is still to be worked out."""
        rows = await self._store.execute(_STANDING, (self._leader,))
        done, standing = (rows[0][0], STANDING.decode(rows[0][1])) if rows else (0, {})
        if done + self._shape.slot_ms > upto:
            return True
        begin = self._shape.slot(max(done - self._shape.window_ms, 0))
        following = await self._windows.next_slot(begin)
        return not standing and (following is None or (following + 1) * self._shape.slot_ms > upto)

    async def uses(self, slot: int, shard: int) -> list[list[Any]]:
        """Returns every use of a slot and shard: term, author, tweet, print, tags, places."""
        found = await self._windows.every(slot, shard)
        return sorted(
            [term, use.author_id, use.tweet_id, use.print, use.tags, sorted(use.places)]
            for term, uses in found.items()
            for use in uses
        )

    async def newest(self, woeid: int) -> Found:
        """Returns what trends in a place.

        Raises:
            RetryableError: an engine is away.
        """
        row = (await self._rows.get([woeid])).get(woeid)
        if row is None:
            return Found(0, [])
        return Found(int.from_bytes(row[:_HEAD], "big"), FOUND.decode(row[_HEAD:]))

    async def at(self, woeid: int, at_ms: int) -> Found:
        """Returns what trended in a place at a moment."""
        for row in await self._rows_before(woeid, at_ms, 1):
            return row
        return Found(0, [])

    async def of_day(self, woeid: int, day: int) -> list[Found]:
        """Returns the windows of a day in which anything trended, or ceased to, newest first."""
        rows = await self._store.execute(_NEWEST, (self._scope, woeid, day, DAY_MS))
        return [Found(end, FOUND.decode(found)) for end, found in rows]

    async def starts(self) -> list[Start]:
        """Returns what began to trend worldwide and is told, newest first.

        They are the newest ``STARTS_MAX`` windows of the last ``STARTS_DAYS`` days. A term that
        began less than ``QUIET_MS`` before is not told again.

        Raises:
            RetryableError: an engine is away.
        """
        body = (await self._starts.get([WORLDWIDE])).get(WORLDWIDE)
        return _STARTED.decode(body) if body is not None else []

    async def starts_of_day(self, day: int) -> list[Start]:
        """Returns what began to trend worldwide on a day and is told, newest first."""
        rows = await self._store.execute(_STARTS, (self._scope, day, DAY_MS))
        return [Start(end, BEGAN.decode(body)) for end, body in rows]

    def told_at(self, start: Start) -> int:
        """Returns the id under which a start is told."""
        return told_at(start.window_end, self._shape)

    async def own(self, following: Sequence[int]) -> list[Own]:
        """Returns what at least ``OWN_MIN`` of these people used in the last hour.

        Args:
            following: Whom somebody follows; of more than ``FOLLOWEES_MAX`` those with the highest
                ids.
        """
        newest = self._shape.slot(await self.done())
        oldest = newest - OWN_MS // self._shape.slot_ms
        people = sorted(following)[-FOLLOWEES_MAX:]
        rows = await self._store.execute_in(_USES_OF, people, oldest, newest, OWN_ROWS)
        users: dict[str, set[int]] = {}
        names: dict[str, Counter[str]] = {}
        for author, _, term, written in rows:
            users.setdefault(term, set()).add(author)
            names.setdefault(term, Counter())[written] += 1
        found = [
            Own(term, _commonest(names[term]), len(by))
            for term, by in users.items()
            if len(by) >= OWN_MIN and term.removeprefix("#") not in self._rules.never
        ]
        return sorted(found, key=lambda one: (-one.followees, one.term))[:OWN_TRENDS_MAX]

    async def explain(self, term: str, woeid: int, window_end: int) -> Explained:
        """Returns what is counted of a term in a window, whether it trends or not.

        Args:
            term: As it is compared.
            woeid: The place.
            window_end: End of the window.
        """
        pages = await self._windows.of_term(term, self._shape.slots_before(window_end))
        kept = [without_tail({term: uses}, self._rules) for uses in pages if uses]
        everywhere = joined(kept).get(term, [])
        counted = volume(by_place(everywhere).get(woeid, []), window_end, self._rules)
        day = (await self._windows.day(window_end, term)).get((woeid, term), 0)
        height = score(counted.counted, day)
        people = len({use.author_id for use in everywhere})
        return Explained(
            window_end=window_end,
            volume=counted.counted,
            authors=counted.authors,
            tweets=counted.tweets,
            young=counted.young,
            alike=counted.alike,
            left_out=sum(len(uses) for uses in pages) - len(everywhere),
            baseline=day // BLOCKS,
            score=round(height, 3),
            verdict=self._verdict(term, woeid, people, counted.counted, height),
        )

    def _verdict(self, term: str, woeid: int, people: int, counted: int, height: float) -> str:
        rules = self._rules
        least = rules.volume_of(woeid)
        if term.removeprefix("#") in rules.never:
            return "never trends: it is in the list of spam and evergreens"
        if people <= rules.lowest or counted <= least * 1000:
            return f"does not trend: more than {least} people are needed"
        if height <= rules.score_min:
            return f"does not trend: the score must be above {rules.score_min}"
        return "trends"

    async def _load(self, woeids: Iterable[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for woeid in woeids:
            for row in await self._rows_before(woeid, await self.done(), 1):
                head = row.window_end.to_bytes(_HEAD, "big")
                found[woeid] = head + msgspec.json.encode(row.trends)
        return found

    async def _load_starts(self, woeids: Iterable[int]) -> dict[int, bytes]:
        found: list[Start] = []
        newest = await self.done() // DAY_MS
        for day in range(newest, newest - STARTS_DAYS, -1):
            found += await self.starts_of_day(day)
            if len(found) >= STARTS_MAX:
                break
        body = msgspec.msgpack.encode(found[:STARTS_MAX])
        return dict.fromkeys(woeids, body)

    async def _rows_before(self, woeid: int, at_ms: int, limit: int) -> list[Found]:
        found: list[Found] = []
        day = at_ms // DAY_MS
        for back in range(DAYS_BACK):
            rows = await self._store.execute(
                _BEFORE, (self._scope, woeid, day - back, at_ms, limit)
            )
            found += (Found(end, FOUND.decode(body)) for end, body in rows)
            if len(found) >= limit:
                break
        return found[:limit]


def _commonest(names: Counter[str]) -> str:
    return min(names, key=lambda written: (-names[written], written))
