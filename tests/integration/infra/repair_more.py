"""What is told, planted and said meanwhile of search, trends and notifications; see the modules
beside this one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from events.types import (
    Event,
    NotificationsRead,
    PreferencesChanged,
    ProfileChanged,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from infra import compose
from infra.diff.keys import Key
from infra.repair.searched import Searched
from infra.repair.service import targets
from infra.repair.targets import Target
from projections.notifications.layout import HEAD, LIKE, SETTINGS, Group, Part, Settings
from projections.search.entries import Entries
from projections.search.layout import document
from projections.store import id_timestamp
from tests.integration.infra.generations import Fed, Town
from tests.integration.infra.repair_plants import OTHER, Plant, post

RETWEET = 102


async def tell(here: Town) -> None:
    """Appends something of every key."""
    one, _, three = here.users[:3]
    await post(here, RETWEET, three, retweet_of_id=100, retweet_of_user_id=one)
    await here.append(NotificationsRead, user_id=one, up_to_id=100)
    await here.append(PreferencesChanged, user_id=one, preferences={"push.like": True})


# --- notifications ---


async def _notifications(here: Town, fed: Fed) -> Target:
    one, two, three = here.users[:3]
    execute = fed.on.store_of(fed.unit.name).execute
    group = Group(LIKE, one, 100).name
    ((source, position),) = await execute(
        "SELECT source, position FROM {act_counts} WHERE act_group = ?", (group,)
    )
    await execute(
        "UPDATE {act_counts} USING TIMESTAMP ? SET acts = 40 WHERE act_group = ? AND source = ?",
        (position, group, source),
    )
    # The first of what he said: other tests of this town may have had him say more.
    offset = min(
        at
        for (at,) in await execute(
            "SELECT at_offset FROM {acts} WHERE subject = ? AND actor = ?", (group, two)
        )
    )
    await execute(
        "DELETE FROM {acts} USING TIMESTAMP 1 WHERE subject = ? AND actor = ? AND at_offset = ?",
        (group, two, offset),
    )
    await execute(
        "DELETE FROM {acts_told} USING TIMESTAMP 1"
        " WHERE act_group = ? AND act_id = ? AND actor = ?",
        (f"retweet:{one}:100", RETWEET, three),
    )
    await execute(  # somebody who never liked it
        "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group, redriven)"
        " VALUES (?, ?, 0, 5, ?, false) USING TIMESTAMP 1",
        (group, OTHER, group),
    )
    await execute(
        "INSERT INTO {acts_told} (act_group, act_id, actor) VALUES (?, 5, ?) USING TIMESTAMP 1",
        (group, OTHER),
    )
    await execute(  # and somebody who retweeted nothing
        "INSERT INTO {acts_told} (act_group, act_id, actor) VALUES (?, 6, ?) USING TIMESTAMP 1",
        (f"retweet:{one}:100", OTHER),
    )
    await execute(
        "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group, redriven)"
        " VALUES ('retweet/6', ?, 0, 6, ?, false) USING TIMESTAMP 1",
        (OTHER, f"retweet:{one}:100"),
    )
    await execute(
        "DELETE FROM {inbox_tweets} USING TIMESTAMP 1"
        " WHERE addressee = ? AND span = 0 AND tweet_id = 101",
        (one,),
    )
    await execute(
        "UPDATE {notices_read} USING TIMESTAMP ? SET up_to_id = 7 WHERE user_id = ?",
        (id_timestamp(100) + 1, one),
    )
    await execute(
        "INSERT INTO {notice_preferences} (user_id, name, enabled) VALUES (?, 'push.reply', false)"
        " USING TIMESTAMP 1",
        (one,),
    )
    keys = fed.on.keys("notifications")
    for kind, value in ((HEAD, Part([], [], 0)), (SETTINGS, Settings(9, {}))):
        await fed.on.bus.call("SET", keys.of(kind, one), msgspec.msgpack.encode(value))
    return await anext(targets(fed.on, "notifications", str(one)))


async def _acts(here: Town) -> Event:
    one, user = here.users[0], random.choice(here.users[1:])
    kind = random.choice((TweetLiked, TweetUnliked, UserFollowed, UserUnfollowed, None, None))
    fields: dict[str, Any] = {"user_id": user}
    if kind in (TweetLiked, TweetUnliked):
        return await here.append(kind, tweet_id=100, tweet_author_id=one, **fields)
    if kind is not None:
        return await here.append(kind, target_user_id=one, **fields)
    tweet_id = await here.minter.mint()
    about = random.choice(("retweet_of", "reply_to", "quote_of", "deleted", "read"))
    if about == "deleted":
        return await here.append(TweetDeleted, tweet_id=RETWEET, user_id=here.users[2])
    if about == "read":
        return await here.append(NotificationsRead, user_id=one, up_to_id=tweet_id)
    return await post(here, tweet_id, user, **{f"{about}_id": 100, f"{about}_user_id": one})


# --- search ---


async def _search(here: Town, fed: Fed) -> Target:
    one = here.users[0]
    execute = fed.on.store_of(fed.unit.name).execute
    ((offset,),) = await execute(
        "SELECT posted_at FROM {documents} WHERE tweet_id = 100 AND author_id = ?", (one,)
    )
    await execute(
        "UPDATE {documents} USING TIMESTAMP 1 SET language = 'xx', deleted = true"
        " WHERE tweet_id = 100 AND author_id = ?",
        (one,),
    )
    for term, span in (("said", 0), ("@held", 0)):
        key = (term, 100, one, offset)
        rare = "WHERE term = ? AND tweet_id = ? AND author_id = ? AND posted_at = ?"
        if term == "said":
            await execute(f"DELETE FROM {{rare_postings}} USING TIMESTAMP 1 {rare}", key)
            by_span = rare.replace("term = ?", "term = ? AND span = ?")
            await execute(
                f"DELETE FROM {{postings}} USING TIMESTAMP 1 {by_span}", (term, span, *key[1:])
            )
        else:
            cql = f"UPDATE {{rare_postings}} USING TIMESTAMP 2 SET places = ? {rare}"
            await execute(cql, (b"\x09", *key))
    await execute(
        "INSERT INTO {rare_postings} (term, tweet_id, author_id, posted_at, places)"
        " VALUES ('said', 100, ?, -1, ?) USING TIMESTAMP 1",
        (one, b"\x01"),
    )
    entries = Entries(fed.on.bus, fed.on.keys("search"), compose.search_window(fed.on))
    seen = await entries.read(100, one, ())
    assert seen is not None and seen.is_there
    other = TweetPosted(
        event_id=1, occurred_at=1, tweet_id=100, user_id=one, text="nothing of the kind",
        created_at=1, conversation_id=100,
    )  # fmt: skip
    assert await fed.on.bus.call(*entries.posted(seen, document(other, offset))) == 1
    return await anext(targets(fed.on, "search", "100"))


async def _posts(here: Town) -> Event:
    """What says the same words, or something of the tweet that changes nothing."""
    user, tweet_id = random.choice(here.users), await here.minter.mint()
    kind = random.choice(("more", "again", "deleted", "more"))
    if kind == "deleted":
        return await here.append(TweetDeleted, tweet_id=100, user_id=OTHER)
    if kind == "again":
        return await post(here, 100, here.users[0])
    return await post(here, tweet_id, user)


async def _people(here: Town, fed: Fed) -> Target:
    one = here.users[0]
    execute = fed.on.store_of(fed.unit.name).execute
    rows = await execute("SELECT start, word, user_id FROM {people}")
    names = [row for row in rows if row[2] == one]
    assert len(names) > 1
    for name in names:
        await execute(
            "DELETE FROM {people} USING TIMESTAMP 1 WHERE start = ? AND word = ? AND user_id = ?",
            name,
        )
    return await anext(targets(fed.on, "people", str(one)))


async def _named(here: Town) -> Event:
    name = f"Held {random.randrange(10)}"
    return await here.append(ProfileChanged, user_id=here.users[0], name=name)


def questions(target: Target) -> Sequence[tuple[str, Key]]:
    """What is asked of a target, if it names nothing itself."""
    if isinstance(target, Searched):
        return [("term", term) for term in ("said", "@held", "conversation:100", "nothing")]
    return target.questions


PLANTS: dict[str, Plant] = {"notifications": _notifications, "search": _search, "people": _people}

TRAFFIC = {"notifications": _acts, "search": _posts, "people": _named}

UNIT_OF = {"notifications": "notifications", "search": "search", "people": "search"}
