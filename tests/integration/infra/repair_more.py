"""What is told, planted and said meanwhile of search, trends and notifications; see the modules
beside this one."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from events.types import (
    Event,
    NotificationsRead,
    PreferencesChanged,
    TweetDeleted,
    TweetLiked,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from infra.repair.service import targets
from infra.repair.targets import Target
from projections.notifications.layout import HEAD, LIKE, SETTINGS, Group, Part, Settings
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
    ((offset,),) = await execute(
        "SELECT at_offset FROM {acts} WHERE subject = ? AND actor = ?", (group, two)
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


PLANTS: dict[str, Plant] = {"notifications": _notifications}

TRAFFIC = {"notifications": _acts}

UNIT_OF = {"notifications": "notifications"}
