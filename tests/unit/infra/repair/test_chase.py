"""Registers of one partition as its records come, and which of them a worker can outrun."""

from __future__ import annotations

from typing import Any

from events.slices import LogRecord
from events.types import Event, TweetDeleted, TweetLiked, TweetUnliked, TweetViewed
from infra.repair.chase import Registers
from infra.repair.counts import Counts
from tests.posts import post

TWEET = 7


def records(topic: str, *events: Event) -> list[LogRecord]:
    return [LogRecord(topic, 0, 10 + offset, event) for offset, event in enumerate(events)]


def liked(kind: type[Event], user: int, tweet: int = TWEET) -> Event:
    fields: dict[str, Any] = {"event_id": user, "occurred_at": 1, "tweet_id": tweet}
    if kind is not TweetViewed:
        fields["tweet_author_id"] = 1
    return kind(**fields, **{"user_id": user})


def test_likes_of_every_position_are_known() -> None:
    found = Registers(TWEET, ("engagements", 0))
    kinds = (TweetLiked, TweetLiked, TweetViewed, TweetUnliked)
    found.add(records("engagements", *(liked(kind, 3) for kind in kinds), liked(TweetLiked, 4, 8)))
    likes_and_views = [found.row(position)[1][2:4] for position in (10, 11, 12, 13, 14, 99)]
    assert likes_and_views == [(0, 0), (1, 0), (1, 0), (1, 1), (0, 1), (0, 1)]
    assert found.row(99)[1][:2] == (99, 99)


def test_children_of_every_position_are_known() -> None:
    found = Registers(TWEET, ("new-tweets", 0))
    reply = post(100, 3, reply_to_id=TWEET)
    gone = TweetDeleted(event_id=2, occurred_at=1, tweet_id=100, user_id=3)
    other = post(101, 3, reply_to_id=8)
    found.add(records("new-tweets", reply, reply, other, gone, post(102, 3, quote_of_id=TWEET)))
    counts = [found.row(position)[1][2:5] for position in (10, 11, 12, 13, 14, 15)]
    assert counts == [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0), (0, 0, 1)]


def test_only_registers_of_the_log_can_be_outrun() -> None:
    sources = ("redriven", "redrive/0", "engagements/2", "new-tweets/11")
    rows = [("tallies", (TWEET, source)) for source in sources]
    assert Counts(TWEET).outrun([*rows, ("likes", (TWEET, 3))]) == {
        ("engagements", 2),
        ("new-tweets", 11),
    }
