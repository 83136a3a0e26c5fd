"""Counting and scoring, without an engine: what trends follows from who used which term.

The brief's algorithm, for each term and place and the window that ends at W::

    current  = people counted in the window
    baseline = sum of what was counted in the 288 blocks up to W, / 288
    score    = (current - baseline) / max(baseline, 1)
    it trends if score > score_min and current > volume_min, and it is neither blocked nor evergreen

What is counted are people, in thousandths:

1. In a slot, a term with fewer authors than ``Rules.tail`` counts nothing.
2. An author counts once in a window, however many tweets he wrote: by the one of the lowest id.
3. He counts a full person, or ``young_permille`` while his account is younger than ``young_hours``
   (by his id, which is a Snowflake), and ``tags_max / tags`` of that where the tweet has more tags.
4. Of ``n`` authors whose texts have one print (:mod:`projections.trends.terms`) all together count
   as ``same_text_max + isqrt(n - same_text_max)`` of them.

Keeps true: all is whole numbers but the last division, so every machine finds the same.

Bounded by: ``Rules.block_terms``, ``TRENDS_MAX``; what rule 1 leaves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import NamedTuple

from events.snowflake import time_of
from projections.trends.layout import BLOCKS, TRENDS_MAX, WORLDWIDE, Rules, Trend, Use

PERSON = 1000
"""A person, as it is counted."""

_HOUR_MS = 3_600_000

Uses = Mapping[str, Iterable[Use]]
"""Uses by term."""

Counts = dict[tuple[int, str], int]
"""What is counted, by place and term."""


class Volume(NamedTuple):
    """What is counted of a term, and of what.

    Attributes:
        counted: Thousandths of a person.
        authors: How many.
        tweets: How many.
        young: Authors whose accounts are young.
        alike: Authors whose text has the print of another's.
        name: As most write it.
    """

    counted: int
    authors: int
    tweets: int
    young: int
    alike: int
    name: str


def volume(uses: Iterable[Use], window_end: int, rules: Rules) -> Volume:
    """Counts the uses of one term in one place and window."""
    first: dict[int, Use] = {}
    tweets = set()
    for use in uses:
        tweets.add((use.author_id, use.tweet_id))
        known = first.get(use.author_id)
        if known is None or use.tweet_id < known.tweet_id:
            first[use.author_id] = use
    young_from = window_end - int(rules.young_hours * _HOUR_MS)
    groups: dict[int, list[int]] = defaultdict(list)
    counted = young = 0
    for use in first.values():
        is_young = time_of(use.author_id) > young_from
        young += is_young
        weight = rules.young_permille if is_young else PERSON
        if use.tags > rules.tags_max:
            weight = weight * rules.tags_max // use.tags
        if use.print:
            groups[use.print].append(weight)
        else:
            counted += weight
    counted += sum(_together(weights, rules.same_text_max) for weights in groups.values())
    alike = sum(len(weights) for weights in groups.values() if len(weights) > 1)
    names = Counter(use.written for use in first.values())
    name = min(names, key=lambda written: (-names[written], written), default="")
    return Volume(counted, len(first), len(tweets), young, alike, name)


def _together(weights: list[int], in_full: int) -> int:
    number = len(weights)
    if number <= in_full:
        return sum(weights)
    return sum(weights) * (in_full + isqrt(number - in_full)) // number


def without_tail(uses: Mapping[str, list[Use]], rules: Rules) -> dict[str, list[Use]]:
    """Returns what counts of one slot (rule 1)."""
    tail = rules.tail
    return {
        term: found
        for term, found in uses.items()
        if len(found) >= tail and len({use.author_id for use in found}) >= tail
    }


def by_place(uses: Iterable[Use]) -> dict[int, list[Use]]:
    """Returns uses by the places that they count in."""
    found: dict[int, list[Use]] = defaultdict(list)
    for use in uses:
        for place in use.places:
            found[place].append(use)
    return found


def score(counted: int, day: int) -> float:
    """Returns the score of a term.

    Args:
        counted: In the window.
        day: In all blocks of the baseline.
    """
    baseline = day / BLOCKS / PERSON
    return (counted / PERSON - baseline) / max(baseline, 1.0)


def trending(
    uses: Uses,
    day: Mapping[tuple[int, str], int],
    before: Mapping[int, Mapping[str, int]],
    window_end: int,
    rules: Rules,
) -> dict[int, list[Trend]]:
    """Returns the trends of a window by place, the highest score first.

    Args:
        uses: Of the window, by term, without what rule 1 leaves out.
        day: What was counted in all blocks of the baseline, by place and term.
        before: Of the window before, by place: what trended, and since when.
        window_end: Its end.
        rules: What it takes.
    """
    found: dict[int, list[Trend]] = defaultdict(list)
    for term, of_term in uses.items():
        if term.removeprefix("#") in rules.never:
            continue
        everybody = list(of_term)
        if len({use.author_id for use in everybody}) <= rules.lowest:
            continue
        for place, here in by_place(everybody).items():
            counted = volume(here, window_end, rules)
            total = day.get((place, term), 0)
            height = score(counted.counted, total)
            if height <= rules.score_min or counted.counted <= rules.volume_of(place) * PERSON:
                continue
            found[place].append(
                Trend(
                    term=term,
                    name=counted.name,
                    started_at=before.get(place, {}).get(term, window_end),
                    volume=counted.counted,
                    baseline=total // BLOCKS,
                    score=round(height, 3),
                    authors=counted.authors,
                    tweets=counted.tweets,
                )
            )
    return {place: sorted(trends, key=_rank)[:TRENDS_MAX] for place, trends in found.items()}


def _rank(trend: Trend) -> tuple[float, int, str]:
    return -trend.score, -trend.volume, trend.term


def block(uses: Uses, window_end: int, rules: Rules) -> Counts:
    """Returns the counts of a block: of all places and terms those that are highest."""
    counts = {
        (place, term): counted
        for term, of_term in uses.items()
        for place, here in by_place(of_term).items()
        if (counted := volume(here, window_end, rules).counted)
    }
    if len(counts) <= rules.block_terms:
        return counts
    kept = sorted(counts, key=lambda key: (-counts[key], key))[: rules.block_terms]
    return {key: counts[key] for key in kept}


def why(trend: Trend, woeid: int) -> str:
    """Says in words why something trends."""
    people, usual = trend.volume / PERSON, trend.baseline / PERSON
    where = "worldwide" if woeid == WORLDWIDE else "here"
    return (
        f"{trend.authors} people used it {where} in {trend.tweets} tweets of the last window, "
        f"counted as {people:.0f}; in an ordinary one it is {usual:.1f}. Score {trend.score:.1f}."
    )
