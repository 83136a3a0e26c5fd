"""What units rely on of the engines: the same on the real ones and on those in memory."""

from __future__ import annotations

from secrets import randbits, token_hex

import pytest

from projections.base import Unit
from projections.bus import CommandError
from projections.functions import EFFECTS
from projections.positions import POSITIONS_TABLE
from tests.contracts.case import World
from tests.contracts.collections_case import CollectionsCase
from tests.contracts.timelines_case import TimelinesCase

_FOLLOW = (
    "UPDATE {graph_out} USING TIMESTAMP ? SET follow_id = ? WHERE user_id = ? AND other_id = ?"
)
_FOLLOWS = "SELECT other_id, follow_id, WRITETIME(follow_id) FROM {graph_out} WHERE user_id = ?"
_ENTER = (
    "INSERT INTO {tier_states} (scope, author_id, state, change) VALUES (?, ?, ?, ?) IF NOT EXISTS"
)
_MOVE = (
    "UPDATE {tier_states} SET state = ?, change = ? WHERE scope = ? AND author_id = ? "
    "IF state = ? AND change = ?"
)
_LEAVE = "DELETE FROM {tier_states} WHERE scope = ? AND author_id = ? IF state = ? AND change = ?"
_STATES = "SELECT author_id, state FROM {tier_states} WHERE scope = ?"
_POSITION = (
    "INSERT INTO {positions} (unit, topic, partition, topic_id, next_offset) "
    "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
)


@pytest.fixture
async def opened(world: World) -> World:
    """A generation that has the tables of two units."""
    units: list[Unit] = [TimelinesCase().unit(world), CollectionsCase().unit(world)]
    for unit in units:
        await unit.open()
    await world.store.create("positions", POSITIONS_TABLE)
    return world


async def test_the_highest_write_timestamp_stays(opened: World) -> None:
    store, user = opened.store, randbits(60)
    for at, value in ((5, 50), (7, 70), (6, 60), (-3, 1), (-9, 2)):
        await store.execute(_FOLLOW, (at, value, user, 1 if at > 0 else 2))
    assert await store.execute(_FOLLOWS, (user,)) == [(1, 70, 7), (2, 1, -3)]


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (-1, 1), (1, -1)])
async def test_of_equal_timestamps_the_greater_bytes_stay(
    opened: World, order: tuple[int, int]
) -> None:
    store, user = opened.store, randbits(60)
    for value in order:
        await store.write([(_FOLLOW, (3, value, user, 9))])
    expected = 2 if min(order) > 0 else -1  # bytes have no sign
    assert await store.execute(_FOLLOWS, (user,)) == [(9, expected, 3)]


async def test_a_cell_that_is_deleted_hides_what_is_not_newer(opened: World) -> None:
    store, user = opened.store, randbits(60)
    for at, value in ((4, 1), (4, None), (3, 2), (4, 3)):
        await store.execute(_FOLLOW, (at, value, user, 9))
    assert await store.execute(_FOLLOWS, (user,)) == []  # an UPDATE makes no row by itself
    await store.execute(_FOLLOW, (5, 7, user, 9))
    assert await store.execute(_FOLLOWS, (user,)) == [(9, 7, 5)]


async def test_a_row_is_there_that_was_inserted_without_a_value(opened: World) -> None:
    store, unit = opened.store, token_hex(8)
    await store.execute(_POSITION, (unit, "t", 1, None, None, 5))
    cql = "SELECT partition, next_offset FROM {positions} WHERE unit = ? AND topic = ?"
    assert await store.execute(cql, (unit, "t")) == [(1, None)]


async def test_rows_come_in_clustering_order_within_bounds(opened: World) -> None:
    store, author = opened.store, randbits(60)
    cql = "UPDATE {author_tweets} USING TIMESTAMP ? SET deleted = true WHERE author_id = ? AND "
    for tweet in (3, 1, 2, 5, 4):
        await store.execute(cql + "tweet_id = ?", (1, author, tweet))
    await store.execute(cql + "tweet_id = ?", (1, author + 1, 9))
    read = "SELECT tweet_id FROM {author_tweets} WHERE author_id = ? AND "

    async def found(rest: str, *values: object) -> list[int]:
        return [row[0] for row in await store.execute(read + rest, (author, *values))]

    assert await found("tweet_id < ?", 9) == [5, 4, 3, 2, 1]
    assert await found("tweet_id < ? LIMIT ?", 4, 2) == [3, 2]
    assert await found("tweet_id <= ? AND tweet_id >= ?", 4, 2) == [4, 3, 2]
    assert await found("tweet_id > ? ORDER BY tweet_id ASC LIMIT 2", 2) == [3, 4]
    assert await found("tweet_id IN ?", [5, 1, 7, 1]) == [5, 1]
    pages = await store.execute(
        "SELECT author_id, tweet_id FROM {author_tweets} WHERE author_id IN ? AND tweet_id < ? "
        "PER PARTITION LIMIT ?",
        ([author, author + 1, author + 2], 99, 2),
    )
    assert sorted(pages) == [(author, 4), (author, 5), (author + 1, 9)]


