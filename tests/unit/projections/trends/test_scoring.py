"""The brief's algorithm and the four rules of counting, by hand."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from events.snowflake import EPOCH_MS, TIME_SHIFT
from projections.trends.layout import BLOCKS, WORLDWIDE, Rules, Use
from projections.trends.scoring import (
    PERSON,
    block,
    score,
    trending,
    volume,
    why,
    without_tail,
)

END = EPOCH_MS + 400 * 86_400_000
RULES = Rules(volume_min=10, place_volume_min=4)
CITY, COUNTRY = 44418, 23424975


def use(
    author: int,
    tweet: int = 1,
    print_: int = 0,
    tags: int = 1,
    written: str = "#Goal",
    place: tuple[int, int] = (0, 0),
) -> Use:
    return Use(author, tweet, print_, tags, written, *place)


def counted(uses: Iterable[Use], rules: Rules = RULES) -> int:
    return volume(uses, END, rules).counted


def crowd(size: int, place: tuple[int, int] = (0, 0), first: int = 1) -> list[Use]:
    return [use(first + n, place=place) for n in range(size)]


def test_the_score_is_how_far_the_window_is_above_the_ordinary_one() -> None:
    assert score(600 * PERSON, 288 * 100 * PERSON) == pytest.approx(5.0)
    assert score(50 * PERSON, 0) == pytest.approx(50.0)
    assert score(100_000 * PERSON, BLOCKS * 100_000 * PERSON) == 0


def test_an_author_counts_once_however_many_tweets_he_writes() -> None:
    assert counted([use(1, tweet) for tweet in range(5000)]) == PERSON
    assert volume([use(1, 1), use(1, 2)], END, RULES).tweets == 2


def test_a_young_account_counts_a_part_of_a_person() -> None:
    minted = (END - EPOCH_MS - 3_600_000) << TIME_SHIFT
    assert counted([use(minted)]) == RULES.young_permille
    assert counted([use(minted)], Rules(young_hours=0.5)) == PERSON


def test_a_tweet_with_many_tags_counts_less_for_each() -> None:
    assert counted([use(1, tags=5)]) == PERSON
    assert counted([use(1, tags=10)]) == PERSON // 2


def test_people_with_one_text_count_together() -> None:
    alike = [use(n, print_=7) for n in range(405)]
    assert counted(alike) == (5 + 20) * PERSON
    assert counted(crowd(405)) == 405 * PERSON
    assert volume(alike, END, RULES).alike == 405


def test_the_lowest_tweet_of_an_author_is_what_counts_of_him() -> None:
    assert counted([use(1, 9, tags=10), use(1, 3)]) == PERSON
    assert volume([use(1, 9, written="#b"), use(1, 3, written="#a")], END, RULES).name == "#a"


def test_a_term_that_next_to_nobody_used_in_a_slot_counts_nothing_there() -> None:
    rules = Rules(volume_min=500, place_volume_min=300)
    slot = {"#few": [use(1, 1), use(1, 2), use(2)], "#more": crowd(3)}
    assert rules.tail == 3
    assert without_tail(slot, rules).keys() == {"#more"}


def test_what_trends_is_above_all_bounds_in_its_own_place() -> None:
    uses = {"#goal": crowd(8, (CITY, COUNTRY)), "#few": crowd(4, (CITY, COUNTRY))}
    found = trending(uses, {}, {}, END, RULES)
    assert {place: [t.term for t in trends] for place, trends in found.items()} == {
        CITY: ["#goal"],
        COUNTRY: ["#goal"],
    }
    uses["#goal"] += crowd(3, first=100)
    assert WORLDWIDE in trending(uses, {}, {}, END, RULES)


def test_what_is_always_there_does_not_trend() -> None:
    uses = {"#love": crowd(1000)}
    usual = {(WORLDWIDE, "#love"): BLOCKS * 990 * PERSON}
    assert trending(uses, usual, {}, END, RULES) == {}
    assert trending(uses, {}, {}, END, Rules(never=frozenset({"love"}))) == {}
    assert trending(uses, {}, {}, END, RULES)


def test_the_highest_score_is_first_and_a_trend_remembers_when_it_began() -> None:
    uses = {"#a": crowd(20), "#b": crowd(30)}
    before = {WORLDWIDE: {"#a": END - 60_000}}
    first, second = trending(uses, {}, before, END, RULES)[WORLDWIDE]
    assert (first.term, first.started_at) == ("#b", END)
    assert (second.term, second.started_at) == ("#a", END - 60_000)


def test_a_block_keeps_its_highest_counts() -> None:
    uses = {"#a": crowd(3), "#b": crowd(2), "#c": crowd(3)}
    kept = block(uses, END, Rules(block_terms=2))
    assert kept == {(WORLDWIDE, "#a"): 3 * PERSON, (WORLDWIDE, "#c"): 3 * PERSON}


def test_why_is_said_in_people() -> None:
    (trend,) = trending({"#a": crowd(20)}, {}, {}, END, RULES)[WORLDWIDE]
    assert why(trend, WORLDWIDE) == (
        "20 people used it worldwide in 20 tweets of the last window, counted as 20; "
        "in an ordinary one it is 0.0. Score 20.0."
    )
