"""What readers must see of trends, as plain Python over the records of the log.

The sentences
- Every post in the log speaks for itself, deleted since or not, if the log got it between
  ``ahead_ms`` before and ``late_ms`` after the moment it says it was posted. A retweet says
  nothing.
- It says its terms (:func:`projections.trends.terms.said`), in the slot of the moment that it was
  posted, for the world, for its place and for its place's country. Of posts of one id by one
  author with a term in one slot, the first counts.
- A window is the ten slots before its end. Windows end with every slot.
- What is counted of a term in a place and window are people. A slot in which fewer authors than
  ``tail`` used the term, wherever they are, is left out. An author counts once, by his tweet of the
  lowest id there (of one id, in the earlier slot): 1000, or ``young_permille`` if his id is younger
  than ``young_hours`` at the window's end; times ``tags_max`` by the tweet's tags, if there are
  more, rounded down. Authors of one print together count ``(same + isqrt(n - same)) / n`` of what
  they are, rounded down, if they are more than ``same``; print 0 is nobody's.
- The baseline is what was counted in the 288 windows that end at multiples of their length, the
  newest at or before the window's end, divided by 288. Of each of those windows only the
  ``block_terms`` highest counts are kept, ties by place and term.
- score = (counted - baseline) / max(baseline, 1), in people. A term trends in a place if more
  authors than the lowest volume used it, wherever they are, its score is above ``score_min``, its
  count above the place's volume, and it is not among those that never do. Trends are listed by
  score, count and term, fifty at most; each since the first window of an unbroken line of windows
  in which it was listed.
- What began worldwide in a window is told, but for terms that were told of a window that ended
  ``QUIET_MS`` before or later.
- A user's own trends at the end of a window are the terms that at least ``own_min`` of those he
  follows, active or not, used in the last hour, counting of each followee the newest
  ``OWN_ROWS`` uses; by how many followees, then by term.

It keeps what was said, and counts anew for every question.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from fractions import Fraction
from math import isqrt
from typing import Any

from events.slices import LogRecord
from events.snowflake import time_of
from events.types import TweetPosted
from projections.trends.layout import (
    BLOCKS,
    QUIET_MS,
    TRENDS_MAX,
    WINDOW_SLOTS,
    WORLDWIDE,
    Rules,
    Shape,
)
from projections.trends.terms import said

Row = dict[str, Any]


class TrendsOracle:
    """What trends, by what the log says.

    Args:
        records: Of ``new-tweets``, with the log's times; each partition in order.
        shape: How time is cut.
        rules: What it takes to trend.
    """

    def __init__(self, records: Iterable[LogRecord], shape: Shape, rules: Rules) -> None:
        self._shape, self._rules = shape, rules
        self._uses: dict[int, dict[str, dict[tuple[int, int], Row]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for record in records:
            event = record.event
            if isinstance(event, TweetPosted) and event.retweet_of_id is None:
                self._take(event, record.appended_at)
        self._kept: dict[int, dict[tuple[int, str], int]] = {}

    def _take(self, post: TweetPosted, appended_at: int) -> None:
        late = appended_at - post.created_at
        if late > self._shape.late_ms or late < -self._shape.ahead_ms:
            return
        says = said(post.text, post.lang)
        places = {WORLDWIDE}
        if post.place is not None:
            places |= {post.place.woeid, post.place.country_woeid or WORLDWIDE}
        for term in says.terms:
            row = {
                "places": places,
                "print": says.print,
                "tags": says.tags,
                "written": term.written,
            }
            slot = self._uses[post.created_at // self._shape.slot_ms]
            slot[term.text].setdefault((post.user_id, post.tweet_id), row)

    # --- what was said ---

    def slots(self) -> list[int]:
        """Returns the slots that hold anything."""
        return sorted(self._uses)

    @property
    def shape(self) -> Shape:
        """How time is cut."""
        return self._shape

    @property
    def slot_ms(self) -> int:
        """Length of a slot."""
        return self._shape.slot_ms

    def uses(self, slot: int) -> list[list[Any]]:
        """Returns who used what in a slot, sorted: term, author, tweet, print, tags, places."""
        return sorted(
            [term, author, tweet, row["print"], row["tags"], sorted(row["places"])]
            for term, rows in self._uses[slot].items()
            for (author, tweet), row in rows.items()
        )

    # --- what is counted ---

    def _window(self, end: int) -> dict[str, list[tuple[int, int, Row]]]:
        """Returns the uses that count before ``end``, by term, in order of slots."""
        found: dict[str, list[tuple[int, int, Row]]] = defaultdict(list)
        last = end // self._shape.slot_ms
        for slot in range(last - WINDOW_SLOTS, last):
            for term, rows in self._uses.get(slot, {}).items():
                if len({author for author, _ in rows}) >= self._rules.tail:
                    found[term] += [(*key, row) for key, row in sorted(rows.items())]
        return found

    def _people(self, uses: list[tuple[int, int, Row]], end: int) -> int:
        rules = self._rules
        chosen: dict[int, tuple[int, Row]] = {}
        for author, tweet, row in uses:
            if author not in chosen or tweet < chosen[author][0]:
                chosen[author] = (tweet, row)
        total = 0
        alike: dict[int, list[int]] = defaultdict(list)
        for author, (_, row) in chosen.items():
            worth = 1000
            if end - time_of(author) < rules.young_hours * 3_600_000:
                worth = rules.young_permille
            worth = int(worth * Fraction(rules.tags_max, max(rules.tags_max, row["tags"])))
            if row["print"]:
                alike[row["print"]].append(worth)
            else:
                total += worth
        for worths in alike.values():
            number, same = len(worths), rules.same_text_max
            share = Fraction(same + isqrt(number - same), number) if number > same else 1
            total += int(sum(worths) * share)
        return total

    def _counts(self, end: int) -> dict[tuple[int, str], int]:
        found = {}
        for term, uses in self._window(end).items():
            for place in {place for *_, row in uses for place in row["places"]}:
                here = [use for use in uses if place in use[2]["places"]]
                found[place, term] = self._people(here, end)
        return {key: counted for key, counted in found.items() if counted}

    def block(self, end: int) -> dict[tuple[int, str], int]:
        """Returns what is kept of the window that ends at a multiple of its length."""
        if end not in self._kept:
            counts = self._counts(end)
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            self._kept[end] = dict(ranked[: self._rules.block_terms])
        return self._kept[end]

    def _day(self, end: int) -> Counter[tuple[int, str]]:
        long = self._shape.window_ms
        newest = end // long * long
        day: Counter[tuple[int, str]] = Counter()
        oldest = newest - (BLOCKS - 1) * long
        ends = {-(-(slot + 1) * self._shape.slot_ms // long) * long for slot in self._uses}
        for block_end in ends:
            if oldest <= block_end <= newest:
                day.update(self.block(block_end))
        return day

    # --- what trends ---

    def history(self, until: int = 1 << 63, *, since: int = 0) -> dict[int, dict[int, list[Row]]]:
        """Returns the trends of every window up to ``until`` in which there are any, by place.

        Those that began before ``since`` are taken to have begun in the first window after it.
        """
        found: dict[int, dict[int, list[Row]]] = defaultdict(dict)
        slot_ms = self._shape.slot_ms
        before: dict[int, dict[str, int]] = {}
        ends = sorted(
            {
                end
                for slot in self._uses
                for end in range((slot + 1) * slot_ms, (slot + WINDOW_SLOTS) * slot_ms + 1, slot_ms)
                if since <= end <= until
            }
        )
        previous = None
        for end in ends:
            if previous != end - slot_ms:
                before = {}
            listed = self._listed(end, before)
            for place, rows in listed.items():
                found[place][end] = rows
            before = {
                place: {row["term"]: row["started_at"] for row in rows}
                for place, rows in listed.items()
            }
            previous = end
        return dict(found)

    def starts(self, until: int = 1 << 63, *, since: int = 0) -> dict[int, list[tuple[str, int]]]:
        """Returns what is told to have begun, by window: the terms, and of how many people."""
        told: dict[str, int] = {}
        found: dict[int, list[tuple[str, int]]] = {}
        for end, rows in sorted(self.history(until, since=since).get(WORLDWIDE, {}).items()):
            new = [
                (row["term"], row["authors"])
                for row in rows
                if row["started_at"] == end
                and (row["term"] not in told or end - told[row["term"]] > QUIET_MS)
            ]
            told |= dict.fromkeys((term for term, _ in new), end)
            if new:
                found[end] = new
        return found

    def _listed(self, end: int, before: dict[int, dict[str, int]]) -> dict[int, list[Row]]:
        rules, day = self._rules, self._day(end)
        found: dict[int, list[Row]] = defaultdict(list)
        lowest = min(rules.volume_min, rules.place_volume_min)
        window = self._window(end)
        for term, uses in window.items():
            if term.lstrip("#") in rules.never or len({a for a, *_ in uses}) <= lowest:
                continue
            for place in {place for *_, row in uses for place in row["places"]}:
                here = [use for use in uses if place in use[2]["places"]]
                counted = self._people(here, end)
                people, usual = counted / 1000, day[place, term] / BLOCKS / 1000
                score = (people - usual) / max(usual, 1)
                least = rules.volume_min if place == WORLDWIDE else rules.place_volume_min
                if score > rules.score_min and people > least:
                    found[place].append(
                        {
                            "term": term,
                            "name": _name(here),
                            "started_at": before.get(place, {}).get(term, end),
                            "volume": counted,
                            "baseline": day[place, term] // BLOCKS,
                            "score": round(score, 3),
                            "authors": len({author for author, *_ in here}),
                            "tweets": len({use[:2] for use in here}),
                        }
                    )
        for rows in found.values():
            rows.sort(key=lambda row: (-row["score"], -row["volume"], row["term"]))
            del rows[TRENDS_MAX:]
        return found

    def own(
        self, following: Iterable[int], end: int, *, own_min: int, hour_ms: int, rows: int
    ) -> list[tuple[str, int]]:
        """Returns the terms that those whom somebody follows use, and how many of them do."""
        counts: Counter[str] = Counter()
        last = end // self._shape.slot_ms
        first = last - hour_ms // self._shape.slot_ms
        for user in following:
            his = sorted(
                (
                    (slot, term, tweet)
                    for slot, terms in self._uses.items()
                    if first <= slot < last
                    for term, uses in terms.items()
                    for author, tweet in uses
                    if author == user
                ),
                reverse=True,
            )
            counts.update({term for _, term, _ in his[:rows]})
        listed = [
            (term, number)
            for term, number in counts.items()
            if number >= own_min and term.lstrip("#") not in self._rules.never
        ]
        return sorted(listed, key=lambda one: (-one[1], one[0]))


def _name(uses: list[tuple[int, int, Row]]) -> str:
    chosen: dict[int, tuple[int, str]] = {}
    for author, tweet, row in uses:
        if author not in chosen or tweet < chosen[author][0]:
            chosen[author] = (tweet, row["written"])
    names = Counter(written for _, written in chosen.values())
    return min(names, key=lambda written: (-names[written], written))
