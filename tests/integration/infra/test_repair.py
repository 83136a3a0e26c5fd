"""What was planted in one key is put right, while events of the same key come: store and Redis.

The generation is fed as a worker feeds it, by a task that goes on all the time; at the end what
readers see of the key is the oracle's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from events.partitioner import partition_of
from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListMemberAdded,
    ProfileChanged,
    TweetBookmarked,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UsernameReleased,
    UserUnmuted,
)
from infra.diff.compare import viewed
from infra.diff.looks import Looker
from infra.diff.oracle import OracleSide
from infra.diff.sides import GenerationSide, topics_of
from infra.diff.views import KINDS_OF_UNIT
from infra.repair.counts import Counts
from infra.repair.mend import Mender, Outcome
from infra.repair.service import targets
from infra.repair.targets import Account, Bookmarks, List, Target, Username
from infra.repair.ties import Graph, Posted
from infra.settings import Settings
from projections.engagement.layout import COUNTS, PACKED
from projections.timelines.layout import HOME, pack_ids
from tests.integration.infra.generations import Fed, Town, town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(400)]

EVENTS = 500
WAIT_S = 60.0
TRAFFIC_S, SLICE_S = 0.05, 0.7
OTHER, NOBODY, LIST = 77, 7, 70

logger = logging.getLogger(__name__)
Plant = Callable[[Town, Fed], Awaitable[Target]]
Traffic = Callable[[Town], Awaitable[Event]]


@pytest.fixture(scope="module")
async def here(stack: Settings) -> AsyncIterator[Town]:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    async with town(stack, events=EVENTS, seed=seed) as made:
        one, two, three = made.users[:3]
        named = {"name": "people", "description": "", "private": False}
        await made.append(ListCreated, list_id=LIST, user_id=one, **named)
        await made.append(ListMemberAdded, list_id=LIST, user_id=one, member_id=two)
        for tweet in (NOBODY, LIST):
            await made.append(TweetBookmarked, user_id=one, tweet_id=tweet)
        await made.append(UserFollowed, user_id=one, target_user_id=two)
        await made.append(UserFollowed, user_id=three, target_user_id=one)
        await made.append(UserMuted, user_id=one, target_user_id=three)
        await made.append(UsernameClaimed, username_key="held", username="Held", user_id=one)
        await _post(made, 100, one)
        for user in (one, two, three):
            await made.append(TweetLiked, tweet_id=100, tweet_author_id=one, user_id=user)
        await _post(made, 101, two, reply_to_id=100, reply_to_user_id=one, conversation_id=100)
        yield made


async def _post(here: Town, tweet_id: int, user: int, **fields: Any) -> Event:
    fields = {"conversation_id": tweet_id, **fields}
    return await here.append(
        TweetPosted, tweet_id=tweet_id, user_id=user, text="@held said", created_at=1, **fields
    )


async def _end(fed: Fed, topic: str, key: object) -> int:
    """The highest timestamp that the log has reached, where it speaks of a key."""
    partition = partition_of(str(key).encode(), fed.on.topics.partitions(topic))
    return (await fed.on.applied(fed.unit.name).all())[f"{topic}/{partition}"]


async def _account(here: Town, fed: Fed) -> Target:
    user = here.users[0]
    at = await _end(fed, "users", user)
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
        (await _end(fed, "usernames", "held"), 1 << 62, offset),
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
    await execute(write, (3, other, 4))  # by somebody who never said it, and with a lower id
    await execute(
        "DELETE FROM {mentions} USING TIMESTAMP 1 WHERE addressee = '@held' AND span = 0"
        " AND tweet_id = 100"
    )
    await fed.on.bus.call("SET", fed.on.keys("tweets").of("tweet", 100), other)
    return await anext(targets(fed.on, "tweet", "100"))


async def _bookmarks(here: Town, fed: Fed) -> Target:
    one = here.users[0]
    execute = fed.on.store_of(fed.unit.name).execute
    at = await _end(fed, "bookmarks", one)
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
    at = await _end(fed, "lists", LIST)
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
    at = await _end(fed, "social-graph", one)
    execute = fed.on.store_of(fed.unit.name).execute
    out = "UPDATE {graph_out} USING TIMESTAMP ? SET "
    await execute(out + "follow_id = 0 WHERE user_id = ? AND other_id = ?", (at, one, two))
    await execute(out + "mute_id = 1 WHERE user_id = ? AND other_id = ?", (1, one, OTHER))
    await execute(
        "DELETE FROM {graph_in} USING TIMESTAMP ? WHERE user_id = ? AND follower_id = ?",
        (await _end(fed, "social-graph", three), one, three),
    )
    keys = fed.on.keys("timelines")
    await fed.on.bus.call("SET", keys.of("relations", one), bytes(12) + pack_ids([OTHER]))
    return Graph(one)


async def _timeline(here: Town, fed: Fed) -> Target:
    one, two = here.users[:2]
    at = await _end(fed, "new-tweets", two)
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


async def _likes_and_replies(here: Town) -> Event:
    one, two = here.users[:2]
    kind = random.choice((TweetLiked, TweetUnliked, TweetViewed, TweetPosted))
    if kind is TweetPosted:
        tweet_id = await here.minter.mint()
        return await _post(here, tweet_id, two, reply_to_id=100, reply_to_user_id=one)
    fields = {} if kind is TweetViewed else {"tweet_author_id": one}
    return await here.append(kind, tweet_id=100, user_id=random.choice(here.users), **fields)


async def _names(here: Town) -> Event:
    kind = random.choice((UsernameClaimed, UsernameReleased))
    fields = {"username": "HELD"} if kind is UsernameClaimed else {}
    user = random.choice(here.users[:2])
    return await here.append(kind, username_key="held", user_id=user, **fields)


async def _own_tweets(here: Town) -> Event:
    return await _post(here, await here.minter.mint(), random.choice(here.users[:2]))


async def _ties(here: Town) -> Event:
    one, other = here.users[0], random.choice(here.users[1:6])
    kind = random.choice((UserFollowed, UserMuted, UserUnmuted))
    pair = (one, other) if random.random() < 0.7 else (other, one)
    return await here.append(kind, user_id=pair[0], target_user_id=pair[1])


async def _profile(here: Town) -> Event:
    return await here.append(
        ProfileChanged, user_id=here.users[0], description=str(random.random())
    )


async def _deleted(here: Town) -> Event:
    return await here.append(TweetDeleted, tweet_id=100, user_id=OTHER)  # changes nothing


async def _marks(here: Town) -> Event:
    return await here.append(
        TweetBookmarked, user_id=here.users[0], tweet_id=random.randrange(200, 300)
    )


async def _members(here: Town) -> Event:
    one = here.users[0]
    if random.random() < 0.5:
        return await here.append(ListChanged, list_id=LIST, user_id=one, name=str(random.random()))
    return await here.append(
        ListMemberAdded, list_id=LIST, user_id=one, member_id=random.choice(here.users)
    )


REPAIRS: dict[str, tuple[Plant, Traffic]] = {
    "account": (_account, _profile),
    "username": (_username, _names),
    "tweet": (_tweet, _deleted),
    "bookmarks": (_bookmarks, _marks),
    "list": (_list, _members),
    "graph": (_graph, _ties),
    "timeline": (_timeline, _own_tweets),
    "counts": (_counts, _likes_and_replies),
}


@pytest.mark.parametrize("what", REPAIRS)
async def test_a_key_is_right_again_and_stays_so_while_events_of_it_come(
    here: Town, what: str
) -> None:
    plant, traffic = REPAIRS[what]
    fed = await _fed(here, what)
    target = await plant(here, fed)
    dry = await _mended(here, fed, target, is_dry=True)
    assert dry.was_wrong and not dry.is_right
    assert len(dry.changes) > 1, dry
    async with _live(here, fed, traffic):
        outcome = await _mended(here, fed, target)
        assert outcome.was_wrong and outcome.is_right, outcome
        for _ in range(10):  # events that come after the repair show as well
            await traffic(here)
    assert await _differing(here, await _fed(here, what), target) == []
    again = await _mended(here, fed, target)
    assert (again.changes, again.caches, again.is_right) == ([], [], True)


async def test_what_is_above_the_log_is_beaten_and_told(here: Town) -> None:
    fed = await _fed(here, "bookmarks")
    one = here.users[0]
    await fed.on.store_of(fed.unit.name).execute(  # as somebody's hand would write it
        "INSERT INTO {bookmarks} (user_id, tweet_id, event_id) VALUES (?, ?, 0)", (one, LIST)
    )
    outcome = await _mended(here, fed, Bookmarks(one))
    assert not outcome.is_right and "rebuild" in outcome.problems[0]
    assert await _differing(here, fed, Bookmarks(one)) == []


UNIT_OF = {"account": "accounts", "username": "accounts", "tweet": "tweets", "counts": "engagement"}
UNIT_OF |= {"list": "collections", "bookmarks": "collections"}
BESIDE = ("accounts", "tweets", "engagement")


async def _fed(here: Town, what: str) -> Fed:
    unit = UNIT_OF.get(what, "timelines")
    for other in BESIDE if unit == "timelines" else ():
        await here.built(other, "r")
    return await here.built(unit, "r")


async def _mended(here: Town, fed: Fed, target: Target, *, is_dry: bool = False) -> Outcome:
    with viewed(here.on) as view:
        mender = Mender(fed.on, fed.on, view, target.unit, wait_s=WAIT_S)
        return await mender.mend(target, is_dry=is_dry)


@asynccontextmanager
async def _live(here: Town, fed: Fed, traffic: Traffic) -> AsyncIterator[None]:
    """Events of the key, and a worker that applies them, until the end."""

    async def act() -> None:
        while True:
            await traffic(here)
            await asyncio.sleep(TRAFFIC_S)

    async def work() -> None:
        while True:
            await fed.feed()
            await asyncio.sleep(SLICE_S)

    tasks = [asyncio.create_task(act()), asyncio.create_task(work())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _differing(here: Town, fed: Fed, target: Target) -> Sequence[str]:
    """What readers see of a key that is not the oracle's."""
    with viewed(here.on) as view:
        oracle = OracleSide(view)
        await oracle.reach(await view.ends(), 0)
        side = GenerationSide("r", target.unit, fed.on, fed.on)
        ends = partial(view.ends, topics_of(target.unit, fed.on))
        looker = Looker(side, oracle, ends, wait_s=WAIT_S)
        kinds = {kind.name: kind for kind in KINDS_OF_UNIT[target.unit]}
        found = [await looker.look(kinds[kind], [key]) for kind, key in target.questions]
        return [str(field) for suspects in found for one in suspects for field in one.fields]
