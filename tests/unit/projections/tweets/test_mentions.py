"""Whom a tweet speaks to: what is written and what is asked of it agree."""

from __future__ import annotations

from typing import Any

import pytest

from events.types import TweetPosted
from projections.text import entities
from projections.tweets.layout import TweetFragment, pack
from projections.tweets.mentions import NAMES_MAX, WRITE, WRITE_SPAN, addressees, of_name, rows

ME, OTHER = 7, 8


def post(text: str, **fields: Any) -> TweetPosted:
    common: dict[str, Any] = {
        "event_id": 1,
        "occurred_at": 1,
        "created_at": 1,
        "conversation_id": 1,
    }
    return TweetPosted(**common, tweet_id=1000, user_id=ME, text=text, **fields)


def spoken_to(tweet: TweetPosted) -> set[str]:
    """By the rows and by the fragment, counts spliced in; they must agree."""
    written = [values for cql, values in rows(tweet, entities.parse(tweet.text), 3) if cql == WRITE]
    assert [values[1:3] for values in written] == [(1000 >> 3, 1000)] * len(written)
    fragment = TweetFragment.unpack(pack(tweet) + b',"public_metrics":{"like_count":1}')
    assert addressees(fragment) == {str(values[0]) for values in written}
    return addressees(fragment)


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("nobody, a@b.example", {}, set()),
        ("@Ada and @ADA and @bob", {}, {"@ada", "@bob"}),
        ("yes", {"reply_to_id": 5, "reply_to_user_id": OTHER}, {"8"}),
        ("@Ada", {"reply_to_id": 5, "reply_to_user_id": OTHER}, {"@ada", "8"}),
        ("to myself", {"reply_to_id": 5, "reply_to_user_id": ME}, set()),
        ("to whom?", {"reply_to_id": 5}, set()),
        ("RT @ada", {"retweet_of_id": 5, "retweet_of_user_id": OTHER}, set()),
        ("see @ada", {"quote_of_id": 5, "quote_of_user_id": OTHER}, {"@ada"}),
    ],
)
def test_names_and_who_is_answered(text: str, fields: dict[str, Any], expected: set[str]) -> None:
    assert spoken_to(post(text, **fields)) == expected


def test_the_first_names_count_each_once() -> None:
    names = [f"u{number}" for number in range(NAMES_MAX + 3)]
    text = " ".join(f"@{name}" for name in [names[0], *names])
    assert spoken_to(post(text)) == {of_name(name) for name in names[:NAMES_MAX]}


def test_each_row_has_its_span_beside_it() -> None:
    written = list(rows(post("@a @b"), entities.parse("@a @b"), 3))
    spans = {values[:2] for cql, values in written if cql == WRITE_SPAN}
    assert spans == {("@a", 125), ("@b", 125)} == {v[:2] for cql, v in written if cql == WRITE}
