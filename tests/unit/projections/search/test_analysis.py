from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.search.analysis import languages
from projections.search.analysis.terms import Asked, asked, indexed
from projections.search.analysis.tokens import TOKENS_MAX, tokens


def terms(text: str, lang: str | None = None) -> list[tuple[str, int]]:
    return [(term.text, term.place) for term in indexed(text, lang)]


def finds(query: str, text: str, lang: str | None = None) -> bool:
    """Whether each place of the query finds a term of the text, in a run of places."""
    found = set(terms(text, lang))
    wanted = asked(query)
    return any(
        all(any((term, start + one.place) in found for term in one.terms) for one in wanted)
        for start in range(TOKENS_MAX)
    )


def test_a_tweet_is_indexed_by_stems_entities_and_places() -> None:
    text = "The elections are running late, says @Alice about #Election2024 $TSLA 👍🏽"
    assert terms(text, "en") == [
        ("elect", 1),
        ("run", 3),
        ("late", 4),
        ("say", 5),
        ("@alice", 6),
        ("#election2024", 8),
        ("election2024", 8),
        ("$tsla", 9),
        ("👍", 10),
    ]


def test_a_url_is_found_by_its_host_and_the_domains_above_it() -> None:
    assert terms("see https://www.news.example.com/a?b#c now") == [
        ("see", 0),
        ("news.example.com", 1),
        ("example.com", 1),
        ("now", 2),
    ]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("\uff21\uff22\uff23", "abc"),  # full width
        ("ｶﾅ", "カナ"),  # half width
        ("ﬁne", "FINE"),  # a ligature
        ("STRASSE", "straße"),
        ("e\u0301te\u0301", "ÉTÉ"),  # composed or not
        ("👍🏽", "👍"),
        ("❤\ufe0f", "❤"),
    ],
)
def test_what_is_written_differently_is_the_same(text: str, same: str) -> None:
    assert [(t.kind, t.text) for t in tokens(text)] == [(t.kind, t.text) for t in tokens(same)]


@pytest.mark.parametrize(
    ("query", "text", "lang"),
    [
        ("elections", "an ELECTION in town", "en"),
        ("running", "he runs", "en"),
        ("gatos", "mi gato", "es"),
        ("häuser", "das haus", "de"),
        ("выборы", "на выборах", "ru"),
        ("花火", "東京都庁で花火大会を見ました", "ja"),
        ("花火大会", "東京都庁で花火大会を見ました", "ja"),
        ("都庁", "東京都庁で花火大会を見ました", "ja"),
        ("アップデート", "アップデートが遅い", "ja"),
        ("北京", "北京大学今天开学了", "zh"),
        ("火锅", "我们去吃火锅吧", "zh"),
        ("อากาศ", "วันนี้อากาศดีมากเลย", "th"),
        ("กรุงเทพมหานคร", "ไปกินข้าวที่กรุงเทพมหานคร", "th"),
        ("서울", "오늘 서울에서 축구 경기를 봤어요", "ko"),
        ("election", "see #Election now", "en"),
        ("#ELECTION", "see #Election now", "en"),
        ("#花火大会", "見た #花火大会 です", "ja"),
        ("snake_case", "my snake_case name", None),
        ("👨\u200d👩\u200d👧", "we 👨\u200d👩\u200d👧 here", None),
        ("🇩🇪", "go 🇩🇪!", None),
        ("don't stop", "please don\u2019t stop", None),
    ],
)
def test_a_word_is_found(query: str, text: str, lang: str | None) -> None:
    assert finds(query, text, lang)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("京都", "東京都庁で花火大会"),
        ("#elect", "see #election"),
        ("@bob", "bob"),
        ("art", "party"),
    ],
)
def test_what_is_another_word_is_not_found(query: str, text: str) -> None:
    assert not finds(query, text)


def test_stop_words_keep_their_places_and_say_in_which_languages_they_are_none() -> None:
    assert terms("to be or not to be is the question", "en") == [("question", 8)]
    assert terms("die hard", "de-CH") == [("hard", 1)]
    assert asked("die")[0].stop_in == ("de", "nl")
    assert asked("die", "en") == [Asked(0, ("die",), ())]


def test_names_in_another_script_than_the_language_stay_as_they_are() -> None:
    assert terms("мы в Windows", "ru")[-1] == ("windows", 2)


@given(st.text(max_size=400), st.sampled_from([*languages.LANGUAGES, "ja", "und"]))
def test_whatever_is_indexed_is_found_by_its_own_text(text: str, lang: str) -> None:
    by_place: dict[int, set[str]] = {}
    for term in indexed(text, lang):
        by_place.setdefault(term.place, set()).add(term.text)
    for one in asked(text):
        if one.place in by_place:
            assert by_place[one.place] & set(one.terms)
        else:
            assert lang in one.stop_in


@given(st.text(max_size=600))
def test_places_count_up_and_are_bounded(text: str) -> None:
    places = [token.place for token in tokens(text)]
    assert places == sorted(places)
    assert not places or places[-1] < TOKENS_MAX
