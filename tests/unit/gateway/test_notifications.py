"""Notifications over the oracle: what is told, to whom, in what order, how many; what is said."""

from __future__ import annotations

import msgspec
import pytest

from events.snowflake import compose
from events.types import NotificationsRead, TweetPosted, UserDeactivated, UserReactivated
from gateway.levels.level import Level, Order, Said
from gateway.links import CONFIRM_PATH, STOP_PATH, Link
from gateway.notification_answers import (
    BegunTrend,
    Notification,
    NotificationPage,
    PreferencesAnswer,
)
from tests.oracle_notifications import NotificationsOracle
from tests.posts import post
from tests.unit.gateway.fakes import STARTED_MS
from tests.unit.gateway.world import World


async def told(world: World, user: int, count: int = 20) -> list[Notification]:
    """All pages of a user's notifications, each decoded strictly."""
    found: list[Notification] = []
    cursor = ""
    for _ in range(50):
        response = await world.send("GET", f"/api/notifications?count={count}{cursor}", user=user)
        assert response.status == 200, response.body
        page = msgspec.json.decode(response.body, type=NotificationPage)
        assert {included.id for included in page.includes.users} >= {
            name for one in page.data for name in one.user_ids
        }
        assert {included.id for included in page.includes.tweets} >= {
            one.tweet_id for one in page.data if one.tweet_id
        }
        found += page.data
        if page.meta.next_cursor is None:
            return found
        cursor = f"&cursor={page.meta.next_cursor}"
    raise AssertionError("the pages do not end")


async def unread(world: World, user: int) -> int:
    found = await world.call(200, "GET", "/api/notifications/unread_count", user=user)
    count = found["data"]["unread_count"]
    assert isinstance(count, int)
    return count


async def check(world: World, user: int) -> list[Notification]:
    """Compares every page size with the oracle; returns what a user is told."""
    starts = await world.trends.starts()
    began = [(one.window_end, world.trends.told_at(one), len(one.began)) for one in starts]
    oracle = NotificationsOracle(world.oracle, began)
    expected = [
        (one.kind, one.at, one.acts, [str(user) for user in one.users[:3]])
        for one in oracle.list(user)
    ]
    for count in (1, 3, 20):
        found = await told(world, user, count)
        shown = [(one.type, int(one.latest_id), one.count, one.user_ids) for one in found]
        assert shown == expected
    assert await unread(world, user) == oracle.unread(user)
    return found


async def follow(world: World, user: int, target: int, what: str = "follow") -> None:
    body = {"target_user_id": str(target)}
    await world.call(201, "POST", f"/api/users/{user}/{what}", body, user=user)


async def like(world: World, user: int, tweet: int) -> None:
    await world.call(201, "POST", f"/api/tweets/{tweet}/like", user=user)


@pytest.fixture
async def people(world: World) -> list[int]:
    return [await world.register(name) for name in ("alice", "bob", "carol", "dora", "eve")]


async def test_likes_of_one_tweet_are_one_notification(world: World, people: list[int]) -> None:
    alice, *others = people
    tweet, other = await world.tweet(alice), await world.tweet(alice)
    for user in others:
        await like(world, user, tweet)
    await like(world, others[0], other)
    await like(world, alice, tweet)  # her own act
    newest, likes = await check(world, alice)
    assert (newest.tweet_id, newest.count) == (str(other), 1)
    assert (likes.tweet_id, likes.count) == (str(tweet), 4)
    assert likes.user_ids == [str(user) for user in others[:0:-1]]


async def test_what_is_taken_back_is_not_told(world: World, people: list[int]) -> None:
    alice, bob, carol, *_ = people
    tweet = await world.tweet(alice)
    for user in (bob, carol):
        await like(world, user, tweet)
        await world.call(201, "POST", f"/api/tweets/{tweet}/retweet", user=user)
        await follow(world, user, alice)
    assert [one.count for one in await check(world, alice)] == [2, 2, 2]
    await world.call(200, "DELETE", f"/api/tweets/{tweet}/like", user=carol)
    await world.call(200, "DELETE", f"/api/tweets/{tweet}/retweet", user=carol)
    await world.call(200, "DELETE", f"/api/users/{carol}/follow/{alice}", user=carol)
    assert [one.user_ids for one in await check(world, alice)] == [[str(bob)]] * 3
    await world.call(200, "DELETE", f"/api/tweets/{tweet}", user=alice)
    assert [one.type for one in await check(world, alice)] == ["follow"]


