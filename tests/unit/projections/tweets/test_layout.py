"""The fragment of a tweet: X's object, the header that filters read, and which row stands."""

from typing import Any

import msgspec

from events.types import Coordinates, Place, TweetPosted
from projections.tweets.layout import DELETED, TweetFragment, pack, standing


def posted(**fields: Any) -> TweetPosted:
    common: dict[str, Any] = {
        "event_id": 1,
        "occurred_at": 1_714_550_400_123,
        "tweet_id": 2**62 + 1,
        "user_id": 12,
        "text": "hello",
        "created_at": 1_714_550_400_123,
        "conversation_id": 2**62 + 1,
    }
    return TweetPosted(**{**common, **fields})


def opened(event: TweetPosted) -> tuple[TweetFragment, dict[str, Any]]:
    fragment = TweetFragment.unpack(pack(event))
    return fragment, msgspec.json.decode(fragment.body + b"}")


def test_a_plain_tweet_leaves_out_what_does_not_apply() -> None:
    fragment, body = opened(posted())
    assert body == {
        "id": str(2**62 + 1),
        "text": "hello",
        "author_id": "12",
        "created_at": "2024-05-01T08:00:00.123Z",
        "conversation_id": str(2**62 + 1),
        "lang": "und",
    }
    assert (fragment.author_id, fragment.conversation_id) == (12, 2**62 + 1)
    assert fragment.reply_to_id == fragment.retweet_of_id == fragment.quote_of_id == 0
    assert not fragment.has_media


def test_a_reply_with_all_that_a_tweet_can_have() -> None:
    fragment, body = opened(
        posted(
            text="@bob see example.com #news",
            lang="en",
            conversation_id=5,
            reply_to_id=6,
            reply_to_user_id=7,
            quote_of_id=8,
            quote_of_user_id=9,
            media_ids=["7_1", "7_2"],
            coordinates=Coordinates(52.5, 13.4),
            place=Place(638242, 23424829),
            source="web",
        )
    )
    assert body["lang"] == "en"
    assert body["in_reply_to_user_id"] == "7"
    assert body["referenced_tweets"] == [
        {"type": "quoted", "id": "8"},
        {"type": "replied_to", "id": "6"},
    ]
    assert body["attachments"] == {"media_keys": ["7_1", "7_2"]}
    assert body["geo"] == {
        "coordinates": {"type": "Point", "coordinates": [13.4, 52.5]},
        "woeid": "638242",
        "country_woeid": "23424829",
    }
    assert body["entities"]["mentions"] == [{"start": 0, "end": 4, "username": "bob"}]
    assert body["entities"]["hashtags"] == [{"start": 21, "end": 26, "tag": "news"}]
    assert body["entities"]["urls"][0]["expanded_url"] == "https://example.com"
    assert (fragment.reply_to_id, fragment.reply_to_user_id) == (6, 7)
    assert (fragment.quote_of_id, fragment.quote_of_user_id) == (8, 9)
    assert fragment.has_media


def test_a_place_needs_no_point_and_a_point_no_place() -> None:
    assert opened(posted(place=Place(638242)))[1]["geo"] == {"woeid": "638242"}
    point = {"type": "Point", "coordinates": [13.4, 52.5]}
    assert opened(posted(coordinates=Coordinates(52.5, 13.4)))[1]["geo"] == {"coordinates": point}


def test_a_retweet_names_its_original() -> None:
    fragment, body = opened(posted(text="", retweet_of_id=3, retweet_of_user_id=4))
    assert body["referenced_tweets"] == [{"type": "retweeted", "id": "3"}]
    assert (fragment.retweet_of_id, fragment.retweet_of_user_id) == (3, 4)


def test_a_deletion_by_another_leaves_the_tweet_standing() -> None:
    rows = [(1, 10, DELETED), (1, 11, b"kept"), (2, 10, DELETED), (3, 5, b"lower"), (3, 6, b"x")]
    assert standing(rows) == {1: b"kept", 3: b"lower"}


def test_a_row_without_a_fragment_is_no_tweet() -> None:
    assert standing([(1, 10, None)]) == {}
