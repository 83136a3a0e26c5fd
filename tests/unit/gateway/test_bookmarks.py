"""Bookmarks, over the oracle."""

from __future__ import annotations

import msgspec
import pytest

from events.types import TweetBookmarked, TweetUnbookmarked
from gateway.answers import BookmarkedAnswer, TweetPage
from tests.unit.gateway.world import World, position_of


async def bookmarks(world: World, user: int, count: int = 2) -> list[str]:
    """All that a user has bookmarked, page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        response = await world.send("GET", f"/api/bookmarks?count={count}{cursor}", user=user)
        assert response.status == 200, response.body
        page = msgspec.json.decode(response.body, type=TweetPage)
        found += [tweet.id for tweet in page.data]
        if page.meta.next_cursor is None:
            return found
        cursor = f"&cursor={page.meta.next_cursor}"


async def test_bookmarks_are_listed_newest_first_and_for_their_owner_alone(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweets = [await world.tweet(alice) for _ in range(5)]
    order = [tweets[n] for n in (3, 0, 4, 1, 2)]
    for tweet in order:
        response = await world.send("POST", f"/api/tweets/{tweet}/bookmark", user=bob)
        assert response.status == 201
        assert msgspec.json.decode(response.body, type=BookmarkedAnswer).data.bookmarked
    assert position_of(response) == "bookmarks/0@4"
    assert isinstance(world.log.events[-1], TweetBookmarked)
    newest_first = [str(tweet) for tweet in reversed(order)]
    assert await bookmarks(world, bob) == newest_first
    assert await bookmarks(world, alice) == []
    await world.call(200, "DELETE", f"/api/tweets/{order[2]}", user=alice)
    newest_first.remove(str(order[2]))
    for count in (1, 2, 20):
        assert await bookmarks(world, bob, count) == newest_first


async def test_a_bookmark_is_made_once_and_can_be_taken_back(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    path = f"/api/tweets/{tweet}/bookmark"
    await world.call(201, "POST", path, user=alice)
    again = await world.call(409, "POST", path, user=alice)
    assert again["type"].endswith("already-bookmarked")
    for _ in range(2):
        assert await world.call(200, "DELETE", path, user=alice) == {"data": {"bookmarked": False}}
    assert isinstance(world.log.events[-1], TweetUnbookmarked)
    assert await bookmarks(world, alice) == []


async def test_a_bookmark_of_a_retweet_is_one_of_the_original(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    retweet = (await world.call(201, "POST", f"/api/tweets/{tweet}/retweet", user=bob))["data"]
    await world.call(201, "POST", f"/api/tweets/{retweet['id']}/bookmark", user=bob)
    assert await bookmarks(world, bob) == [str(tweet)]
    await world.call(200, "DELETE", f"/api/tweets/{retweet['id']}/bookmark", user=bob)
    assert await bookmarks(world, bob) == []


async def test_a_bookmark_of_a_deleted_tweet_can_be_taken_back(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    await world.call(201, "POST", f"/api/tweets/{tweet}/bookmark", user=bob)
    await world.call(200, "DELETE", f"/api/tweets/{tweet}", user=alice)
    await world.call(200, "DELETE", f"/api/tweets/{tweet}/bookmark", user=bob)
    await world.call(404, "DELETE", f"/api/tweets/{tweet}/bookmark", user=bob)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_what_is_not_there_cannot_be_bookmarked(world: World, method: str) -> None:
    alice = await world.register("alice")
    await world.call(404, method, "/api/tweets/12345/bookmark", user=alice)
