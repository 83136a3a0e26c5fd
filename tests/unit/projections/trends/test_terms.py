from __future__ import annotations

import pytest

from projections.trends.terms import PHRASES_MAX, TAGS_MAX, said, term_of


def terms(text: str, lang: str | None = "en") -> list[str]:
    return [term.text for term in said(text, lang).terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#Goal!", ["#goal"]),
        ("#GOAL and #goal", ["#goal"]),
        ("the storm in New York City was loud", ["new york city"]),
        ("red wine, blue cheese", ["red wine", "blue cheese"]),
        ("look @ann: https://example.com/a-b #Derby big match", ["#derby", "big match"]),
        ("one word", ["one word"]),
        ("hello", []),
        ("world cup final tickets", ["world cup", "cup final", "final tickets"]),
        ("call 555 1234 now", []),
        ("地震 が すごい", []),
    ],
)
def test_tags_and_runs_of_words_between_stop_words(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_a_phrase_is_shown_as_it_was_written_first_in_the_tweet() -> None:
    (found,) = said("New York is not new york", "en").terms
    assert found == ("new york", "New York")


def test_where_no_language_is_known_stop_words_of_all_count() -> None:
    assert terms("der alte Zug", None) == ["alte zug"] != terms("der alte Zug", "en")


def test_terms_are_bounded() -> None:
    tags = said(" ".join(f"#tag{n}x" for n in range(30)), "en")
    assert (len(tags.terms), tags.tags) == (TAGS_MAX, 30)
    words = said(", ".join(f"red{c} wine{c}" for c in "abcdefghijkl"), "en")
    assert len(words.terms) == PHRASES_MAX


@pytest.mark.parametrize(
    "copy",
    [
        "Win a FREE phone today! #other https://example.com/2 @somebody",
        "win a free phone today 9876",
        "today: win a free phone",
    ],
)
def test_copies_of_a_text_have_its_print(copy: str) -> None:
    assert said(copy, "en").print == said("win a free phone today #tag", "en").print != 0


def test_other_texts_have_other_prints_and_few_words_none() -> None:
    first = said("what a match that was tonight", "en").print
    assert first != said("nobody expected this storm to come", "en").print
    assert said("#goal yes", "en").print == 0


def test_what_is_typed_is_compared_as_tweets_are() -> None:
    assert term_of("#Goal") == "#goal"
    assert term_of("New  York") == "new york"
