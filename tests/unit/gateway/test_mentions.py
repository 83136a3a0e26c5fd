"""Mentions over the oracle: whom a name stands for, who is left out, pages."""

from __future__ import annotations

import msgspec

from events.types import UserDeactivated, UsernameReleased
from gateway.answers import TweetPage
from tests.oracle_talk import TalkOracle
from tests.unit.gateway.world import World


async def mentioned(world: World, user: int, reader: int = 0, count: int = 20) -> list[int]:
    """All pages of a mentions timeline, each decoded strictly."""
    found: list[int] = []
    cursor = ""
    for _ in range(50):
        path = f"/api/users/{user}/mentions?count={count}{cursor}"
        response = await world.send("GET", path, user=reader or user)
        assert response.status == 200, response.body
        page = msgspec.json.decode(response.body, type=TweetPage)
        authors = {included.id for included in page.includes.users}
        assert authors >= {tweet.author_id for tweet in page.data}
        found += [int(tweet.id) for tweet in page.data]
        if page.meta.next_cursor is None:
            return found
        cursor = f"&cursor={page.meta.next_cursor}"
    raise AssertionError("the pages do not end")


async def test_names_in_any_case_and_answers_are_listed_newest_first(world: World) -> None:
    alice, bob = await world.register("Alice"), await world.register("bob")
    by_name = await world.tweet(bob, "hello @aLICE and @alice")
    own = await world.tweet(alice, "I am @alice")
    answer = await world.tweet(bob, "indeed", reply_to=str(own))
    both = await world.tweet(bob, "@alice indeed", reply_to=str(own))
    await world.tweet(alice, "answering myself", reply_to=str(own))
    await world.tweet(bob, "not @alicex, not a@alice, not @bob")
    await world.call(201, "POST", f"/api/tweets/{by_name}/retweet", user=bob)
    assert await mentioned(world, alice) == [both, answer, by_name]
    assert await mentioned(world, alice, count=1) == [both, answer, by_name]
    assert TalkOracle(world.oracle).mentions(alice) == [both, answer, by_name]
    await world.call(200, "DELETE", f"/api/tweets/{both}", user=bob)
    assert await mentioned(world, alice) == [answer, by_name]


async def test_the_first_ten_names_of_a_tweet_count(world: World) -> None:
    users = [await world.register(f"u{number}") for number in range(11)]
    tweet = await world.tweet(users[0], "@u1 " * 3 + " ".join(f"@u{n}" for n in range(11)))
    lists = [await mentioned(world, user) for user in users]
    # The author's own name takes a place and lists nothing.
    assert lists == [[], *[[tweet]] * 9, []]
    assert lists == [TalkOracle(world.oracle).mentions(user) for user in users]


async def test_who_is_blocked_or_muted_or_away_is_left_out(world: World) -> None:
    alice, bob, carol, dora = [await world.register(n) for n in ("alice", "bob", "carol", "dora")]
    for author in (bob, carol, dora):
        await world.tweet(author, "@alice!")
    await world.call(
        201, "POST", f"/api/users/{bob}/block", {"target_user_id": str(alice)}, user=bob
    )
    await world.call(
        201, "POST", f"/api/users/{alice}/mute", {"target_user_id": str(carol)}, user=alice
    )
    for reader in (alice, bob, carol, dora):
        assert await mentioned(world, alice, reader) == TalkOracle(world.oracle).mentions(
            alice, reader
        )
    assert len(await mentioned(world, alice)) == 1
    assert len(await mentioned(world, alice, dora)) == 3
    await world.log.append(UserDeactivated(event_id=1, occurred_at=1, user_id=dora))
    assert await mentioned(world, alice) == []


async def test_a_name_that_was_given_up_and_claimed_by_another_is_new(world: World) -> None:
    old, bob = await world.register("shared"), await world.register("bob")
    before = await world.tweet(bob, "@shared, the old one")
    assert await mentioned(world, old) == [before]
    await world.log.append(
        UsernameReleased(event_id=1, occurred_at=1, username_key="shared", user_id=old)
    )
    assert await mentioned(world, old) == []
    between = await world.tweet(bob, "@shared, nobody")
    new = await world.register("shared")
    after = await world.tweet(bob, "@shared, the new one")
    assert await mentioned(world, new) == [after] == TalkOracle(world.oracle).mentions(new)
    assert await mentioned(world, old) == [] == TalkOracle(world.oracle).mentions(old)
    assert between not in await mentioned(world, new)


async def test_there_must_be_such_a_user_and_a_cursor_is_of_one_list(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    await world.call(404, "GET", "/api/users/99/mentions", user=alice)
    for _ in range(2):
        await world.tweet(bob, "@alice")
    page = await world.call(200, "GET", f"/api/users/{alice}/mentions?count=1", user=alice)
    cursor = page["meta"]["next_cursor"]
    await world.call(400, "GET", f"/api/users/{bob}/mentions?cursor={cursor}", user=alice)
    await world.call(401, "GET", f"/api/users/{alice}/mentions")
