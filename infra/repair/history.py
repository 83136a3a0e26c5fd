"""What trended of one term, as it follows from its uses; and windows worked out again.

The rows of a window are a pure function of the uses, the rules and what trended in the window
before (:mod:`projections.trends.leader`). So what a term should have been in every window whose
uses are kept is counted here from its uses alone, and compared with blocks and trends.

Where that differs, all windows from the first one on are worked out again:

1. Another leader, with a row of its own, begins before that window, under a token above that of
   whoever leads. What the term wrongly was is taken out first, for a window in which nothing trends
   writes no row.
2. It works out every window up to where whoever leads has come.
3. It hands over what it knows: whoever leads must take the lead anew, and goes on from there with
   the baseline of now. What he did meanwhile is worked out again.

Readers see no gap: rows are replaced in place.

Bounded by: the windows in ``KEPT_MS``; ``TURNS_MAX``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from infra import trending
from infra.compose import Engines
from infra.repair.mend import Outcome, Tell
from infra.repair.uses import Uses
from projections.cache import forgetting
from projections.trends.layout import (
    CACHE,
    DAY_MS,
    FOUND,
    TRENDS_MAX,
    WORLDWIDE,
    Standing,
    Trend,
    Use,
    shard_of,
    standing_of,
)
from projections.trends.leader import TRENDS_ROW, Leader
from projections.trends.scoring import Counts, block, without_tail
from projections.trends.scoring import trending as trends_of
from projections.trends.windows import Windows, joined

TURNS_MAX = 2_000
TRIES_MAX = 5
TOLD_MAX = 5

_DAYS = "SELECT DISTINCT scope, woeid, day FROM {trends}"
_OF_DAY = "SELECT window_end, found FROM {trends} WHERE scope = ? AND woeid = ? AND day = ?"
_AT = "SELECT found FROM {trends} WHERE scope = ? AND woeid = ? AND day = ? AND window_end = ?"
_LEADER = "SELECT fence, window_end, standing FROM {trend_leader} WHERE name = ?"
_BEGIN = (
    "INSERT INTO {trend_leader} (name, fence, holder, until_ms, window_end, standing) "
    "VALUES (?, ?, '', 0, ?, ?) IF NOT EXISTS"
)
_HAND_OVER = (
    "UPDATE {trend_leader} SET fence = ?, holder = '', until_ms = 0, window_end = ?, standing = ? "
    "WHERE name = ? IF fence = ?"
)
_END = "DELETE FROM {trend_leader} WHERE name = ? IF EXISTS"

Row = tuple[int, int]
"""A place, and the end of a window."""


class Difference(msgspec.Struct, frozen=True):
    """A window in which a term is not what follows from its uses."""

    window_end: int
    words: str


class Stored(msgspec.Struct):
    """What is stored of the windows that are looked at.

    Attributes:
        done: End of the last that is worked out.
        fence: Token of whoever worked it out.
        uses: The term's uses that count, by slot.
        trends: By place and window, and of the window before the first.
        blocks: What was counted in a block, of all terms of the term's shard.
        full: Blocks that hold as many counts as they may.
    """

    done: int
    fence: int
    uses: dict[int, list[Use]]
    trends: dict[Row, list[Trend]]
    blocks: dict[int, Counts]
    full: set[int]


class History:
    """What trended of one term.

    Args:
        on: Engines at the generation.
        uses: The term.
        tell: As of a repair of rows.
        leader: Makes who works out windows, by the name that he leads under.
    """

    def __init__(
        self, on: Engines, uses: Uses, tell: Tell, leader: Callable[[str], Leader] | None = None
    ) -> None:
        self._on = on
        self._leader = leader or partial(trending.leader, on)
        self._term = uses.term
        self._keys = on.keys("trends")
        self._scope = self._keys.unit
        self._store = on.store_of("trends")
        self._shape = trending.shape(on.settings)
        self._rules = trending.rules(on.settings)
        self._windows = Windows(self._store, self._scope, self._shape, self._rules)
        self._first_slot = uses.first_slot
        self._tell = tell

    async def mend(self, *, is_dry: bool = False) -> Outcome:
        """Works out again what does not follow from the uses, or says what that would be.

        Raises:
            RetryableError: an engine is away; repeat it.
        """
        outcome = Outcome(f"windows of {self._term}", is_dry=is_dry)
        for attempt in range(TRIES_MAX):
            stored = await self._stored()
            found = self._differing(stored)
            outcome.problems = [] if is_dry else [one.words for one in found]
            outcome.changes = outcome.changes or [one.words for one in found]
            if is_dry or not found:
                return outcome
            if not attempt:
                more = f"; {len(found) - TOLD_MAX} more" if len(found) > TOLD_MAX else ""
                words = "; ".join(one.words for one in found[:TOLD_MAX])
                await self._tell(f"{outcome.target}: {words}{more}")
            await self._again(stored, min(one.window_end for one in found))
        outcome.problems.append("rebuild the unit to be rid of it: murmur replay trends")
        return outcome

    # --- what differs ---

    async def _stored(self) -> Stored:
        rows = await self._store.execute(_LEADER, (self._scope,))
        fence, done = rows[0][:2] if rows else (0, 0)
        uses = await self._uses(range(self._first_slot, done // self._shape.slot_ms))
        blocks, full = await self._blocks(done)
        places = {place for counts in blocks.values() for place, term in counts if self._is(term)}
        places |= {place for of in uses.values() for use in of for place in use.places}
        begin = self._first_end - self._shape.slot_ms
        keys = [
            (self._scope, place, day)
            for place in sorted(places | {WORLDWIDE})
            for day in range(begin // DAY_MS, done // DAY_MS + 1)
        ]
        pages = await self._store.execute_many(_OF_DAY, keys)
        trends = {
            (place, end): FOUND.decode(body)
            for (_, place, _), page in zip(keys, pages, strict=True)
            for end, body in page
            if begin <= end <= done
        }
        return Stored(done, fence, uses, trends, blocks, full)

    def _is(self, term: str) -> bool:
        return term == self._term

    async def _blocks(self, done: int) -> tuple[dict[int, Counts], set[int]]:
        """The blocks of the windows that are looked at, and of the day before, that hold any."""
        width = self._shape.window_ms
        first = self._shape.blocks_before(self._first_end).start
        held = await self._held(range(self._shape.slot(first - width), self._shape.slot(done)))
        ends = sorted({(slot * self._shape.slot_ms // width + 1) * width for slot in held})
        ends = [end for end in ends if first <= end <= done]
        every = await asyncio.gather(*map(self._windows.block, ends))
        blocks = dict(zip(ends, every, strict=True))
        full = {end for end, counts in blocks.items() if len(counts) >= self._rules.block_terms}
        shard = shard_of(self._term)
        return {
            end: {key: n for key, n in counts.items() if shard_of(key[1]) == shard}
            for end, counts in blocks.items()
        }, full

    async def _held(self, slots: range) -> list[int]:
        """Returns those of the slots that hold anything."""
        first, last = (at * self._shape.slot_ms // DAY_MS for at in (slots.start, slots.stop))
        days = range(first, last + 1) if slots else range(0)
        pages = await asyncio.gather(*map(self._windows.slots_of_day, days))
        return [slot for page in pages for slot in page if slot in slots]

    @property
    def _first_end(self) -> int:
        """The first window of which all uses are kept."""
        return (self._first_slot + len(self._shape.slots_before(0))) * self._shape.slot_ms

    def _differing(self, stored: Stored) -> list[Difference]:
        blocks = self._right_blocks(stored)
        found = [*self._of_blocks(blocks, stored), *self._of_trends(blocks, stored)]
        return sorted(found, key=lambda one: one.window_end)

    async def _uses(self, slots: range) -> dict[int, list[Use]]:
        """Returns the term's uses in slots, where they count."""
        held = await self._held(slots)
        pages = await self._windows.of_term(self._term, held)
        found = {}
        for slot, uses in zip(held, pages, strict=True):
            kept = without_tail({self._term: uses}, self._rules)
            if uses and kept:
                found[slot] = kept[self._term]
        return found

    def _in_window(self, by_slot: Mapping[int, list[Use]], end: int) -> dict[str, list[Use]]:
        slots = self._shape.slots_before(end)
        return joined({self._term: by_slot[slot]} for slot in slots if slot in by_slot)

    def _right_blocks(self, stored: Stored) -> dict[int, Counts]:
        """What the term counts in each block: by its uses, where these are kept."""
        found: dict[int, Counts] = {}
        for end, counts in stored.blocks.items():
            there = {key: n for key, n in counts.items() if self._is(key[1])}
            found[end] = there
            if end >= self._first_end:
                right = block(self._in_window(stored.uses, end), end, self._rules)
                # Of a full block nobody can tell whether the term had its place in it.
                is_full = end in stored.full
                found[end] = {k: n for k, n in right.items() if not is_full or k in there}
        return found

    def _of_blocks(self, right: Mapping[int, Counts], stored: Stored) -> list[Difference]:
        found = []
        for end, counts in stored.blocks.items():
            there = {key: n for key, n in counts.items() if self._is(key[1])}
            for key in sorted(there.keys() | right[end].keys()):
                was, now = there.get(key, 0), right[end].get(key, 0)
                if was != now:
                    words = f"trend_blocks[{end}, {key[0]}, {self._term!r}]: {was} -> {now}"
                    found.append(Difference(end, words))
        return found

    def _of_trends(self, blocks: Mapping[int, Counts], stored: Stored) -> list[Difference]:
        found: list[Difference] = []
        before: Standing = {}
        last = 0
        for end in self._ends(stored):
            there = {place: row for (place, at), row in stored.trends.items() if at == end}
            if last != end - self._shape.slot_ms:
                before = self._standing(stored, end - self._shape.slot_ms)
            uses = self._in_window(stored.uses, end)
            right = trends_of(uses, self._day(blocks, end), before, end, self._rules)
            for place in sorted(right.keys() | there.keys()):
                row = there.get(place, [])
                was, now = self._named(row), self._named(right.get(place, []))
                is_cut = len(row) == TRENDS_MAX and was is None
                if was != now and not is_cut:
                    words = (
                        f"trends[{place}, {end}, {self._term!r}]: {_short(was)} -> {_short(now)}"
                    )
                    found.append(Difference(end, words))
            before = standing_of(right)
            last = end
        return found

    def _ends(self, stored: Stored) -> list[int]:
        """The windows in which the term was used, or is said to have trended."""
        ends = {end for (_, end), row in stored.trends.items() if self._named(row)}
        for slot in stored.uses:
            begin = (slot + 1) * self._shape.slot_ms
            ends |= set(range(begin, begin + self._shape.window_ms, self._shape.slot_ms))
        return sorted(end for end in ends if self._first_end <= end <= stored.done)

    def _day(self, blocks: Mapping[int, Counts], end: int) -> Counts:
        total: Counts = {}
        for at in self._shape.blocks_before(end):
            for key, counted in blocks.get(at, {}).items():
                total[key] = total.get(key, 0) + counted
        return total

    def _standing(self, stored: Stored, end: int) -> Standing:
        """What of the term trended in a window, as it is stored."""
        return {
            place: {self._term: trend.started_at}
            for (place, at), row in stored.trends.items()
            if at == end and (trend := self._named(row)) is not None
        }

    def _named(self, row: Sequence[Trend]) -> Trend | None:
        return next((trend for trend in row if trend.term == self._term), None)

    # --- worked out again ---

    async def _again(self, stored: Stored, first: int) -> None:
        """Works out the windows from one on, and hands over to whoever leads."""
        name = f"{self._scope} repaired by {secrets.token_hex(4)}"
        before = first - self._shape.slot_ms
        standing = msgspec.msgpack.encode(await self._all_standing(before))
        await self._take_out(stored, first, stored.fence + 1)  # 1
        await self._store.execute(_BEGIN, (name, stored.fence + 1, before, standing))
        leader = self._leader(name)
        for _ in range(TURNS_MAX):  # 2
            done = await leader.turn()
            ((_, upto, _),) = await self._store.execute(_LEADER, (self._scope,))
            ((fence, end, body),) = await self._store.execute(_LEADER, (name,))
            if not done or end >= upto:
                break
        for _ in range(TRIES_MAX):  # 3
            ((leads, _, _),) = await self._store.execute(_LEADER, (self._scope,))
            handed = (max(leads, fence) + 1, end, body, self._scope, leads)
            if (await self._store.execute(_HAND_OVER, handed))[0][0]:
                break
        await self._store.execute(_END, (name,))

    async def _all_standing(self, end: int) -> Standing:
        places = {
            place
            for scope, place, day in await self._store.execute(_DAYS)
            if scope == self._scope and day == end // DAY_MS
        }
        keys = [(self._scope, place, end // DAY_MS, end) for place in sorted(places)]
        pages = await self._store.execute_many(_AT, keys)
        found = {
            place: FOUND.decode(body)
            for (_, place, *_), page in zip(keys, pages, strict=True)
            for (body,) in page
        }
        return standing_of({place: row for place, row in found.items() if row})

    async def _take_out(self, stored: Stored, first: int, token: int) -> None:
        """Takes the term out of what is stored from a window on; what is right is written anew."""
        rows = []
        places = set()
        for (place, end), row in stored.trends.items():
            if end >= first and self._named(row) is not None:
                left = [trend for trend in row if trend.term != self._term]
                body = msgspec.json.encode(left)
                rows.append((TRENDS_ROW, (self._scope, place, end // DAY_MS, end, body, token)))
                places.add(place)
        for end, counts in stored.blocks.items():
            left_of = {key: n for key, n in counts.items() if key[1] != self._term}
            if end >= first and left_of != counts:
                rows += self._windows.block_rows(end, left_of, token, [shard_of(self._term)])
        await self._store.write(rows)
        keys = [self._keys.of(CACHE, place) for place in sorted(places)]
        await self._on.bus.calls_strict(forgetting(keys))


def _short(trend: Trend | None) -> str:
    if trend is None:
        return "does not trend"
    return f"{trend.volume} over {trend.baseline} by {trend.authors}, since {trend.started_at}"
