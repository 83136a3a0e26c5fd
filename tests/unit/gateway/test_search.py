"""Search over the oracle: what a reader sees of what a query finds, pages, counts, users."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from events.types import ProfileChanged, UserDeactivated
from gateway.answers import CountsPage, TweetPage, UserPage
from projections.search.query.parse import parse
from tests.oracle_search import SearchOracle
from tests.unit.gateway.world import World


async def found(world: World, user: int, query: str, count: int = 20, **more: str) -> list[int]:
    """All pages of a search, each decoded strictly."""
    ids: list[int] = []
    asked = "".join(f"&{name}={value}" for name, value in more.items())
    cursor = ""
    for _ in range(50):
        path = f"/api/search?q={quote(query)}&count={count}{asked}{cursor}"
        response = await world.send("GET", path, user=user)
        assert response.status == 200, response.body
        page = msgspec.json.decode(response.body, type=TweetPage)
        assert len(page.data) <= count
        authors = {included.id for included in page.includes.users}
        assert authors >= {tweet.author_id for tweet in page.data}
        ids += [int(tweet.id) for tweet in page.data]
        if page.meta.next_cursor is None:
            return ids
        cursor = f"&cursor={page.meta.next_cursor}"
    raise AssertionError("the pages do not end")


async def test_words_users_and_kinds_are_found_newest_first(world: World) -> None:
    ann, bob = await world.register("Ann"), await world.register("bob")
    cat = await world.tweet(ann, "A cat in the sun")
    dogs = await world.tweet(bob, "dogs and cats #pets")
    answer = await world.tweet(bob, "which cat?", reply_to=str(cat))
    await world.tweet(bob, "category")
    asked = {
        "cat": [answer, dogs, cat],
        "cat dog": [dogs],
        "cat -dog": [answer, cat],
        "from:ANN": [cat],
        "from:bob cat is:reply": [answer],
        "to:ann": [answer],
        '"in the sun"': [cat],
        "#Pets OR sun": [dogs, cat],
        f"conversation_id:{cat}": [answer, cat],
        f"cat since_id:{cat}": [answer, dogs],
        "from:nobody": [],
    }
    oracle = SearchOracle(holder=world.oracle.holder)
    for event in world.log.events:
        oracle.apply(event)
    for query, ids in asked.items():
        assert await found(world, ann, query) == ids == oracle.search(parse(query)), query
        assert await found(world, ann, query, count=1) == ids


async def test_who_is_hidden_and_what_is_gone_is_not_found(world: World) -> None:
    ann, bob, eve, zoe = [await world.register(name) for name in ("ann", "bob", "eve", "zoe")]
    tweets = {user: await world.tweet(user, "cats") for user in (bob, eve, zoe)}
    gone = await world.tweet(ann, "cats")
    await world.call(200, "DELETE", f"/api/tweets/{gone}", user=ann)
    target = {"target_user_id": str(bob)}
    await world.call(201, "POST", f"/api/users/{ann}/block", target, user=ann)
    target = {"target_user_id": str(eve)}
    await world.call(201, "POST", f"/api/users/{ann}/mute", target, user=ann)
    assert await found(world, ann, "cats") == [tweets[zoe]]
    assert await found(world, bob, "cats") == [tweets[zoe], tweets[eve], tweets[bob]]
    await world.log.append(UserDeactivated(event_id=1, occurred_at=1, user_id=zoe))
    assert await found(world, ann, "cats") == []


async def test_numbers_of_likes_narrow_what_was_found(world: World) -> None:
    ann, bob = await world.register("ann"), await world.register("bob")
    first, _ = await world.tweet(ann, "cats"), await world.tweet(ann, "cats")
    for user in (ann, bob):
        await world.call(201, "POST", f"/api/tweets/{first}/like", user=user)
    assert await found(world, ann, "cats min_likes:2") == [first]
    assert await found(world, ann, "cats min_likes:3") == []
    assert await found(world, ann, "cats min_retweets:1") == []


async def test_the_relevant_come_first_and_pages_do_not_move(world: World) -> None:
    ann, bob = await world.register("ann"), await world.register("bob")
    liked = await world.tweet(ann, "cats and much else besides")
    plain = await world.tweet(ann, "cats and much else besides")
    twice = await world.tweet(bob, "cats cats")
    for user in (ann, bob):
        await world.call(201, "POST", f"/api/tweets/{liked}/like", user=user)
    assert await found(world, ann, "cats", order="relevance") == [liked, twice, plain]
    path = "/api/search?q=cats&order=relevance&count=2"
    page = await world.call(200, "GET", path, user=ann)
    await world.tweet(ann, "cats cats cats")
    for user in (ann, bob):
        await world.call(201, "POST", f"/api/tweets/{plain}/like", user=user)
    rest = await world.call(200, "GET", f"{path}&cursor={page['meta']['next_cursor']}", user=ann)
    assert [int(tweet["id"]) for tweet in page["data"] + rest["data"]] == [liked, twice, plain]


@pytest.mark.parametrize("seed", range(5))
async def test_relevance_is_the_oracles(world: World, seed: int) -> None:
    rng = Random(seed)
    world.search.most = 100
    users = [await world.register(f"user{number}") for number in range(4)]
    tweets: list[int] = []
    for _ in range(130):
        said = " ".join(
            rng.choices(("cat", "cats", "the", "dog", "hot", "sun"), k=rng.randint(1, 8))
        )
        reply = {"reply_to": str(rng.choice(tweets))} if tweets and rng.random() < 0.2 else {}
        tweets.append(await world.tweet(rng.choice(users), said, **reply))
    for tweet in rng.choices(tweets, k=60):
        act = rng.choice(("like", "retweet"))
        await world.send("POST", f"/api/tweets/{tweet}/{act}", user=rng.choice(users))
    oracle = SearchOracle(holder=world.oracle.holder)
    for event in world.log.events:
        oracle.apply(event)
    for query in ("cat", "cat dog", "cat OR sun", '"hot dog"', "dog -sun", "from:user1", "the cat"):
        best = oracle.relevant(parse(query), world.oracle.counts)
        assert len(best) > 2, query
        assert await found(world, users[0], query, order="relevance") == best, query


@pytest.mark.parametrize(
    ("target", "kind", "said"),
    [
        ("/api/search", "invalid-query", "q is what to look for"),
        ("/api/search?q=cat%20OR", "invalid-query", "At character 7: expected a word"),
        ("/api/search?q=lang:en", "invalid-query", "beside what only narrows"),
        ("/api/search?q=cat&order=best", "invalid-order", "recency or relevance"),
        ("/api/search?q=cat&count=0", "invalid-count", "from 1 to"),
        ("/api/search?q=cat&cursor=x", "invalid-cursor", "not valid here"),
        ("/api/search/counts?q=cat&granularity=year", "invalid-granularity", "minute or day"),
        ("/api/search/counts?q=cat%20min_likes:2", "invalid-query", "leave them out"),
        ("/api/search/users?q=", "invalid-query", "the beginning of a name"),
    ],
)
async def test_a_refusal_says_what_to_do(world: World, target: str, kind: str, said: str) -> None:
    ann = await world.register("ann")
    problem = await world.call(400, "GET", target, user=ann)
    assert problem["type"].endswith(kind)
    assert said in problem["detail"]


async def test_a_cursor_is_of_one_query(world: World) -> None:
    ann = await world.register("ann")
    for _ in range(2):
        await world.tweet(ann, "cats and dogs")
    page = await world.call(200, "GET", "/api/search?q=cats&count=1", user=ann)
    cursor = page["meta"]["next_cursor"]
    await world.call(200, "GET", f"/api/search?q=cats&count=1&cursor={cursor}", user=ann)
    await world.call(400, "GET", f"/api/search?q=dogs&count=1&cursor={cursor}", user=ann)


async def test_an_archive_that_is_away_is_told(world: World) -> None:
    ann = await world.register("ann")
    tweet = await world.tweet(ann, "cats")
    world.search.is_recent_only = True
    page = await world.call(200, "GET", "/api/search?q=cats", user=ann)
    assert [int(one["id"]) for one in page["data"]] == [tweet]
    assert page["meta"]["incomplete"]


async def test_counts_are_of_tweets_that_exist(world: World) -> None:
    ann = await world.register("ann")
    tweets = [await world.tweet(ann, "cats") for _ in range(3)]
    await world.tweet(ann, "dogs")
    await world.call(200, "DELETE", f"/api/tweets/{tweets[0]}", user=ann)
    for granularity in ("minute", "hour", "day"):
        path = f"/api/search/counts?q=cats%20since_id:1&granularity={granularity}"
        response = await world.send("GET", path, user=ann)
        page = msgspec.json.decode(response.body, type=CountsPage)
        assert [one.tweet_count for one in page.data] == [2]
        assert page.meta.total_tweet_count == 2
        assert page.meta.next_cursor is None


async def test_users_are_found_by_the_beginnings_of_their_names(world: World) -> None:
    ann, bob = await world.register("Annika"), await world.register("bob")
    exact = await world.register("ann")
    said: dict[str, Any] = {"event_id": 1, "occurred_at": 1, "user_id": bob}
    await world.log.append(ProfileChanged(**said, name="Bobby Annerson"))
    follow = {"target_user_id": str(bob)}
    await world.call(201, "POST", f"/api/users/{ann}/follow", follow, user=ann)

    async def users(text: str) -> list[int]:
        response = await world.send("GET", f"/api/search/users?q={quote(text)}", user=ann)
        page = msgspec.json.decode(response.body, type=UserPage)
        return [int(user.id) for user in page.data]

    assert await users("@ANN") == [exact, bob, ann]
    assert await users("ann bob") == [bob]
    assert await users("annika") == [ann]
    assert await users("erson") == []
