"""Likes, views and the lists of engagement, over the oracle."""

from __future__ import annotations

import msgspec
import pytest

from events.types import TweetLiked, TweetUnliked, TweetViewed
from gateway.answers import LikedAnswer, TweetAnswer, TweetPage, UserPage, ViewedAnswer
from tests.unit.gateway.world import World, position_of


async def metrics(world: World, user: int, tweet: int) -> tuple[int, int, int, int, int]:
    """Retweets, replies, likes, quotes and views, as a client reads them."""
    response = await world.send("GET", f"/api/tweets/{tweet}", user=user)
    found = msgspec.json.decode(response.body, type=TweetAnswer).data.public_metrics
    assert found is not None
    return (
        found.retweet_count,
        found.reply_count,
        found.like_count,
        found.quote_count,
        found.impression_count,
    )


async def test_a_like_counts_once_and_can_be_taken_back(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    response = await world.send("POST", f"/api/tweets/{tweet}/like", user=bob)
    assert (response.status, position_of(response)) == (201, "engagements/0@0")
    assert msgspec.json.decode(response.body, type=LikedAnswer).data.liked
    assert isinstance(world.log.events[-1], TweetLiked)
    assert world.log.events[-1].tweet_author_id == alice
    assert await metrics(world, bob, tweet) == (0, 0, 1, 0, 0)
    again = await world.call(409, "POST", f"/api/tweets/{tweet}/like", user=bob)
    assert again["type"].endswith("already-liked")
    for _ in range(2):  # what this process reads may be behind: taking back is always accepted
        found = await world.call(200, "DELETE", f"/api/tweets/{tweet}/like", user=bob)
        assert found == {"data": {"liked": False}}
    assert isinstance(world.log.events[-1], TweetUnliked)
    assert await metrics(world, bob, tweet) == (0, 0, 0, 0, 0)


async def test_a_like_repeated_with_its_key_is_answered_as_it_was(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    headers = {"idempotency-key": "once"}
    first = await world.send("POST", f"/api/tweets/{tweet}/like", user=alice, headers=headers)
    again = await world.send("POST", f"/api/tweets/{tweet}/like", user=alice, headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    assert position_of(again) == position_of(first)


async def test_a_like_of_a_retweet_is_one_of_the_original(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    retweet = await world.call(201, "POST", f"/api/tweets/{tweet}/retweet", user=bob)
    await world.call(201, "POST", f"/api/tweets/{retweet['data']['id']}/like", user=bob)
    assert await metrics(world, alice, tweet) == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_what_is_not_there_cannot_be_liked(world: World, method: str) -> None:
    alice = await world.register("alice")
    await world.call(404, method, "/api/tweets/12345/like", user=alice)


async def test_a_block_stands_against_a_like(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    body = {"target_user_id": str(bob)}
    await world.call(201, "POST", f"/api/users/{alice}/block", body, user=alice)
    found = await world.call(403, "POST", f"/api/tweets/{tweet}/like", user=bob)
    assert found["type"].endswith("blocked")


async def test_views_count_each_tweet_of_a_report_once(world: World) -> None:
    alice = await world.register("alice")
    one, two = await world.tweet(alice), await world.tweet(alice)
    body = {"tweet_ids": [str(one), str(two), str(one), "99"]}
    response = await world.send("POST", "/api/tweets/views", body, user=alice)
    assert response.status == 202
    assert msgspec.json.decode(response.body, type=ViewedAnswer).data.viewed == 2
    seen = [event for event in world.log.events if isinstance(event, TweetViewed)]
    assert [(event.tweet_id, event.user_id) for event in seen] == [(one, alice), (two, alice)]
    assert await metrics(world, alice, one) == (0, 0, 0, 0, 1)
    await world.call(422, "POST", "/api/tweets/views", {"tweet_ids": []}, user=alice)


async def test_lists_are_paged_newest_first_and_leave_out_what_nobody_sees(world: World) -> None:
    people = [await world.register(f"user{n}") for n in range(5)]
    alice = people[0]
    tweet = await world.tweet(alice)
    for user in people:
        await world.call(201, "POST", f"/api/tweets/{tweet}/like", user=user)
    names: list[str] = []
    target = f"/api/tweets/{tweet}/liking_users?count=2"
    while True:
        response = await world.send("GET", target, user=alice)
        found = msgspec.json.decode(response.body, type=UserPage)
        names += [user.id for user in found.data]
        if found.meta.next_cursor is None:
            break
        target = f"/api/tweets/{tweet}/liking_users?count=2&cursor={found.meta.next_cursor}"
    assert names == [str(user) for user in reversed(people)]


async def test_replies_quotes_retweets_and_likes_are_listed_and_counted(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    replies = [await world.tweet(bob, reply_to=str(tweet)) for _ in range(3)]
    quote = await world.tweet(bob, quote_tweet_id=str(tweet))
    await world.call(201, "POST", f"/api/tweets/{tweet}/retweet", user=bob)
    await world.call(201, "POST", f"/api/tweets/{tweet}/like", user=bob)
    await world.call(200, "DELETE", f"/api/tweets/{replies[0]}", user=bob)

    async def listed(path: str) -> list[str]:
        response = await world.send("GET", path, user=alice)
        assert response.status == 200
        return [item.id for item in msgspec.json.decode(response.body, type=TweetPage).data]

    assert await metrics(world, alice, tweet) == (1, 2, 1, 1, 0)
    assert await listed(f"/api/tweets/{tweet}/replies") == [str(replies[2]), str(replies[1])]
    assert await listed(f"/api/tweets/{tweet}/quotes") == [str(quote)]
    assert await listed(f"/api/users/{bob}/likes") == [str(tweet)]
    response = await world.send("GET", f"/api/tweets/{tweet}/retweeted_by", user=alice)
    found = msgspec.json.decode(response.body, type=UserPage)
    assert [user.id for user in found.data] == [str(bob)]
    for path in ("/api/tweets/77/replies", "/api/tweets/77/liking_users", "/api/users/77/likes"):
        await world.call(404, "GET", path, user=alice)
