"""Two generations of one log look the same; what is planted in one of them is found and told."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from events.types import (
    DeliveryAddressAdded,
    ListCreated,
    ListMemberAdded,
    NotificationsRead,
    PreferencesChanged,
    TweetBookmarked,
)
from infra import compose
from infra.diff.compare import Report, compare, key_words
from infra.diff.oracle import compare_with_oracle
from infra.diff.views import KINDS_OF_UNIT
from infra.settings import Settings
from projections.engagement.layout import COUNTS
from projections.listing import NEWEST
from projections.notifications.layout import LIKE, Group
from projections.search.layout import by_author, index_key
from projections.trends.layout import FOUND, Began
from tests.integration.infra.generations import Fed, Town, town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(400)]

EVENTS = 700
WAIT_S = 30.0
PLANTED_AT = 1 << 49
"""Above every timestamp that the log gives but an erasure's."""

BESIDE = {
    "timelines": ("accounts", "tweets", "engagement"),
    "search": ("tweets",),
    "notifications": ("tweets",),
    "trends": ("tweets",),
}
"""Units that are read beside a unit."""

LONG = ("timelines", "tweets", "notifications")
"""Units of which this takes half a minute: `make long` plants in them."""

SHOWN = 1000
"""More than differ: who follows an author sees what is planted on him."""

NOBODY = 7
"""An id that was never given to anybody."""

LIST = 70

logger = logging.getLogger(__name__)
Key = tuple[str, str]


@pytest.fixture(scope="module")
async def here(stack: Settings) -> AsyncIterator[Town]:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    async with town(stack, events=EVENTS, seed=seed) as made:
        owner, member = made.users[:2]
        named = {"name": "people", "description": "", "private": False}
        await made.append(ListCreated, list_id=LIST, user_id=owner, **named)
        await made.append(ListMemberAdded, list_id=LIST, user_id=owner, member_id=member)
        await made.append(TweetBookmarked, user_id=member, tweet_id=NOBODY)
        await made.append(NotificationsRead, user_id=member, up_to_id=NOBODY)
        await made.append(PreferencesChanged, user_id=owner, preferences={"push.reply": False})
        where = {"channel": "email", "address": "member@example.com"}
        await made.append(DeliveryAddressAdded, user_id=member, **where)
        yield made


@pytest.mark.parametrize(
    "unit",
    [pytest.param(unit, marks=pytest.mark.long if unit in LONG else ()) for unit in KINDS_OF_UNIT],
)
async def test_what_is_planted_in_one_of_two_equal_generations_is_found(
    here: Town, unit: str
) -> None:
    for other in (*BESIDE.get(unit, ()), unit):
        await here.built(other, "a")
    b = await here.built(unit, "b")
    report = await _compared(here, unit, b)
    assert report.equal and all(total.compared for total in report.totals), report
    oracle = await _compared_with_oracle(here, unit, b)
    assert oracle.equal and all(total.compared for total in oracle.totals), oracle

    planted = await PLANTS[unit](b)
    for found in (
        await _compared(here, unit, b),
        await compare_with_oracle(
            b.on, unit, name="b", sample=None, seed=1, beside=(await here.built(unit, "a")).on
        ),
    ):
        assert not found.equal
        told = {(one.kind, one.key): one for one in found.differences}
        assert planted.keys() <= told.keys(), (planted, found)
        for key, (path, explained) in planted.items():
            assert any(field.path.startswith(path) for field in told[key].fields), told[key]
            assert bool(told[key].events) == explained, told[key]
        assert sum(total.different for total in found.totals) >= len(planted)


@pytest.mark.parametrize("unit", ["engagement", pytest.param("timelines", marks=pytest.mark.long)])
async def test_generations_are_equal_while_events_come_and_one_lags(here: Town, unit: str) -> None:
    for other in BESIDE.get(unit, ()):
        await here.built(other, "a")
    a, b = await here.built(unit, "a"), await here.built(unit, "c")
    beside = (await here.built(unit, "a")).on
    await here.act(200)
    await a.feed()
    comparing = asyncio.create_task(
        compare(
            a.on, b.on, unit, names=("a", "c"), sample=None, seed=1, beside=beside, wait_s=WAIT_S
        )
    )
    view = here.view()
    upto = await view.ends(a.unit.topics)
    while not comparing.done():
        await asyncio.wait({comparing}, timeout=0.3)
        await here.act(20)
        behind, upto = upto, await view.ends(a.unit.topics)
        await a.feed(upto)
        await b.feed(behind)
    report = await comparing
    assert report.equal, report
    assert sum(total.looked_again for total in report.totals) > 0


