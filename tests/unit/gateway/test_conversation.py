"""Conversations over the oracle: chains with gaps, trees with cursors in every branch."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from gateway.answers import ConversationPage
from gateway.queries.thread import ANCESTORS_MAX, LEVELS, NESTED_MAX
from tests.conversation_client import read
from tests.oracle_talk import TalkOracle
from tests.unit.gateway.world import World


async def conversation(world: World, user: int, tweet: int, query: str = "") -> ConversationPage:
    """One page."""
    response = await world.send("GET", f"/api/tweets/{tweet}/conversation{query}", user=user)
    assert response.status == 200, response.body
    return msgspec.json.decode(response.body, type=ConversationPage)


async def reply(world: World, user: int, tweet: int) -> int:
    return await world.tweet(user, "a reply", reply_to=str(tweet))


async def test_a_chain_with_a_deleted_tweet_in_it_says_so(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    chain = [await world.tweet(alice)]
    for author in (bob, alice, bob):
        chain.append(await reply(world, author, chain[-1]))
    await world.call(200, "DELETE", f"/api/tweets/{chain[1]}", user=bob)
    page = await conversation(world, alice, chain[3])
    assert page.data.conversation_id == str(chain[0])
    assert [(int(entry.id), entry.status) for entry in page.data.ancestors] == [
        (chain[0], "shown"),
        (chain[1], "gone"),
        (chain[2], "shown"),
    ]
    root = await conversation(world, alice, chain[0])
    (gap,) = root.data.replies
    assert (int(gap.id), gap.status) == (chain[1], "gone")
    assert [int(entry.id) for entry in gap.replies] == [chain[2]]
    await world.call(200, "DELETE", f"/api/tweets/{chain[3]}", user=bob)
    await world.call(200, "DELETE", f"/api/tweets/{chain[2]}", user=alice)
    assert (await conversation(world, alice, chain[0])).data.replies == []
    await world.call(404, "GET", f"/api/tweets/{chain[1]}/conversation", user=alice)


async def test_a_long_chain_has_its_root_and_its_nearest(world: World) -> None:
    alice = await world.register("alice")
    chain = [await world.tweet(alice)]
    for _ in range(ANCESTORS_MAX + 2):
        chain.append(await reply(world, alice, chain[-1]))
    page = await conversation(world, alice, chain[-1])
    ids = [int(entry.id) for entry in page.data.ancestors]
    assert page.data.ancestors_omitted
    assert ids == [chain[0], *chain[-1 - ANCESTORS_MAX : -1]]
    whole = await conversation(world, alice, chain[ANCESTORS_MAX])
    assert not whole.data.ancestors_omitted
    assert [int(entry.id) for entry in whole.data.ancestors] == chain[:ANCESTORS_MAX]


async def test_levels_and_replies_beneath_are_bounded_and_go_on_by_cursor(world: World) -> None:
    alice = await world.register("alice")
    root = await world.tweet(alice)
    many = [await reply(world, alice, root) for _ in range(3)]
    nested = [await reply(world, alice, many[0]) for _ in range(NESTED_MAX + 4)]
    deep = [nested[-1]]
    for _ in range(LEVELS):
        deep.append(await reply(world, alice, deep[-1]))
    page = await conversation(world, alice, root, "?count=2")
    assert [int(entry.id) for entry in page.data.replies] == [many[2], many[1]]
    assert page.meta.next_cursor is not None
    page = await conversation(world, alice, root, f"?count=2&cursor={page.meta.next_cursor}")
    (first,) = page.data.replies
    assert page.meta.next_cursor is None
    assert [int(entry.id) for entry in first.replies] == nested[::-1][:NESTED_MAX]
    assert first.next_cursor is not None
    more = await conversation(world, alice, many[0], f"?cursor={first.next_cursor}")
    assert [int(entry.id) for entry in more.data.replies] == nested[::-1][NESTED_MAX:]
    (third,) = first.replies[0].replies
    assert (int(third.id), third.replies) == (deep[1], [])
    assert third.next_cursor is not None
    await world.call(400, "GET", f"/api/tweets/{root}/conversation?count=41", user=alice)
    path = f"/api/tweets/{root}/conversation?cursor={third.next_cursor}"
    await world.call(400, "GET", path, user=alice)


async def test_a_retweets_conversation_is_its_originals(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    root = await world.tweet(alice)
    answer = await reply(world, bob, root)
    retweet = await world.call(201, "POST", f"/api/tweets/{root}/retweet", user=bob)
    page = await conversation(world, alice, int(retweet["data"]["id"]))
    assert page.data.tweet is not None and page.data.tweet.id == str(root)
    assert [int(entry.id) for entry in page.data.replies] == [answer]


@pytest.mark.parametrize("seed", range(6))
async def test_every_tree_is_the_oracles_for_every_reader(world: World, seed: int) -> None:
    rng = Random(seed)
    users = [await world.register(f"u{number}") for number in range(4)]
    tweets = [await world.tweet(users[0])]
    for _ in range(60):
        # Deep and broad by turns.
        parent = tweets[-1] if rng.random() < 0.4 else rng.choice(tweets[: 1 + len(tweets) // 3])
        tweets.append(await reply(world, rng.choice(users), parent))
    for user in users:
        for tweet in tweets[1:]:
            if rng.random() < 0.1:
                await world.send("DELETE", f"/api/tweets/{tweet}", user=user)
    for verb in ("block", "mute"):
        me, target = rng.sample(users, 2)
        body = {"target_user_id": str(target)}
        await world.call(201, "POST", f"/api/users/{me}/{verb}", body, user=me)
    oracle = TalkOracle(world.oracle)
    for reader in users:

        async def get(path: str, reader: int = reader) -> bytes:
            response = await world.send("GET", path, user=reader)
            assert response.status == 200, response.body
            return response.body

        for tweet in rng.sample(tweets, 12):
            if world.oracle.tweet(tweet) is None:
                continue
            seen = await read(get, tweet, rng.choice((1, 3, 20)))
            assert seen == (oracle.ancestors(tweet, reader), oracle.replies(tweet, reader))
