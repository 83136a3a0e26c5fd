"""What is planted in one key of a generation, store and Redis: wrong, missing, one too many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from events.partitioner import partition_of
from events.types import Event, TweetPosted
from infra.repair.counts import Counts
from infra.repair.service import targets
from infra.repair.targets import Account, Bookmarks, List, Target, Username
from infra.repair.ties import Graph, Posted
from projections.engagement.layout import COUNTS, PACKED
from projections.timelines.layout import HOME, pack_ids
from tests.integration.infra.generations import Fed, Town

OTHER, NOBODY, LIST = 77, 7, 70

Plant = Callable[[Town, Fed], Awaitable[Target]]


async def post(here: Town, tweet_id: int, user: int, **fields: Any) -> Event:
    fields = {"conversation_id": tweet_id, **fields}
    return await here.append(
        TweetPosted, tweet_id=tweet_id, user_id=user, text="@held said", created_at=1, **fields
    )


async def end(fed: Fed, topic: str, key: object) -> int:
    """The highest timestamp that the log has reached, where it speaks of a key."""
    partition = partition_of(str(key).encode(), fed.on.topics.partitions(topic))
    return (await fed.on.applied(fed.unit.name).all())[f"{topic}/{partition}"]


async def _account(here: Town, fed: Fed) -> Target:
    user = here.users[0]
    at = await end(fed, "users", user)
    execute = fed.on.store_of(fed.unit.name).execute
    await execute(
        "UPDATE {accounts} USING TIMESTAMP ? SET new_name = ? WHERE user_id = ?", (at, "!", user)
    )
    await execute("DELETE username FROM {accounts} USING TIMESTAMP -1 WHERE user_id = ?", (user,))
    await execute("INSERT INTO {pins} (user_id, tweet_id) VALUES (?, 5) USING TIMESTAMP 9", (user,))
    keys = fed.on.keys("accounts")
    await fed.on.bus.call("SET", keys.of("profile", user), b"\x01" + bytes(8) + b'{"id":"0"')
    return Account(user)


async def _username(here: Town, fed: Fed) -> Target:
    execute = fed.on.store_of(fed.unit.name).execute
    ((offset,),) = await execute(
        "SELECT claim_offset FROM {username_claims} WHERE username_key = 'held'"
    )
    await execute(
        "UPDATE {username_claims} USING TIMESTAMP ? SET user_id = ? WHERE username_key = 'held'"
        " AND claim_offset = ?",
        (await end(fed, "usernames", "held"), 1 << 62, offset),
    )
    await execute(
        "INSERT INTO {username_claims} (username_key, claim_offset, user_id, username, event_id)"
        " VALUES ('held', -1, 7, 'HELD', 7) USING TIMESTAMP 1"
    )
    return Username("Held")


async def _tweet(here: Town, fed: Fed) -> Target:
    execute = fed.on.store_of(fed.unit.name).execute
    rows = await execute("SELECT tweet_id, author_id, fragment FROM {tweets}")
    other = next(fragment for tweet, _, fragment in rows if fragment and tweet != 100)
    one = here.users[0]
    write = "INSERT INTO {tweets} (tweet_id, author_id, fragment) VALUES (100, ?, ?) " + (
        "USING TIMESTAMP ?"
    )
    await execute(write, (one, other, -1))
    at = await end(fed, "new-tweets", one)
    await execute(write, (3, other, at))  # by somebody who never said it, and with a lower id
    await execute(
        "DELETE FROM {mentions} USING TIMESTAMP 1 WHERE addressee = '@held' AND span = 0"
        " AND tweet_id = 100"
    )
    await fed.on.bus.call("SET", fed.on.keys("tweets").of("tweet", 100), other)
    return await anext(targets(fed.on, "tweet", "100"))


async def _bookmarks(here: Town, fed: Fed) -> Target:
    one = here.users[0]
    execute = fed.on.store_of(fed.unit.name).execute
    at = await end(fed, "bookmarks", one)
    await execute("DELETE FROM {bookmarks_of} USING TIMESTAMP ? WHERE user_id = ?", (at, one))
    await execute(
        "UPDATE {bookmarks} USING TIMESTAMP ? SET event_id = 0 WHERE user_id = ? AND tweet_id = ?",
        (at, one, LIST),
    )
    for cql in (
        "INSERT INTO {bookmarks} (user_id, tweet_id, event_id) VALUES (?, 3, 3) USING TIMESTAMP 2",
        "INSERT INTO {bookmarks_of} (user_id, event_id, tweet_id) VALUES (?, 3, 3)"
        " USING TIMESTAMP 2",
    ):
        await execute(cql, (one,))
    return Bookmarks(one)


async def _list(here: Town, fed: Fed) -> Target:
    one, two = here.users[:2]
    at = await end(fed, "lists", LIST)
    execute = fed.on.store_of(fed.unit.name).execute
    await execute(
        "UPDATE {lists} USING TIMESTAMP ? SET new_description = 'wrong' WHERE list_id = ?"
        " AND user_id = ?",
        (at, LIST, one),
    )
    await execute(
        "DELETE FROM {list_members} USING TIMESTAMP ? WHERE list_id = ? AND user_id = ?"
        " AND member_id = ?",
        (at, LIST, one, two),
    )
    await execute(
        "INSERT INTO {list_members} (list_id, user_id, member_id, event_id) VALUES (?, ?, ?, 3)"
        " USING TIMESTAMP 1",
        (LIST, one, OTHER),
    )
    await fed.on.bus.call("SET", fed.on.keys("collections").of("list_members", LIST), b"\1" * 8)
    return List(LIST)


async def _graph(here: Town, fed: Fed) -> Target:
    one, two, three = here.users[:3]
    at = await end(fed, "social-graph", one)
    execute = fed.on.store_of(fed.unit.name).execute
    out = "UPDATE {graph_out} USING TIMESTAMP ? SET "
    await execute(out + "follow_id = 0 WHERE user_id = ? AND other_id = ?", (at, one, two))
    await execute(out + "mute_id = 1 WHERE user_id = ? AND other_id = ?", (1, one, OTHER))
    await execute(
        "DELETE FROM {graph_in} USING TIMESTAMP ? WHERE user_id = ? AND follower_id = ?",
        (await end(fed, "social-graph", three), one, three),
    )
    keys = fed.on.keys("timelines")
    await fed.on.bus.call("SET", keys.of("relations", one), bytes(12) + pack_ids([OTHER]))
    return Graph(one)


async def _timeline(here: Town, fed: Fed) -> Target:
    one, two = here.users[:2]
    at = await end(fed, "new-tweets", two)
    execute = fed.on.store_of(fed.unit.name).execute
    await execute(
        "DELETE FROM {author_tweets} USING TIMESTAMP ? WHERE author_id = ? AND tweet_id = 101",
        (at, two),
    )
    await execute(
        "UPDATE {author_tweets} USING TIMESTAMP 1 SET reply_to_user_id = 0, retweet_of_id = 0"
        " WHERE author_id = ? AND tweet_id = 3",
        (one,),
    )
    key = fed.on.keys("timelines").of(HOME, one)
    await fed.on.bus.call("SET", key, b"F" + bytes(12) + pack_ids([100]))
    return Posted(one, [two])


async def _counts(here: Town, fed: Fed) -> Target:
    two = here.users[1]
    execute = fed.on.store_of(fed.unit.name).execute
    ((source, position),) = [
        row
        for row in await execute("SELECT source, position FROM {tallies} WHERE tweet_id = 100")
        if row[0].startswith("engagements")
    ]
    await execute(
        "UPDATE {tallies} USING TIMESTAMP ? SET likes = 40, views = 9 WHERE tweet_id = 100"
        " AND source = ?",
        (position, source),
    )
    await execute("DELETE FROM {likes} USING TIMESTAMP ? WHERE tweet_id = 100", (position,))
    await execute(
        "INSERT INTO {children} (parent_id, kind, tweet_id, author_id) VALUES (100, 'quote', 3, 3)"
        " USING TIMESTAMP -1"
    )
    await execute(
        "DELETE FROM {children} USING TIMESTAMP 0 WHERE parent_id = 100 AND kind = 'reply'"
        " AND tweet_id = 101 AND author_id = ?",
        (two,),
    )
    key = fed.on.keys("engagement").of(COUNTS, 100)
    await fed.on.bus.call("SET", key, PACKED.pack(position, 77, 40, 5, 0, 0, 0))
    await fed.on.bus.call("DEL", key + b":likers", key + b":sources")
    return Counts(100)


PLANTS: dict[str, Plant] = {
    "account": _account,
    "username": _username,
    "tweet": _tweet,
    "bookmarks": _bookmarks,
    "list": _list,
    "graph": _graph,
    "timeline": _timeline,
    "counts": _counts,
}
"""By the word of `murmur repair`."""