async def test_what_is_no_key_is_filtered_and_counted(opened: World) -> None:
    store, list_id = opened.store, randbits(60)
    cql = (
        "INSERT INTO {list_members} (list_id, user_id, member_id, event_id) VALUES (?, ?, ?, ?) "
        "USING TIMESTAMP ?"
    )
    for member, event in ((1, 0), (2, 7), (3, 8)):
        await store.execute(cql, (list_id, 1, member, event, 1))
    where = "FROM {list_members} WHERE list_id = ? AND user_id = ? AND event_id > 0"
    counted = await store.execute(f"SELECT COUNT(*) {where} ALLOW FILTERING", (list_id, 1))
    assert counted == [(2,)]
    cql = f"SELECT member_id {where} LIMIT ? ALLOW FILTERING"
    assert await store.execute(cql, (list_id, 1, 1)) == [(2,)]


async def test_a_lightweight_transaction_is_done_if_its_condition_holds(opened: World) -> None:
    store, scope = opened.store, token_hex(8)

    async def applied(cql: str, *values: object) -> bool:
        ((said, *_),) = await store.execute(cql, values)
        return bool(said)

    assert await applied(_ENTER, scope, 1, "promoting", "a")
    assert not await applied(_ENTER, scope, 1, "promoting", "b")
    assert not await applied(_MOVE, "celebrity", "c", scope, 1, "promoting", "b")
    assert not await applied(_MOVE, "celebrity", "c", scope, 2, "promoting", "a")
    assert await applied(_MOVE, "celebrity", "c", scope, 1, "promoting", "a")
    assert await store.execute(_STATES, (scope,)) == [(1, "celebrity")]
    assert not await applied(_LEAVE, scope, 1, "celebrity", "a")
    assert await applied(_LEAVE, scope, 1, "celebrity", "c")
    assert await store.execute(_STATES, (scope,)) == []
    assert await applied(_ENTER, scope, 1, "demoting", "d")
    assert await store.execute(_STATES, (scope,)) == [(1, "demoting")]


async def test_redis_answers_the_same(world: World) -> None:
    bus, tag = world.bus, token_hex(8)
    a, b, h, s = (f"{{{tag}}}:{name}" for name in "abhs")
    steps: list[tuple[tuple[object, ...], object]] = [
        (("GET", a), None),
        (("SET", a, "1", "NX", "GET", "PX", 60_000), None),
        (("SET", a, "2", "NX", "GET", "PX", 60_000), b"1"),
        (("SET", a, "3", "NX"), None),
        (("SET", a, "4"), b"OK"),
        (("SET", b, b"\x00\xff", "KEEPTTL"), b"OK"),
        (("APPEND", a, "56"), 3),
        (("GETRANGE", a, 1, 1), b"5"),
        (("GETRANGE", b + "-", 0, 5), b""),
        (("STRLEN", b), 2),
        (("MGET", a, h, b), [b"456", None, b"\x00\xff"]),
        (("EXISTS", a, a, h), 2),
        (("HSET", h, "x", 1, "y", "2"), 2),
        (("HSETNX", h, "x", 5), 0),
        (("HGET", h, "x"), b"1"),
        (("HLEN", h), 2),
        (("HDEL", h, "x", "z"), 1),
        (("MGET", a, h), [b"456", None]),
        (("HDEL", h, "y"), 1),
        (("EXISTS", h), 0),
        (("SADD", s, "m", "n", "m"), 2),
        (("SREM", s, "m", "o"), 1),
        (("SCARD", s), 1),
        (("PEXPIRE", s, 60_000), 1),
        (("PEXPIRE", h, 60_000), 0),
        (("DEL", a, h, s), 2),
        (("UNLINK", b), 1),
    ]
    for command, expected in steps:
        assert await bus.call(*command) == expected, command  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="CROSSSLOT"):
        await bus.call("MGET", a, "other")
    await bus.call("SADD", s, "m")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await bus.call("GET", s)
    await bus.call("DEL", s)


async def test_functions_answer_the_same(world: World) -> None:
    bus, tag = world.bus, token_hex(8)
    bus.use_library(EFFECTS.source)
    a, b = (f"{{{tag}}}:{name}" for name in "ab")
    lease, fill = EFFECTS.name("murmur_lease"), EFFECTS.name("murmur_fill")
    await bus.call("SET", a, "known")
    assert await bus.call("FCALL", lease, 2, a, b, "token", 60_000) == [[b"known"], 1]
    assert await bus.call("FCALL", lease, 2, a, b, "other", 60_000) == [[b"known"], 0]
    assert await bus.call("FCALL", fill, 1, b, "other", 60_000, "x") == 0
    assert await bus.call("FCALL", fill, 1, b, "token", 60_000, "y") == 1
    assert await bus.call("FCALL", fill, 1, b, "token", 60_000, "z") == 0
    assert await bus.call("GET", b) == b"y"
    await bus.call("DEL", a, b)