async def test_a_generation_that_is_not_fed_is_not_taken_for_equal(here: Town) -> None:
    a, b = await here.built("collections", "a"), await here.built("collections", "d")
    b_at = await b.on.applied("collections").all()
    user = here.users[0]
    await here.append(TweetBookmarked, user_id=user, tweet_id=NOBODY)
    await a.feed()
    report = await compare(
        a.on, b.on, "collections", names=("a", "d"), sample=None, seed=1, wait_s=0.5
    )
    assert not report.equal and report.behind == ["d"]
    assert report.unsettled == [f"user {user}"] and not report.differences
    assert await b.on.applied("collections").all() == b_at


async def test_the_command_says_by_its_exit_status_whether_they_are_equal(here: Town) -> None:
    await here.built("collections", "a")
    b = await here.built("collections", "d")
    status, said = await _command(here, "collections", "a", "d")
    assert (status, said["equal"], said["differences"]) == (0, True, [])
    planted = await PLANTS["collections"](b)
    status, said = await _command(here, "collections", "a", "d")
    assert (status, said["equal"]) == (1, False)
    assert planted.keys() <= {(one["kind"], one["key"]) for one in said["differences"]}


async def _command(here: Town, unit: str, a: str, b: str) -> tuple[int, Any]:
    settings = here.on.settings
    env = {
        "PATH": "",
        "MURMUR_DATA_DIR": str(settings.data_dir),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "PYTHONPATH": ":".join(sys.path),
    }
    argv = ("-m", "infra.cli.main", "diff", unit, here.name(a), here.name(b), "--all", "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, env=env, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return process.returncode or 0, msgspec.json.decode(said)


async def _compared(here: Town, unit: str, b: Fed) -> Report:
    a = (await here.built(unit, "a")).on
    asked: Any = {"sample": None, "seed": 1, "wait_s": WAIT_S, "shown": SHOWN}
    return await compare(a, b.on, unit, names=("a", "b"), **asked)


async def _compared_with_oracle(here: Town, unit: str, b: Fed) -> Report:
    a = (await here.built(unit, "a")).on
    return await compare_with_oracle(
        b.on, unit, name="b", sample=None, seed=1, beside=a, shown=SHOWN
    )


# What is planted: a wrong row, a missing one, one too many. Returned is, by kind and key, the path
# that differs and whether the log has events that explain it.

Planted = dict[Key, tuple[str, bool]]


async def _in_accounts(b: Fed) -> Planted:
    store = b.on.store_of(b.unit.name)
    rows = await store.execute("SELECT user_id, created_at FROM {accounts}")
    wrong, missing = [user for user, created_at in rows if created_at][:2]
    await store.execute(
        "UPDATE {accounts} USING TIMESTAMP ? SET new_name = ? WHERE user_id = ?",
        (PLANTED_AT, "somebody else", wrong),
    )
    await store.execute(
        "DELETE FROM {accounts} USING TIMESTAMP ? WHERE user_id = ?", (PLANTED_AT, missing)
    )
    await store.execute(
        "INSERT INTO {username_claims} (username_key, claim_offset, user_id, username, event_id)"
        " VALUES ('nobody', 0, 7, 'Nobody', 7)"
    )
    return {
        ("user", str(wrong)): ("profile.name", True),
        ("user", str(missing)): ("", True),
        ("username", "nobody"): ("", False),
    }


async def _in_tweets(b: Fed) -> Planted:
    store = b.on.store_of(b.unit.name)
    rows = await store.execute("SELECT tweet_id, author_id, fragment FROM {tweets}")
    one, two, three = [row for row in rows if row[2]][:3]
    write = (
        "INSERT INTO {tweets} (tweet_id, author_id, fragment) VALUES (?, ?, ?) USING TIMESTAMP ?"
    )
    await store.execute(write, (*one[:2], three[2], PLANTED_AT))
    await store.execute(
        "DELETE FROM {tweets} USING TIMESTAMP ? WHERE tweet_id = ?", (PLANTED_AT, two[0])
    )
    await store.execute(write, (NOBODY, *three[1:], PLANTED_AT))
    return {
        ("tweet", str(one[0])): ("tweet.", True),
        ("tweet", str(two[0])): ("tweet", True),
        ("tweet", str(NOBODY)): ("tweet", False),
    }


async def _in_timelines(b: Fed) -> Planted:
    store = b.on.store_of(b.unit.name)
    rows = await store.execute(
        "SELECT user_id, other_id, follow_id, last_block_id FROM {graph_out}"
    )
    reader, followed = next((u, o) for u, o, follow, block in rows if follow and not block)
    posts = await store.execute("SELECT author_id, tweet_id, deleted FROM {author_tweets}")
    author, gone = next((a, t) for a, t, deleted in posts if not deleted and a != reader)
    await store.execute(
        "UPDATE {graph_out} USING TIMESTAMP ? SET follow_id = 0 WHERE user_id = ? AND other_id = ?",
        (PLANTED_AT, reader, followed),
    )
    await store.execute(
        "DELETE FROM {author_tweets} USING TIMESTAMP ? WHERE author_id = ? AND tweet_id = ?",
        (PLANTED_AT, author, gone),
    )
    await store.execute(
        "INSERT INTO {author_tweets} (author_id, tweet_id, reply_to_user_id, retweet_of_id)"
        " VALUES (?, ?, 0, 0)",
        (NOBODY, NOBODY),
    )
    return {
        ("timeline", str(reader)): (f"following[{followed}]", True),
        ("timeline", str(author)): (f"posted[{gone}]", True),
        ("timeline", str(NOBODY)): (f"posted[{NOBODY}]", False),
    }


async def _in_engagement(b: Fed) -> Planted:
    store = b.on.store_of(b.unit.name)
    rows = await store.execute("SELECT tweet_id, source, likes FROM {tallies}")
    wrong, source, likes = max((row for row in rows if row[2]), key=lambda row: row[2])
    liked = await store.execute("SELECT user_id, tweet_id, event_id FROM {likes_of}")
    user = next(user for user, tweet, _ in liked if tweet != wrong)
    await store.execute(
        "UPDATE {tallies} USING TIMESTAMP ? SET likes = ? WHERE tweet_id = ? AND source = ?",
        (PLANTED_AT, likes + 3, wrong, source),
    )
    await store.execute(
        "DELETE FROM {likes_of} USING TIMESTAMP ? WHERE user_id = ?", (PLANTED_AT, user)
    )
    await store.execute(
        "INSERT INTO {tallies} (tweet_id, source, position, likes, views)"
        " VALUES (?, 'engagements/0', 1, 1, 0)",
        (NOBODY,),
    )
    keys = b.on.keys("engagement")
    await b.on.bus.call("DEL", keys.of(COUNTS, wrong))  # readers are shown the store's
    return {
        ("counts", str(wrong)): ("likes", True),
        ("likes", str(user)): ("tweets[", True),
        ("counts", str(NOBODY)): ("likes", False),
    }


async def _in_collections(b: Fed) -> Planted:
    store = b.on.store_of(b.unit.name)
    # One that stands: of the others some are deleted, or a stranger's words.
    by_list = "SELECT list_id, user_id FROM {lists} WHERE list_id = ?"
    ((wrong, owner), *_) = await store.execute(by_list, (LIST,))
    marks = await store.execute("SELECT user_id, tweet_id, event_id FROM {bookmarks}")
    user = next(user for user, _, event_id in marks if event_id)
    await store.execute(
        "UPDATE {lists} USING TIMESTAMP ? SET new_name = ? WHERE list_id = ? AND user_id = ?",
        (PLANTED_AT, "another name", wrong, owner),
    )
    await store.execute(
        "DELETE FROM {bookmarks} USING TIMESTAMP ? WHERE user_id = ?", (PLANTED_AT, user)
    )
    await store.execute("INSERT INTO {bookmarks} (user_id, tweet_id, event_id) VALUES (7, 7, 7)")
    await store.execute("INSERT INTO {bookmarks_of} (user_id, event_id, tweet_id) VALUES (7, 7, 7)")
    return {
        ("list", str(wrong)): ("name", True),
        ("user", str(user)): ("bookmarks[", True),
        ("user", str(NOBODY)): ("bookmarks[7]", False),
    }


async def _in_search(b: Fed) -> Planted:
    """A tweet is taken for deleted by the archive, which is asked since Redis has no index."""
    store, keys = b.on.store_of(b.unit.name), b.on.keys(b.unit.name)
    rows = await store.execute("SELECT tweet_id, author_id, deleted FROM {documents} LIMIT 200")
    tweet, author = next((tweet, author) for tweet, author, deleted in rows if not deleted)
    await store.execute(
        "INSERT INTO {documents} (tweet_id, author_id, deleted) VALUES (?, ?, true) "
        "USING TIMESTAMP ?",
        (tweet, author, PLANTED_AT),
    )
    await b.on.bus.calls_strict([("DEL", index_key(keys, n)) for n in range(keys.buckets)])
    return {("term", by_author(author)): ("tweets", True)}


async def _in_notifications(b: Fed) -> Planted:
    """The name of somebody who likes a tweet is lost, and nobody is said to have read."""
    store, reader = b.on.store_of(b.unit.name), compose.notifications_reader(b.on)
    rows = await store.execute("SELECT DISTINCT act_group FROM {acts_told}")
    for (name,) in rows:
        group = Group.named(name)
        acts, _ = await reader.acts(group, NEWEST, 10)
        if group.kind == LIKE and acts:
            break
    await store.execute(
        "DELETE FROM {acts_told} USING TIMESTAMP ? "
        "WHERE act_group = ? AND act_id = ? AND actor = ?",
        (PLANTED_AT, name, acts[0].at, acts[0].user_id),
    )
    await store.execute("INSERT INTO {notices_read} (user_id, up_to_id) VALUES (7, 7)")
    return {
        ("inbox", str(group.user_id)): (f"groups.like {group.subject}.acts[", True),
        ("settings", str(NOBODY)): ("read_up_to", False),
    }


async def _in_trends(b: Fed) -> Planted:
    """A trend is made up, what began is changed, and a use is lost."""
    store = b.on.store_of(b.unit.name)
    rows = await store.execute("SELECT scope, woeid, day, window_end, found FROM {trends}")
    scope, woeid, day, end, found = next(row for row in rows if FOUND.decode(row[4]))
    wrong = [msgspec.structs.replace(one, volume=one.volume + 9) for one in FOUND.decode(found)]
    await store.execute(
        "INSERT INTO {trends} (scope, woeid, day, window_end, found) VALUES (?, ?, ?, ?, ?) "
        "USING TIMESTAMP ?",
        (scope, woeid, day, end, msgspec.json.encode(wrong), PLANTED_AT),
    )
    ((*began, _),) = await store.execute(
        "SELECT scope, day, window_end, found FROM {trend_starts} LIMIT 1"
    )
    await store.execute(
        "INSERT INTO {trend_starts} (scope, day, window_end, found) VALUES (?, ?, ?, ?) "
        "USING TIMESTAMP ?",
        (*began, msgspec.msgpack.encode([Began("#planted", "#planted", 9)]), PLANTED_AT),
    )
    uses = await store.execute("SELECT slot, shard FROM {trend_uses} LIMIT 1")
    ((slot, shard),) = uses
    await store.execute(
        "DELETE FROM {trend_uses} USING TIMESTAMP ? WHERE scope = ? AND slot = ? AND shard = ?",
        (PLANTED_AT, scope, slot, shard),
    )
    return {
        ("trends", key_words((scope, woeid, day))): (str(end), False),
        ("starts", key_words((began[0], began[1]))): (str(began[2]), False),
        ("uses", key_words((scope, slot, shard))): ("uses", True),
    }


PLANTS: dict[str, Callable[[Fed], Awaitable[Planted]]] = {
    "accounts": _in_accounts,
    "tweets": _in_tweets,
    "timelines": _in_timelines,
    "engagement": _in_engagement,
    "collections": _in_collections,
    "search": _in_search,
    "notifications": _in_notifications,
    "trends": _in_trends,
}
