"""Registration, profiles and the graph's commands, over the oracle."""

from __future__ import annotations

import asyncio
import json
import secrets

import msgspec
import pytest

from events.types import UserDeactivated, UsernameClaimed, UsernameReleased, UserRegistered
from gateway.answers import RegisteredAnswer, UserAnswer, UserPage
from gateway.auth import Tokens
from gateway.routing import Access
from tests.unit.gateway.world import KEY, World, position_of


async def test_registration_answers_the_user_and_a_token_that_works(world: World) -> None:
    body = {"username": "Alice_1", "name": "Älice", "url": "https://example.org/"}
    response = await world.send("POST", "/api/users", body)
    assert response.status == 201
    answer = msgspec.json.decode(response.body, type=RegisteredAnswer)
    assert (answer.data.username, answer.data.name) == ("Alice_1", "Älice")
    assert answer.data.public_metrics is not None
    assert answer.data.public_metrics.followers_count == 0
    user = Tokens(KEY).caller(f"Bearer {answer.token}", Access.WRITE)
    assert str(user) == answer.data.id
    assert position_of(response) == "users/0@0"
    me = await world.send("GET", "/api/users/me", user=user)
    assert msgspec.json.decode(me.body, type=UserAnswer).data.username == "Alice_1"


async def test_of_racing_registrations_one_wins(world: World) -> None:
    names = ["alice", "Alice", "ALICE", "aLiCe", "alicE"]
    responses = await asyncio.gather(
        *(world.send("POST", "/api/users", {"username": n, "name": "A"}) for n in names)
    )
    assert sorted(response.status for response in responses) == [201, 409, 409, 409, 409]
    winner = next(r for r in responses if r.status == 201)
    name = json.loads(winner.body)["data"]["username"]
    for loser in (r for r in responses if r.status == 409):
        assert name in json.loads(loser.body)["detail"]
    assert len(world.oracle.users()) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "a b", "name": "A"}, "username"),
        ({"username": "", "name": "A"}, "username"),
        ({"username": "a" * 16, "name": "A"}, "username"),
        ({"username": "älice", "name": "A"}, "username"),
        ({"username": "alice\n", "name": "A"}, "username"),
        ({"username": "alice", "name": ""}, "name"),
        ({"username": "alice", "name": "A" * 51}, "name"),
        ({"username": "alice", "name": "A", "url": "javascript:alert(1)"}, "url"),
        ({"username": "alice", "name": "A", "description": "d" * 161}, "description"),
        ({"username": "alice"}, "$"),
        ({"username": "alice", "name": "A", "admin": True}, "$"),
    ],
)
async def test_a_wrong_field_is_named(world: World, body: object, field: str) -> None:
    problem = await world.call(422, "POST", "/api/users", body)
    assert problem["errors"][0]["field"] == field
    assert not world.log.events


async def test_reserved_names_are_taken(world: World) -> None:
    await world.call(409, "POST", "/api/users", {"username": "Admin", "name": "A"})
    assert not world.log.events


async def test_a_claim_that_is_not_applied_in_time_is_a_504_that_can_be_finished(
    world: World,
) -> None:
    world.log.held.add("usernames")
    body = {"username": "alice", "name": "A"}
    headers = {"idempotency-key": secrets.token_urlsafe(18)}
    problem = await world.call(504, "POST", "/api/users", body, headers=headers)
    assert problem["type"].endswith("registrations-lag")
    assert "accounts" in problem["detail"] and "Idempotency-Key" in problem["detail"]
    world.log.held.clear()
    claim = world.log.events[0]
    world.oracle.apply(claim)
    world.log.applied["usernames/0"] = 1
    found = await world.call(201, "POST", "/api/users", body, headers=headers)
    assert isinstance(claim, UsernameClaimed)
    assert found["data"]["id"] == str(claim.user_id)
    assert [type(event) for event in world.log.events] == [UsernameClaimed, UserRegistered]


async def test_without_a_key_a_claim_that_is_not_applied_in_time_is_released(world: World) -> None:
    world.log.held.add("usernames")
    body = {"username": "alice", "name": "A"}
    await world.call(503, "POST", "/api/users", body)
    world.log.held.clear()
    claim, released = world.log.events
    assert isinstance(released, UsernameReleased)
    world.oracle.apply(claim)
    world.oracle.apply(released)
    world.log.applied["usernames/0"] = 2
    found = await world.call(201, "POST", "/api/users", body)
    assert isinstance(claim, UsernameClaimed)
    assert found["data"]["id"] != str(claim.user_id)


async def test_an_open_command_needs_a_key_that_cannot_be_guessed(world: World) -> None:
    body = {"username": "alice", "name": "A"}
    problem = await world.call(400, "POST", "/api/users", body, headers={"idempotency-key": "1"})
    assert problem["errors"][0]["field"] == "Idempotency-Key"