async def test_a_tweet_speaks_once(world: World, people: list[int]) -> None:
    alice, bob, *_ = people
    own = await world.tweet(alice, "I am @alice")
    both = await world.tweet(bob, "@alice @alice", reply_to=str(own), quote_tweet_id=str(own))
    await world.tweet(bob, "@ALICE look", quote_tweet_id=str(own))
    named = await world.tweet(bob, "hello @alice")
    found = await check(world, alice)
    assert [one.type for one in found] == ["mention", "quote", "reply"]
    assert [found[0].tweet_id, found[2].tweet_id] == [str(named), str(both)]
    await world.call(200, "DELETE", f"/api/tweets/{named}", user=bob)
    assert len(await check(world, alice)) == 2


async def test_nothing_of_whom_one_blocks_or_mutes(world: World, people: list[int]) -> None:
    alice, bob, carol, dora, eve = people
    tweet = await world.tweet(alice)
    for user in (bob, carol, dora, eve):
        await like(world, user, tweet)
        await world.tweet(user, "@alice")
    await follow(world, alice, dora, "mute")
    await follow(world, eve, alice, "block")
    found = await check(world, alice)
    assert [one.user_ids for one in found] == [[str(carol)], [str(carol), str(bob)], [str(bob)]]
    assert found[1].count == 2
    await follow(world, alice, carol, "mute")
    await follow(world, alice, bob, "mute")
    assert await check(world, alice) == []


async def test_who_is_away_is_counted_and_not_named(world: World, people: list[int]) -> None:
    alice, bob, carol, dora, _ = people
    tweet = await world.tweet(alice)
    for user in (bob, carol, dora):
        await like(world, user, tweet)
    for user in (carol, dora):
        await world.log.append(UserDeactivated(event_id=1, occurred_at=1, user_id=user))
    (likes,) = await check(world, alice)
    assert (likes.count, likes.user_ids) == (3, [str(bob)])
    await world.log.append(UserDeactivated(event_id=1, occurred_at=1, user_id=bob))
    assert await check(world, alice) == []
    await world.log.append(UserReactivated(event_id=1, occurred_at=1, user_id=carol))
    assert [one.user_ids for one in await check(world, alice)] == [[str(carol)]]


async def test_what_was_read_stays_read(world: World, people: list[int]) -> None:
    alice, bob, carol, *_ = people
    tweet = await world.tweet(alice)
    await like(world, bob, tweet)
    await follow(world, bob, alice)
    newest, oldest = await check(world, alice)
    assert await unread(world, alice) == 2
    body = {"up_to_id": oldest.latest_id}
    await world.call(201, "POST", "/api/notifications/read", body, user=alice)
    assert [one.unread for one in await check(world, alice)] == [True, False]
    body = {"up_to_id": newest.latest_id}
    await world.call(201, "POST", "/api/notifications/read", body, user=alice)
    body = {"up_to_id": oldest.latest_id}  # a client that was away takes nothing back
    await world.call(201, "POST", "/api/notifications/read", body, user=alice)
    assert await unread(world, alice) == 0
    await like(world, carol, tweet)
    assert [one.unread for one in await check(world, alice)] == [True, False]


async def test_nobody_reads_ahead_of_now(world: World, people: list[int]) -> None:
    future = {"up_to_id": str(2**63 - 1)}
    await world.call(422, "POST", "/api/notifications/read", future, user=people[0])
    await world.call(422, "POST", "/api/notifications/read", {"up_to_id": "x"}, user=people[0])


