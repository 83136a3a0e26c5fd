"""One user's notifications: each fault is found and mended, and nothing else is touched."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from events.slices import LogRecord
from events.types import (
    DeliveryAddressProposed,
    Event,
    NotificationsRead,
    PreferencesChanged,
    TweetDeleted,
    TweetLiked,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from infra.repair.acts import ActRegisters
from infra.repair.notices import Notifications
from projections.notifications.layout import of_name
from projections.notifications.unit import Notifications as Unit
from projections.store import id_timestamp
from tests.posts import post
from tests.unit.infra.repair.generation import Generation

ANN, BOB, CY = 1, 2, 3
LIKES = "like:1:100"
RETWEETS = "retweet:1:100"


def said(kind: type[Any], number: int, user: int, **fields: Any) -> Event:
    event: Event = kind(event_id=number, occurred_at=1, user_id=user, **fields)
    return event


async def told() -> Generation:
    """Something of every kind about Ann, and something about others."""
    here = await Generation("notifications", Unit).open()
    liked = {"tweet_id": 100, "tweet_author_id": ANN}
    for number, user in enumerate((BOB, CY, 4, 5)):
        here.log.append("engagements", 100, said(TweetLiked, 10 + number, user, **liked))
    here.log.append("engagements", 100, said(TweetUnliked, 20, CY, **liked))
    other = {"tweet_id": 200, "tweet_author_id": BOB}
    here.log.append("engagements", 200, said(TweetLiked, 21, ANN, **other))
    here.log.append("social-graph", BOB, said(UserFollowed, 30, BOB, target_user_id=ANN))
    here.log.append("social-graph", CY, said(UserFollowed, 31, CY, target_user_id=ANN))
    here.log.append("social-graph", CY, said(UserUnfollowed, 32, CY, target_user_id=ANN))
    here.log.append("social-graph", ANN, said(UserFollowed, 33, ANN, target_user_id=BOB))
    retweet = {"retweet_of_id": 100, "retweet_of_user_id": ANN}
    here.log.append("new-tweets", BOB, post(110, BOB, **retweet))
    here.log.append("new-tweets", CY, said(TweetDeleted, 40, CY, tweet_id=111))
    here.log.append("new-tweets", CY, post(111, CY, **retweet))
    here.log.append("new-tweets", BOB, post(112, BOB, reply_to_id=100, reply_to_user_id=ANN))
    here.log.append("new-tweets", BOB, post(113, BOB, text="@Ann and @cy look"))
    here.log.append("user-activity", ANN, said(NotificationsRead, 50, ANN, up_to_id=112))
    here.log.append(
        "user-activity", ANN, said(PreferencesChanged, 51, ANN, preferences={"push.like": True})
    )
    here.log.append(
        "user-activity", ANN, said(PreferencesChanged, 52, ANN, preferences={"push.trend": True})
    )
    proposed = {"channel": "email", "address": "ann@example.com"}
    here.log.append("user-activity", ANN, said(DeliveryAddressProposed, 53, ANN, **proposed))
    await here.feed()
    return here


ann = partial(Notifications, ANN, "Ann", [(6, 66)])

FAULTS = {
    "no act": "DELETE FROM {acts} USING TIMESTAMP 1"
    f" WHERE subject = '{LIKES}' AND actor = 2 AND at_offset = 0",
    "a wrong register": "UPDATE {act_counts} USING TIMESTAMP 5 SET acts = 40"
    f" WHERE act_group = '{LIKES}' AND source = '%s'",
    "no register": f"DELETE FROM {{act_counts}} USING TIMESTAMP 90 WHERE act_group = '{LIKES}'",
    "a register of nobody's": "INSERT INTO {act_counts} (act_group, source, position, acts)"
    f" VALUES ('{RETWEETS}', 'new-tweets/9', 3, 1) USING TIMESTAMP 3",
    "nobody's act": "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group, redriven)"
    f" VALUES ('{LIKES}', 66, 0, 5, '{LIKES}', false) USING TIMESTAMP 1",
    "nobody's retweet": "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group,"
    f" redriven) VALUES ('retweet/6', 66, 0, 6, '{RETWEETS}', false) USING TIMESTAMP 1",
    "an act altered": "UPDATE {acts} USING TIMESTAMP 2 SET act_group = ''"
    " WHERE subject = 'retweet/110' AND actor = 2 AND at_offset = %d",
    "untold": "DELETE FROM {acts_told} USING TIMESTAMP 1"
    f" WHERE act_group = '{RETWEETS}' AND act_id = 110 AND actor = 2",
    "nobody told": "INSERT INTO {acts_told} (act_group, act_id, actor)"
    f" VALUES ('{LIKES}', 5, 66) USING TIMESTAMP 1",
    "no candidate": "DELETE FROM {inbox_tweets} USING TIMESTAMP 1"
    " WHERE addressee = 1 AND span = 0 AND tweet_id = 112",
    "no candidate by name": "DELETE FROM {inbox_tweets} USING TIMESTAMP 1"
    f" WHERE addressee = {of_name('ann')} AND span = 0 AND tweet_id = 113",
    "a candidate of nobody's": "INSERT INTO {inbox_tweets} (addressee, span, tweet_id)"
    " VALUES (1, 0, 999) USING TIMESTAMP 1",
    "no group": "DELETE FROM {inbox_groups} USING TIMESTAMP 1"
    " WHERE addressee = 1 AND span = 0 AND subject = 100 AND kind = 'like'",
    "no span": "DELETE FROM {inbox_spans} USING TIMESTAMP 1 WHERE addressee = 1 AND span = 0",
    "not read so far": f"UPDATE {{notices_read}} USING TIMESTAMP {id_timestamp(112) + 1}"
    " SET up_to_id = 7 WHERE user_id = 1",
    "a switch": "UPDATE {notice_preferences} USING TIMESTAMP 3 SET enabled = false"
    " WHERE user_id = 1 AND name = 'push.like'",
    "no taker": "DELETE FROM {notice_takers} USING TIMESTAMP 3"
    " WHERE scope = 'notifications' AND name = 'push.trend' AND shard = 1 AND user_id = 1",
    "a proposal": "UPDATE {notice_proposals} USING TIMESTAMP 5 SET address = 'bob@example.com'"
    " WHERE user_id = 1 AND channel = 'email'",
    "a switch of nobody's": "INSERT INTO {notice_preferences} (user_id, name, enabled)"
    " VALUES (1, 'push.reply', false) USING TIMESTAMP 1",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found_and_mended(fault: str) -> None:
    here = await told()
    assert await here.wrong(ann()) == []
    right = await here.all()
    ((source,),) = await here.store.execute(
        "SELECT source FROM {act_counts} WHERE act_group = ?", (LIKES,)
    )
    ((offset,),) = await here.store.execute(
        "SELECT at_offset FROM {acts} WHERE subject = 'retweet/110' AND actor = 2"
    )
    cql = FAULTS[fault]
    cql = cql % source if "%s" in cql else cql % offset if "%d" in cql else cql
    await here.store.execute(cql)
    assert await here.all() != right
    assert await here.mend(ann())
    assert _counted(await here.all()) == _counted(right)
    assert await here.wrong(ann()) == []


def _counted(tables: dict[str, Any]) -> dict[str, Any]:
    """Registers say the same from the last act up to the end of their partition."""
    counts = [(group, source, acts) for group, source, _, acts in tables["act_counts"]]
    return tables | {"act_counts": counts}


LATE_FAULTS = {
    "an act in order": "UPDATE {acts} USING TIMESTAMP 2 SET redriven = false"
    f" WHERE subject = '{LIKES}' AND actor = 7 AND at_offset = %d",
    "no mark": f"DELETE FROM {{acts_redriven}} USING TIMESTAMP 1 WHERE act_group = '{LIKES}'"
    f" AND subject = '{LIKES}' AND actor = 7",
    "a mark of nobody's": "INSERT INTO {acts_redriven} (act_group, subject, actor)"
    f" VALUES ('{LIKES}', '{LIKES}', 66) USING TIMESTAMP 1",
    "counted in its place": "UPDATE {act_counts} USING TIMESTAMP 9 SET acts = 6"
    f" WHERE act_group = '{LIKES}' AND source = '%s'",
}


@pytest.mark.parametrize("fault", LATE_FAULTS)
async def test_what_was_sent_back_is_mended_as_it_was_applied(fault: str) -> None:
    here = await told()
    liked = said(TweetLiked, 80, 7, tweet_id=100, tweet_author_id=ANN)
    late = here.log.append("engagements", 100, liked)
    here.log.send_back(late)
    then = said(TweetUnliked, 81, 7, tweet_id=100, tweet_author_id=ANN)
    again = said(TweetLiked, 82, 7, tweet_id=100, tweet_author_id=ANN)
    for event in (then, again):
        here.log.append("engagements", 100, event)
    await here.feed()
    assert await here.wrong(ann()) == []
    right = await here.all()
    assert any(row[-1] == 7 for row in right["acts_redriven"])
    cql = LATE_FAULTS[fault]
    cql = cql.replace("%d", str(late.offset)).replace("%s", f"engagements/{_partition(here)}")
    await here.store.execute(cql)
    assert await here.all() != right
    assert await here.mend(ann())
    assert _counted(await here.all()) == _counted(right)
    assert await here.wrong(ann()) == []


async def test_what_comes_after_a_repair_counts_on_from_it() -> None:
    here, other = await told(), await told()
    await here.store.execute(
        "UPDATE {act_counts} USING TIMESTAMP 90 SET acts = 40, position = 90"
        f" WHERE act_group = '{LIKES}' AND source = 'engagements/{_partition(here)}'"
    )
    found = await here.mend(ann())
    assert "above the log" in " ".join(found)  # and so it has to be rebuilt
    here = await told()
    await here.store.execute(
        "UPDATE {act_counts} USING TIMESTAMP 5 SET acts = 40"
        f" WHERE act_group = '{LIKES}' AND source = 'engagements/{_partition(here)}'"
    )
    await here.mend(ann())
    for one in (here, other):
        for number in (60, 61):
            liked = said(TweetLiked, number, number, tweet_id=100, tweet_author_id=ANN)
            one.log.append("engagements", 100, liked)
        await one.feed()
    assert await here.wrong(ann()) == []
    assert _counted(await here.all()) == _counted(await other.all())


def _partition(here: Generation) -> int:
    ((_, partition),) = here.log.places("engagements", [100])
    return partition


async def test_what_is_about_others_is_left_as_it_is() -> None:
    here = await told()
    await here.store.execute(
        "INSERT INTO {inbox_tweets} (addressee, span, tweet_id) VALUES (2, 0, 999)"
    )
    await here.store.execute(
        "INSERT INTO {acts_told} (act_group, act_id, actor) VALUES ('like:2:200', 9, 9)"
    )
    await here.store.execute(  # whatever else somebody posted under an id
        "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group, redriven)"
        " VALUES ('retweet/110', 9, 0, 110, 'retweet:2:200', false)"
    )
    assert await here.wrong(ann()) == []


async def test_a_group_too_many_is_left_for_the_event_that_may_come() -> None:
    here = await told()
    await here.store.execute(
        "INSERT INTO {inbox_groups} (addressee, span, subject, kind) VALUES (1, 0, 300, 'like')"
        " USING TIMESTAMP 1"
    )
    assert await here.wrong(ann()) == []


async def test_what_no_worker_has_surely_applied_is_right_either_way() -> None:
    here = await told()
    liked = said(TweetLiked, 70, 70, tweet_id=100, tweet_author_id=ANN)
    here.log.append("engagements", 100, liked)
    assert await here.wrong(ann()) == []
    behind = dict(here.applied)
    await here.feed()
    here.applied = behind
    assert await here.wrong(ann()) == []


async def test_registers_of_every_position_are_known() -> None:
    here = await told()
    place = ("engagements", _partition(here))
    records = [record for record in here.log.all if record[:2] == place]
    found = ActRegisters(place, [LIKES, "like:9:9"])
    found.add(records)
    acts = [_acts(found, position) for position in range(len(records) + 1)]
    standing = 0
    for record, now in zip(records, acts[1:], strict=True):
        standing += _change(record)
        assert now == standing
    assert acts[0] is None


def _acts(found: ActRegisters, position: int) -> int | None:
    rows = [values for _, values in found.rows(position)]
    return rows[0][3] if rows else None


def _change(record: LogRecord) -> int:
    event = record.event
    if getattr(event, "tweet_author_id", None) != ANN:
        return 0
    return -1 if isinstance(event, TweetUnliked) else 1