async def test_a_profile_is_edited(world: World) -> None:
    alice = await world.register("alice")
    changes = {"name": "New", "description": "likes ✈"}
    found = await world.call(200, "PATCH", "/api/users/me", changes, user=alice)
    assert (found["data"]["name"], found["data"]["description"]) == ("New", "likes ✈")
    again = await world.call(200, "GET", f"/api/users/{alice}", user=alice)
    del again["data"]["public_metrics"]
    assert again == found
    await world.call(422, "PATCH", "/api/users/me", {}, user=alice)


async def test_users_are_found_by_name_without_regard_to_case(world: World) -> None:
    alice = await world.register("Alice")
    found = await world.call(200, "GET", "/api/users/by/username/aLICE", user=alice)
    assert found["data"]["id"] == str(alice)
    await world.call(404, "GET", "/api/users/by/username/bob", user=alice)
    await world.call(404, "GET", "/api/users/12345", user=alice)


async def test_follow_is_checked_and_can_be_taken_back(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    path, body = f"/api/users/{alice}/follow", {"target_user_id": str(bob)}
    found = await world.call(201, "POST", path, body, user=alice)
    assert found == {"data": {"following": True}}
    problem = await world.call(409, "POST", path, body, user=alice)
    assert problem["type"].endswith("already-following")
    await world.call(422, "POST", path, {"target_user_id": str(alice)}, user=alice)
    await world.call(404, "POST", path, {"target_user_id": "99"}, user=alice)
    await world.call(422, "POST", path, {"target_user_id": "x"}, user=alice)
    await world.call(403, "POST", f"/api/users/{bob}/follow", body, user=alice)
    found = await world.call(200, "DELETE", f"{path}/{bob}", user=alice)
    assert found == {"data": {"following": False}}
    # Taking back again is fine: what is read may be behind what was done.
    await world.call(200, "DELETE", f"{path}/{bob}", user=alice)
    await world.call(404, "DELETE", f"{path}/99", user=alice)
    await world.call(201, "POST", path, body, user=alice)


@pytest.mark.parametrize("blocker_first", [True, False])
async def test_a_block_stands_against_a_follow_in_both_directions(
    world: World, blocker_first: bool
) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    blocker, other = (alice, bob) if blocker_first else (bob, alice)
    path = f"/api/users/{blocker}/block"
    await world.call(201, "POST", path, {"target_user_id": str(other)}, user=blocker)
    await world.call(409, "POST", path, {"target_user_id": str(other)}, user=blocker)
    problem = await world.call(
        403, "POST", f"/api/users/{alice}/follow", {"target_user_id": str(bob)}, user=alice
    )
    assert problem["type"].endswith("blocked")


async def test_a_mute_does_not_stand_against_a_follow(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    for verb in ("mute", "follow"):
        body = {"target_user_id": str(bob)}
        await world.call(201, "POST", f"/api/users/{alice}/{verb}", body, user=alice)
    found = await world.call(200, "DELETE", f"/api/users/{alice}/mute/{bob}", user=alice)
    assert found == {"data": {"muting": False}}


async def test_followers_come_in_pages(world: World) -> None:
    star = await world.register("star")
    fans = [await world.register(f"fan{number}") for number in range(5)]
    for fan in fans:
        body = {"target_user_id": str(star)}
        await world.call(201, "POST", f"/api/users/{fan}/follow", body, user=fan)
    seen: list[int] = []
    cursor = ""
    for _ in range(10):
        target = f"/api/users/{star}/followers?count=2{cursor}"
        response = await world.send("GET", target, user=star)
        page = msgspec.json.decode(response.body, type=UserPage)
        assert page.meta.result_count == len(page.data)
        seen += [int(user.id) for user in page.data]
        if page.meta.next_cursor is None:
            break
        cursor = f"&cursor={page.meta.next_cursor}"
    assert seen == sorted(fans, reverse=True)
    following = await world.call(200, "GET", f"/api/users/{fans[0]}/following", user=star)
    assert [user["id"] for user in following["data"]] == [str(star)]
    assert following["data"][0]["public_metrics"] == {"followers_count": 5, "following_count": 0}


async def test_the_commands_of_a_deactivated_user_are_refused(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    await world.log.append(UserDeactivated(event_id=9, occurred_at=9, user_id=alice))
    body = {"target_user_id": str(bob)}
    problem = await world.call(403, "POST", f"/api/users/{alice}/follow", body, user=alice)
    assert problem["type"].endswith("account-inactive")
    await world.call(403, "POST", "/api/tweets", {"text": "hi"}, user=alice)
    await world.call(404, "GET", f"/api/users/{alice}", user=bob)
