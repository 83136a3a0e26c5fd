"""A tweet, for those who do not care what it says."""

from __future__ import annotations

from typing import Any

from events.types import TweetPosted


def post(tweet_id: int, author: int, **fields: Any) -> TweetPosted:
    """Returns a tweet; ``fields`` say what else is to be true of it."""
    common: dict[str, Any] = {
        "event_id": tweet_id,
        "occurred_at": 1,
        "text": "hello",
        "created_at": 1,
        "conversation_id": tweet_id,
    }
    return TweetPosted(tweet_id=tweet_id, user_id=author, **{**common, **fields})
