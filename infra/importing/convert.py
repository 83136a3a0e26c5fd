"""From items of an X export to events.

Keeps true: the same item gives the same event, byte for byte, whichever export of the account it
comes from and whenever it is imported, so that one idempotency key answers for it for ever.

Event ids: a tweet's event has the tweet's id. The export has no time for follows, blocks, mutes and
likes; their event ids are a hash of who and whom within 2**56, which as Snowflake ids lie in the
months before any import could be. So whatever happened here is newer than what was imported; and of
an imported block and an imported follow between two users the block is the newer.
"""

from __future__ import annotations

from hashlib import blake2b

from events.snowflake import time_of
from events.types import (
    Coordinates,
    Event,
    TweetLiked,
    TweetPosted,
    UserBlocked,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UserRegistered,
)
from infra.importing.items import Account, ArchivedTweet

HASH_BITS = 55


def key_of_fact(kind: str, *ids: int) -> str:
    """The idempotency key of an imported fact."""
    return ":".join(("x-archive", kind, *map(str, ids)))


def fact_id(kind: str, *ids: int) -> int:
    """Event id of a fact that carries no time; blocks sort after everything else."""
    digest = blake2b(key_of_fact(kind, *ids).encode(), digest_size=8).digest()
    low = int.from_bytes(digest, "big") >> (64 - HASH_BITS)
    return low | (1 << HASH_BITS) if kind == "block" else low


def registration(account: Account) -> tuple[UsernameClaimed, UserRegistered]:
    """The owner's claim of the username, and the registration."""
    claim = UsernameClaimed(
        event_id=fact_id("claim", account.user_id),
        occurred_at=account.created_at,
        username_key=account.username.casefold(),
        username=account.username,
        user_id=account.user_id,
    )
    registered = UserRegistered(
        event_id=fact_id("register", account.user_id),
        occurred_at=account.created_at,
        user_id=account.user_id,
        username=account.username,
        name=account.name,
        created_at=account.created_at,
        description=account.description,
        location=account.location,
        url=account.url,
        profile_image_url=account.profile_image_url,
    )
    return claim, registered


def posted(tweet: ArchivedTweet, account: Account, conversation_id: int) -> TweetPosted:
    """The event of an archived tweet, with its own id and time."""
    coordinates = None
    if tweet.latitude is not None and tweet.longitude is not None:
        coordinates = Coordinates(latitude=tweet.latitude, longitude=tweet.longitude)
    own_quote = (tweet.quote_of_name or "").casefold() == account.username.casefold()
    return TweetPosted(
        event_id=tweet.tweet_id,
        occurred_at=tweet.created_at,
        tweet_id=tweet.tweet_id,
        user_id=account.user_id,
        text=tweet.text,
        created_at=tweet.created_at,
        lang=tweet.lang,
        conversation_id=conversation_id,
        reply_to_id=tweet.reply_to_id,
        reply_to_user_id=tweet.reply_to_user_id,
        quote_of_id=tweet.quote_of_id,
        quote_of_user_id=account.user_id if own_quote else None,
        coordinates=coordinates,
        source=tweet.source,
    )


def followed(user: int, target: int) -> Event:
    """A follow; the same event from the follower's export and from the followed one's."""
    return UserFollowed(**_stamp("follow", user, target), user_id=user, target_user_id=target)


def blocked(user: int, target: int) -> Event:
    """A block."""
    return UserBlocked(**_stamp("block", user, target), user_id=user, target_user_id=target)


def muted(user: int, target: int) -> Event:
    """A mute."""
    return UserMuted(**_stamp("mute", user, target), user_id=user, target_user_id=target)


def liked(user: int, tweet_id: int, author_id: int) -> Event:
    """A like."""
    stamp = _stamp("like", user, tweet_id)
    return TweetLiked(**stamp, tweet_id=tweet_id, tweet_author_id=author_id, user_id=user)


def _stamp(kind: str, *ids: int) -> dict[str, int]:
    event_id = fact_id(kind, *ids)
    return {"event_id": event_id, "occurred_at": time_of(event_id)}
