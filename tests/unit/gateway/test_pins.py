"""Pinned tweets over the oracle."""

from __future__ import annotations

import msgspec

from events.types import TweetPinned, TweetUnpinned
from gateway.answers import PinnedAnswer, UserAnswer
from tests.unit.gateway.world import World, position_of


async def pinned(world: World, user: int, path: str = "") -> str | None:
    """What a client sees pinned, the tweet beside it."""
    response = await world.send("GET", path or f"/api/users/{user}", user=user)
    answer = msgspec.json.decode(response.body, type=UserAnswer)
    included = answer.includes.tweets if answer.includes else []
    assert [tweet.id for tweet in included] == list(filter(None, [answer.data.pinned_tweet_id]))
    oracle = world.oracle.pinned(user)
    assert answer.data.pinned_tweet_id == (str(oracle) if oracle else None)
    return answer.data.pinned_tweet_id


async def test_the_last_pin_counts_until_it_is_taken_back(world: World) -> None:
    alice = await world.register("alice")
    one, two = await world.tweet(alice), await world.tweet(alice)
    assert await pinned(world, alice) is None
    for tweet in (one, two):
        path, body = f"/api/users/{alice}/pinned_tweet", {"tweet_id": str(tweet)}
        response = await world.send("POST", path, body, user=alice)
        assert (response.status, position_of(response)[:7]) == (201, "users/0")
        assert msgspec.json.decode(response.body, type=PinnedAnswer).data.pinned
        assert isinstance(world.log.events[-1], TweetPinned)
        assert await pinned(world, alice) == str(tweet)
    for path in ("/api/users/me", "/api/users/by/username/alice"):
        assert await pinned(world, alice, path) == str(two)
    for _ in range(2):
        found = await world.call(200, "DELETE", f"/api/users/{alice}/pinned_tweet", user=alice)
        assert found == {"data": {"pinned": False}}
        assert isinstance(world.log.events[-1], TweetUnpinned)
        assert await pinned(world, alice) is None


async def test_only_ones_own_tweet_that_is_there_and_no_retweet_can_be_pinned(
    world: World,
) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    his, gone = await world.tweet(bob), await world.tweet(alice)
    await world.call(200, "DELETE", f"/api/tweets/{gone}", user=alice)
    made = await world.call(201, "POST", f"/api/tweets/{his}/retweet", user=alice)
    path = f"/api/users/{alice}/pinned_tweet"
    for tweet, status in ((his, 403), (gone, 404), (int(made["data"]["id"]), 422), (99, 404)):
        await world.call(status, "POST", path, {"tweet_id": str(tweet)}, user=alice)
    await world.call(403, "POST", path, {"tweet_id": str(his)}, user=bob)
    await world.call(403, "DELETE", path, user=bob)
    await world.call(422, "POST", path, {}, user=alice)
    assert await pinned(world, alice) is None


async def test_a_pinned_tweet_that_is_deleted_is_not_shown(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    path = f"/api/users/{alice}/pinned_tweet"
    await world.call(201, "POST", path, {"tweet_id": str(tweet)}, user=alice)
    await world.call(200, "DELETE", f"/api/tweets/{tweet}", user=alice)
    assert await pinned(world, alice) is None


async def test_a_log_may_hold_pins_that_a_command_would_refuse(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(bob)
    await world.log.append(TweetPinned(event_id=1, occurred_at=1, user_id=alice, tweet_id=tweet))
    assert await pinned(world, alice) is None
    await world.log.append(TweetPinned(event_id=1, occurred_at=1, user_id=alice, tweet_id=12345))
    assert await pinned(world, alice) is None


async def test_a_pin_repeated_with_its_key_is_answered_as_it_was(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    path, body = f"/api/users/{alice}/pinned_tweet", {"tweet_id": str(tweet)}
    headers = {"idempotency-key": "once"}
    first = await world.send("POST", path, body, user=alice, headers=headers)
    again = await world.send("POST", path, body, user=alice, headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    assert position_of(again) == position_of(first)
