"""Encodings that the script and other programs rely on."""

from __future__ import annotations

import json

from projections.engagement.layout import PACKED, Counts, Likes, metrics_json, pack


def test_an_entry_is_the_sum_of_its_registers_and_carries_those_of_new_tweets() -> None:
    data = pack(
        [
            ("engagements/2", 77, 5, 9, None, None, None),
            ("new-tweets/3", 40, None, None, 1, 2, 3),
            ("new-tweets/11", 41, None, None, 10, 20, 30),
        ]
    )
    assert Counts.unpack(data) == Counts(retweets=22, replies=11, likes=5, quotes=33, views=9)
    assert Likes.unpack(data) == Likes(77, 5, 9)
    assert PACKED.unpack_from(data)[-1] == 2
    assert data[PACKED.size :][:14] == b"\x0cnew-tweets/3\x28"


def test_a_tweet_that_nobody_touched_has_an_entry_too() -> None:
    assert Counts.unpack(pack([])) == Counts()
    assert len(pack([])) == 34


def test_metrics_are_a_member_of_a_json_object() -> None:
    counts = Counts(retweets=1, replies=2, likes=3, quotes=4, views=5)
    assert json.loads(b"{" + metrics_json(counts) + b"}") == {
        "public_metrics": {
            "retweet_count": 1,
            "reply_count": 2,
            "like_count": 3,
            "quote_count": 4,
            "impression_count": 5,
        }
    }