async def test_types_that_are_off_are_not_told(world: World, people: list[int]) -> None:
    alice, bob, *_ = people
    await like(world, bob, await world.tweet(alice))
    await world.tweet(bob, "@alice")
    path = "/api/notifications/preferences"
    response = await world.send("GET", path, user=alice)
    before = msgspec.json.decode(response.body, type=PreferencesAnswer).data
    assert before.in_app.like is True
    assert before.push.mention is True
    assert before.email.daily is False
    body = {"in_app": {"like": False}, "email": {"daily": True}}
    answer = await world.call(200, "PUT", path, body, user=alice)
    assert answer == await world.call(200, "GET", path, user=alice)
    assert answer["data"]["in_app"]["like"] is False
    assert answer["data"]["email"] == {"daily": True, "weekly": False}
    assert [one.type for one in await check(world, alice)] == ["mention"]
    await world.call(200, "PUT", path, {"in_app": {"like": True}}, user=alice)
    assert [one.type for one in await check(world, alice)] == ["mention", "like"]


def talk(users: list[int], text: str, at: int) -> list[TweetPosted]:
    """So many people post about one thing, so many ms after the world began."""
    return [
        post(
            compose(STARTED_MS + at, 1, number),
            user,
            text=f"{text} {number:x}word {number:x}other",
            lang="en",
            created_at=STARTED_MS + at,
        )
        for number, user in enumerate(users)
    ]


async def test_what_begins_to_trend_is_told_to_those_who_want_it(
    world: World, people: list[int]
) -> None:
    alice, bob, *_ = people
    minute = 60_000
    said = [
        *talk(people, "#Derby", 0),
        *talk(people, "#Storm #Rain", 5 * minute),
        *talk(people, "#derby", 30 * minute),  # told a short time ago
    ]
    for event in said:
        await world.log.append(event)
    await world.tweet(bob, "@alice")
    assert [one.type for one in await check(world, alice)] == ["mention"]
    path = "/api/notifications/preferences"
    before = await world.call(200, "GET", path, user=alice)
    assert (before["data"]["in_app"]["trend"], before["data"]["push"]["trend"]) == (False, False)
    await world.call(200, "PUT", path, {"in_app": {"trend": True}}, user=alice)
    found = await check(world, alice)
    assert [one.type for one in found] == ["trend", "trend", "mention"]
    assert found[1].trends == [BegunTrend(name="#derby", query="#derby", author_count=5)]
    assert {one.query for one in found[0].trends} == {"#rain", "#storm"}
    assert (found[0].count, found[0].user_ids, found[0].tweet_id) == (2, [], None)
    assert [one.type for one in await check(world, bob)] == []
    world.levels.heard(Said(Order(Level.LEAN)))
    assert [one.type for one in await told(world, alice)] == ["mention"]
    assert await unread(world, alice) == 1
    world.levels.heard(Said())
    await world.log.append(
        NotificationsRead(
            event_id=1, occurred_at=1, user_id=alice, up_to_id=int(found[1].latest_id)
        )
    )
    assert [one.unread for one in await check(world, alice)] == [True, False, False]


async def test_switches_that_do_not_exist_are_refused(world: World, people: list[int]) -> None:
    path = "/api/notifications/preferences"
    refused: list[dict[str, dict[str, bool]]] = [
        {"push": {"like": True}},
        {"sms": {"like": True}},
        {"push": {}},
        {},
    ]
    for body in refused:
        await world.call(422, "PUT", path, body, user=people[0])


async def test_they_are_ones_own(world: World, people: list[int]) -> None:
    for path in ("", "/unread_count", "/preferences"):
        await world.call(401, "GET", f"/api/notifications{path}")


async def test_the_key_that_browsers_subscribe_with_is_told_to_anybody(world: World) -> None:
    found = await world.call(200, "GET", "/api/notifications/push_key")
    assert found == {"data": {"public_key": "public"}}


async def test_where_one_is_reached(world: World, people: list[int]) -> None:
    alice, facts = people[0], world.oracle.notifications
    keys = {"p256dh": "B" * 87, "auth": "a" * 22}
    path = "/api/notifications/subscriptions"
    for number in range(10):
        body = {"endpoint": f"https://push.example/{number}", "keys": keys, "expirationTime": None}
        answer = await world.call(201, "POST", path, body, user=alice)
        assert answer["data"] == {"subscribed": True}
    await world.call(201, "POST", path, body, user=alice)  # it is there already
    another = {"endpoint": "https://push.example/x", "keys": keys}
    await world.call(409, "POST", path, another, user=alice)
    await world.call(200, "DELETE", path, {"endpoint": "https://push.example/3"}, user=alice)
    await world.call(201, "POST", path, another, user=alice)
    assert len(facts.addressed(alice, "web-push")) == 10
    for odd in ({"endpoint": "file:///etc/passwd", "keys": keys}, {"endpoint": "https://x/"}):
        await world.call(422, "POST", path, odd, user=alice)


