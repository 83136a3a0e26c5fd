"""Lists, their members and their timelines, over the oracle."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.types import ListChanged, ListCreated, ListMemberAdded, UserFollowed
from gateway.answers import List, ListAnswer, ListPage, MembershipAnswer, TweetPage, UserPage
from projections.collections.layout import LIMITS
from tests.unit.gateway.world import World, position_of


async def make(world: World, user: int, **fields: Any) -> int:
    """Makes a list and returns its id."""
    body = {"name": "Birds", **fields}
    response = await world.send("POST", "/api/lists", body, user=user)
    assert response.status == 201, response.body
    return int(msgspec.json.decode(response.body, type=ListAnswer).data.id)


async def read(world: World, user: int, list_id: int) -> List:
    response = await world.send("GET", f"/api/lists/{list_id}", user=user)
    assert response.status == 200, response.body
    return msgspec.json.decode(response.body, type=ListAnswer).data


async def add(world: World, user: int, list_id: int, member: int, status: int = 201) -> Any:
    body = {"user_id": str(member)}
    return await world.call(status, "POST", f"/api/lists/{list_id}/members", body, user=user)


async def pages(world: World, user: int, path: str, kind: Any, count: int = 2) -> list[str]:
    """All ids of a paged list."""
    found: list[str] = []
    cursor = ""
    while True:
        response = await world.send("GET", f"{path}?count={count}{cursor}", user=user)
        assert response.status == 200, response.body
        part = msgspec.json.decode(response.body, type=kind)
        assert len(part.data) <= count
        found += [item.id for item in part.data]
        if part.meta.next_cursor is None:
            return found
        cursor = f"&cursor={part.meta.next_cursor}"


async def relate(world: World, user: int, verb: str, other: int) -> None:
    body = {"target_user_id": str(other)}
    await world.call(201, "POST", f"/api/users/{user}/{verb}", body, user=user)


async def test_a_list_is_made_changed_and_deleted(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    body = {"name": "Birds", "description": "who watch"}
    response = await world.send("POST", "/api/lists", body, user=alice)
    assert (response.status, position_of(response)) == (201, "lists/0@0")
    made = msgspec.json.decode(response.body, type=ListAnswer).data
    assert (made.owner_id, made.private, made.member_count) == (str(alice), False, 0)
    list_id = int(made.id)
    assert await read(world, bob, list_id) == made
    changed = await world.call(
        200, "PATCH", f"/api/lists/{list_id}", {"name": "Fish", "private": True}, user=alice
    )
    assert msgspec.convert(changed, ListAnswer).data == await read(world, alice, list_id)
    now = await read(world, alice, list_id)
    assert (now.name, now.description, now.private) == ("Fish", "who watch", True)
    assert isinstance(world.log.events[-1], ListChanged)
    await world.call(200, "DELETE", f"/api/lists/{list_id}", user=alice)
    for method in ("GET", "DELETE"):
        await world.call(404, method, f"/api/lists/{list_id}", user=alice)


async def test_a_private_list_is_there_for_its_owner_alone(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    hidden, shown = await make(world, alice, private=True), await make(world, alice)
    for path in ("", "/members", "/tweets"):
        await world.call(404, "GET", f"/api/lists/{hidden}{path}", user=bob)
        await world.call(200, "GET", f"/api/lists/{hidden}{path}", user=alice)
    await world.call(404, "PATCH", f"/api/lists/{hidden}", {"name": "Mine"}, user=bob)
    assert await pages(world, alice, f"/api/users/{alice}/lists", ListPage, 1) == [
        str(shown),
        str(hidden),
    ]
    assert await pages(world, bob, f"/api/users/{alice}/lists", ListPage, 1) == [str(shown)]


async def test_pages_of_lists_go_on_past_private_ones(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    made = [await make(world, alice, private=n not in (0, 6)) for n in range(12)]
    found = await pages(world, bob, f"/api/users/{alice}/lists", ListPage, 1)
    assert found == [str(made[6]), str(made[0])]


async def test_nobody_but_the_owner_changes_a_list(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    list_id = await make(world, alice)
    await add(world, bob, list_id, bob, 403)
    await world.call(403, "PATCH", f"/api/lists/{list_id}", {"name": "Mine"}, user=bob)
    await world.call(403, "DELETE", f"/api/lists/{list_id}", user=bob)
    await world.call(403, "DELETE", f"/api/lists/{list_id}/members/{bob}", user=bob)
    # And where another producer says so all the same.
    stolen = ListCreated(
        event_id=1,
        occurred_at=1,
        list_id=list_id,
        user_id=bob,
        name="Mine",
        description="",
        private=True,
    )
    joined = ListMemberAdded(event_id=2, occurred_at=1, list_id=list_id, user_id=bob, member_id=bob)
    await world.log.append(stolen)
    await world.log.append(joined)
    assert (await read(world, bob, list_id)).owner_id == str(alice)
    assert await pages(world, bob, f"/api/lists/{list_id}/members", UserPage) == []


async def test_members_come_and_go(world: World) -> None:
    alice = await world.register("alice")
    others = [await world.register(f"user{n}") for n in range(3)]
    list_id = await make(world, alice)
    for member in (*others, alice):
        response = await add(world, alice, list_id, member)
        assert msgspec.convert(response, MembershipAnswer).data.is_member
    again = await add(world, alice, list_id, others[0], 409)
    assert again["type"].endswith("already-member")
    members = f"/api/lists/{list_id}/members"
    expected = [str(user) for user in sorted((*others, alice), reverse=True)]
    assert await pages(world, alice, members, UserPage) == expected
    for _ in range(2):  # what this process reads may be behind: taking out is always accepted
        found = await world.call(200, "DELETE", f"{members}/{others[1]}", user=alice)
        assert found == {"data": {"is_member": False}}
    expected.remove(str(others[1]))
    assert await pages(world, alice, members, UserPage) == expected
    assert (await read(world, alice, list_id)).member_count == 3
    await add(world, alice, list_id, 12345, 404)


async def test_who_has_blocked_the_owner_cannot_be_added(world: World) -> None:
    alice, bob, carol = [await world.register(name) for name in ("alice", "bob", "carol")]
    list_id = await make(world, alice)
    await relate(world, bob, "block", alice)
    await relate(world, alice, "block", carol)
    found = await add(world, alice, list_id, bob, 403)
    assert found["type"].endswith("blocked")
    await add(world, alice, list_id, carol)


async def test_lists_and_members_have_a_most(world: World) -> None:
    alice = await world.register("alice")
    list_id = await make(world, alice)
    world.collections.extra_members = LIMITS.members_max
    assert (await add(world, alice, list_id, alice, 409))["type"].endswith("list-full")
    world.collections.extra_lists = LIMITS.lists_max - 1
    refused = await world.call(409, "POST", "/api/lists", {"name": "One more"}, user=alice)
    assert refused["type"].endswith("too-many-lists")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 26},
        {"name": "a\x00b"},
        {"name": "x", "description": "y" * 101},
        {"name": "x", "private": "yes"},
        {"name": "x", "mode": "private"},
    ],
)
async def test_a_list_that_is_not_valid_is_refused(world: World, body: Any) -> None:
    alice = await world.register("alice")
    await world.call(422, "POST", "/api/lists", body, user=alice)


async def test_a_list_made_again_with_its_key_is_the_same(world: World) -> None:
    alice = await world.register("alice")
    headers = {"idempotency-key": "once"}
    body = {"name": "Birds"}
    first = await world.send("POST", "/api/lists", body, user=alice, headers=headers)
    again = await world.send("POST", "/api/lists", body, user=alice, headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    assert position_of(again) == position_of(first)


async def test_a_list_of_an_inactive_owner_is_gone(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    list_id = await make(world, alice)
    world.oracle._inactive[alice] = "deactivated"
    await world.call(404, "GET", f"/api/lists/{list_id}", user=bob)
    await world.call(404, "GET", f"/api/users/{alice}/lists", user=bob)


async def test_the_timeline_is_of_the_members_as_the_reader_sees_them(world: World) -> None:
    alice, bob, carol, dave = [
        await world.register(name) for name in ("alice", "bob", "carol", "dave")
    ]
    list_id = await make(world, alice)
    for member in (bob, carol):
        await add(world, alice, list_id, member)
    plain = await world.tweet(bob)
    await world.tweet(dave)
    heard = await world.tweet(carol, reply_to=str(plain))
    strange = await world.tweet(dave, "hm")
    to_dave = await world.tweet(bob, reply_to=str(strange))  # who is not in the list
    older = await world.call(201, "POST", f"/api/tweets/{strange}/retweet", user=bob)
    newer = await world.call(201, "POST", f"/api/tweets/{strange}/retweet", user=carol)
    gone = await world.tweet(bob)
    await world.call(200, "DELETE", f"/api/tweets/{gone}", user=bob)
    timeline = f"/api/lists/{list_id}/tweets"
    shown = [newer["data"]["id"], str(heard), str(plain)]
    for count in (1, 2, 20):
        assert await pages(world, alice, timeline, TweetPage, count) == shown
    assert int(older["data"]["id"]) not in map(int, shown)
    await relate(world, alice, "mute", carol)
    after_mute = [older["data"]["id"], str(plain)]
    assert await pages(world, alice, timeline, TweetPage, 1) == after_mute
    shown.insert(1, str(to_dave))
    assert await pages(world, dave, timeline, TweetPage, 1) == shown
    await relate(world, bob, "block", dave)
    assert await pages(world, dave, timeline, TweetPage) == [newer["data"]["id"], str(heard)]
    expected = world.oracle.list_timeline(list_id, dave)
    assert expected == [int(newer["data"]["id"]), heard]


async def test_nobody_needs_to_be_followed_for_it(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    list_id = await make(world, alice)
    await add(world, alice, list_id, bob)
    tweet = await world.tweet(bob)
    assert not [event for event in world.log.events if isinstance(event, UserFollowed)]
    assert await pages(world, alice, f"/api/lists/{list_id}/tweets", TweetPage) == [str(tweet)]


async def test_pages_of_a_timeline_neither_skip_nor_repeat_while_tweets_arrive(
    world: World,
) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    list_id = await make(world, alice)
    await add(world, alice, list_id, bob)
    tweets = [str(await world.tweet(bob)) for _ in range(7)]
    found: list[str] = []
    cursor = ""
    while True:
        target = f"/api/lists/{list_id}/tweets?count=2{cursor}"
        response = await world.send("GET", target, user=alice)
        page = msgspec.json.decode(response.body, type=TweetPage)
        found += [tweet.id for tweet in page.data]
        if page.meta.next_cursor is None:
            break
        cursor = f"&cursor={page.meta.next_cursor}"
        await world.tweet(bob, "meanwhile")
    assert found == tweets[::-1]


async def test_a_retweet_between_two_pages_does_not_hide_the_older_one(world: World) -> None:
    alice, bob, carol = [await world.register(name) for name in ("alice", "bob", "carol")]
    list_id = await make(world, alice)
    for member in (bob, carol):
        await add(world, alice, list_id, member)
    original = await world.tweet(alice)
    older = await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=bob)
    above = await world.tweet(bob)
    target = f"/api/lists/{list_id}/tweets?count=1"
    first = await world.call(200, "GET", target, user=alice)
    assert [tweet["id"] for tweet in first["data"]] == [str(above)]
    await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=carol)
    cursor = first["meta"]["next_cursor"]
    second = await world.call(200, "GET", f"{target}&cursor={cursor}", user=alice)
    assert [tweet["id"] for tweet in second["data"]] == [older["data"]["id"]]
    await world.call(400, "GET", f"/api/timeline/home?cursor={cursor}", user=alice)