async def test_a_link_in_a_mail_ends_mails_to_that_address_alone(
    world: World, people: list[int]
) -> None:
    alice, bob, *_ = people
    facts = world.oracle.notifications
    for user in (alice, bob):
        await world.mailed_to(user, "&@example.com")
    url = world.links.url(STOP_PATH, Link(alice, "&@example.com"))
    path = url.removeprefix("https://murmur.example")
    assert path.startswith(f"{STOP_PATH}?link=")
    asked = await world.send("GET", path)  # as a scanner does
    assert asked.status == 200 and asked.media_type.startswith("text/html")
    assert b"&amp;@example.com" in asked.body and b'<form method="post">' in asked.body
    assert len(facts.addressed(alice, "email")) == 1
    for _ in range(2):
        answer = await world.send("POST", path, raw=b"List-Unsubscribe=One-Click")
        assert answer.status == 200
        assert facts.addressed(alice, "email") == []
    assert len(facts.addressed(bob, "email")) == 1
    for wrong in ("", "?link=", path[len(STOP_PATH) :][:-1], "?link=" + "A" * 60):
        for method in ("GET", "POST"):
            problem = await world.call(400, method, STOP_PATH + wrong)
            assert problem["type"].endswith(":invalid-link")


async def test_one_address_for_mail_once_it_is_confirmed(world: World, people: list[int]) -> None:
    alice, facts = people[0], world.oracle.notifications
    path = "/api/notifications/email"

    def link(address: str) -> str:
        proposal, _ = facts.proposals[alice, "email"]
        url = world.links.url(CONFIRM_PATH, Link(alice, address, proposal))
        return url.removeprefix("https://murmur.example")

    await world.call(409, "PUT", path, {"address": ""}, user=alice)
    in_use = ""
    for address in ("a@example.com", "b@example.com"):
        answer = await world.call(200, "PUT", path, {"address": address}, user=alice)
        assert answer["data"] == {"address": in_use, "pending": address}
        assert facts.addressed(alice, "email") == ([(in_use, "", "")] if in_use else [])
        confirming = link(address)
        asked = await world.send("GET", confirming)  # as a scanner does
        assert asked.status == 200 and address.encode() in asked.body
        assert facts.addressed(alice, "email") == ([(in_use, "", "")] if in_use else [])
        assert (await world.send("POST", confirming)).status == 200
        assert facts.addressed(alice, "email") == [(address, "", "")]
        problem = await world.call(409, "POST", confirming)
        assert problem["type"].endswith(":not-proposed")
        answer = await world.call(200, "PUT", path, {"address": address}, user=alice)
        assert answer["data"] == {"address": address}
        in_use = address
    await world.call(422, "PUT", path, {"address": "a@x\nBcc: b@y"}, user=alice)
    await world.call(200, "PUT", path, {"address": ""}, user=alice)
    assert facts.addressed(alice, "email") == []


async def test_a_link_confirms_what_was_proposed_last(world: World, people: list[int]) -> None:
    alice, facts = people[0], world.oracle.notifications
    path = "/api/notifications/email"
    links = []
    for address in ("mistyped@example.com", "right@example.com"):
        await world.call(200, "PUT", path, {"address": address}, user=alice)
        proposal, _ = facts.proposals[alice, "email"]
        url = world.links.url(CONFIRM_PATH, Link(alice, address, proposal))
        links.append(url.removeprefix("https://murmur.example"))
    await world.call(409, "POST", links[0])
    stop = links[1].replace(CONFIRM_PATH, STOP_PATH)
    await world.call(400, "POST", stop)  # it is not made for that
    await world.call(200, "PUT", path, {"address": ""}, user=alice)
    await world.call(409, "POST", links[1])
    assert facts.addressed(alice, "email") == []
