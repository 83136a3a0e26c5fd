"""The tweets' commands and reads, over the oracle."""

from __future__ import annotations

import msgspec
import pytest

from events.errors import (
    BrokerUnreachable,
    EventsError,
    EventTooLarge,
    InvalidEvent,
    OutcomeUnknown,
    QueueFull,
)
from events.types import TweetDeleted, TweetPosted
from gateway.answers import HomeTimelinePage, TweetAnswer, TweetPage
from tests.unit.gateway.world import World, position_of


async def test_a_tweet_is_answered_as_it_is_read(world: World) -> None:
    alice = await world.register("alice")
    text = "hello @bob #tag $CASH https://example.org/a?b 日本"
    response = await world.send("POST", "/api/tweets", {"text": text}, user=alice)
    assert response.status == 201
    posted = msgspec.json.decode(response.body, type=TweetAnswer).data
    assert (posted.text, posted.author_id) == (text, str(alice))
    assert posted.conversation_id == posted.id
    assert position_of(response) == "new-tweets/0@0"
    read = await world.send("GET", f"/api/tweets/{posted.id}", user=alice)
    answer = msgspec.json.decode(read.body, type=TweetAnswer)
    assert answer.data == posted
    assert answer.includes is not None
    assert [user.id for user in answer.includes.users] == [str(alice)]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("a" * 280, 201),
        ("a" * 281, 422),
        ("日" * 280, 201),
        ("e\u0301" * 280, 201),  # NFC makes one code point of each pair
        ("👨‍👩‍👧" * 56, 201),  # five code points each
        ("👨‍👩‍👧" * 57, 422),
        ("", 422),
        (" \n\t", 422),
        ("nul \x00", 422),
    ],
)
async def test_the_length_of_a_text_is_counted_in_code_points_after_nfc(
    world: World, text: str, status: int
) -> None:
    alice = await world.register("alice")
    answer = await world.call(status, "POST", "/api/tweets", {"text": text}, user=alice)
    if status == 422:
        assert answer["errors"][0]["field"] == "text"


@pytest.mark.parametrize(
    "geo",
    [
        {"woeid": "44418", "country_woeid": "23424975"},
        {"coordinates": {"type": "Point", "coordinates": [13.4, 52.5]}},
        {"coordinates": {"type": "Point", "coordinates": [13.4, 52.5]}, "woeid": "638242"},
    ],
)
async def test_a_tweet_shows_the_place_that_its_author_shared(
    world: World, geo: dict[str, object]
) -> None:
    alice = await world.register("alice")
    body = {"text": "here", "geo": geo}
    posted = await world.call(201, "POST", "/api/tweets", body, user=alice)
    assert posted["data"]["geo"] == geo
    read = await world.call(200, "GET", f"/api/tweets/{posted['data']['id']}", user=alice)
    assert read["data"]["geo"] == geo


@pytest.mark.parametrize(
    ("geo", "field"),
    [
        ({"country_woeid": "23424975"}, "geo.country_woeid"),
        ({"coordinates": {"type": "Point", "coordinates": [181, 0]}}, "geo.coordinates"),
        ({"woeid": 44418}, "geo.woeid"),
    ],
)
async def test_a_place_that_is_none_is_refused(
    world: World, geo: dict[str, object], field: str
) -> None:
    alice = await world.register("alice")
    problem = await world.call(422, "POST", "/api/tweets", {"text": "x", "geo": geo}, user=alice)
    assert problem["errors"][0]["field"].startswith(field)


async def test_a_lone_surrogate_is_not_json(world: World) -> None:
    alice = await world.register("alice")
    await world.call(
        400,
        "POST",
        "/api/tweets",
        raw=b'{"text": "\\ud800"}',
        user=alice,
        headers={"content-type": "application/json"},
    )


async def test_a_reply_joins_the_conversation_of_its_root(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    root = await world.tweet(alice)
    reply = await world.tweet(bob, reply_to=str(root))
    await world.tweet(alice, reply_to=str(reply), quote_tweet_id=str(root))
    event = world.log.events[-1]
    assert isinstance(event, TweetPosted)
    assert event.conversation_id == root
    assert (event.reply_to_id, event.reply_to_user_id) == (reply, bob)
    assert (event.quote_of_id, event.quote_of_user_id) == (root, alice)
    await world.call(404, "POST", "/api/tweets", {"text": "x", "reply_to": "77"}, user=bob)


async def test_a_retweet_names_the_original_and_is_made_once(world: World) -> None:
    alice, bob, carol = [await world.register(name) for name in ("alice", "bob", "carol")]
    original = await world.tweet(alice)
    first = await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=bob)
    retweet = int(first["data"]["id"])
    second = await world.call(201, "POST", f"/api/tweets/{retweet}/retweet", user=carol)
    reference = [{"type": "retweeted", "id": str(original)}]
    assert second["data"]["referenced_tweets"] == reference
    problem = await world.call(409, "POST", f"/api/tweets/{original}/retweet", user=bob)
    assert problem["type"].endswith("already-retweeted")
    found = await world.call(200, "DELETE", f"/api/tweets/{original}/retweet", user=bob)
    assert found == {"data": {"retweeted": False}}
    event = world.log.events[-1]
    assert isinstance(event, TweetDeleted)
    assert (event.tweet_id, event.user_id) == (retweet, bob)
    assert (event.retweet_of_id, event.retweet_of_user_id) == (original, alice)
    await world.call(404, "DELETE", f"/api/tweets/{original}/retweet", user=bob)
    await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=bob)


async def test_only_the_author_deletes_and_the_deletion_carries_its_references(
    world: World,
) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    root = await world.tweet(alice)
    reply = await world.tweet(bob, reply_to=str(root))
    await world.call(403, "DELETE", f"/api/tweets/{reply}", user=alice)
    found = await world.call(200, "DELETE", f"/api/tweets/{reply}", user=bob)
    assert found == {"data": {"deleted": True}}
    event = world.log.events[-1]
    assert isinstance(event, TweetDeleted)
    assert (event.conversation_id, event.reply_to_id, event.reply_to_user_id) == (root, root, alice)
    await world.call(404, "GET", f"/api/tweets/{reply}", user=bob)
    await world.call(404, "DELETE", f"/api/tweets/{reply}", user=bob)


async def test_a_retweet_is_gone_with_its_original(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    original = await world.tweet(alice)
    found = await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=bob)
    await world.call(200, "DELETE", f"/api/tweets/{original}", user=alice)
    await world.call(404, "GET", f"/api/tweets/{found['data']['id']}", user=bob)


@pytest.mark.parametrize("by_author", [True, False])
async def test_a_block_stands_against_replies_quotes_and_retweets(
    world: World, by_author: bool
) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    tweet = await world.tweet(alice)
    blocker, other = (alice, bob) if by_author else (bob, alice)
    body = {"target_user_id": str(other)}
    await world.call(201, "POST", f"/api/users/{blocker}/block", body, user=blocker)
    for fields in ({"reply_to": str(tweet)}, {"quote_tweet_id": str(tweet)}):
        await world.call(403, "POST", "/api/tweets", {"text": "x", **fields}, user=bob)
    await world.call(403, "POST", f"/api/tweets/{tweet}/retweet", user=bob)


async def test_a_users_tweets_come_in_pages_without_replies_to_others(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    other = await world.tweet(bob)
    own = [await world.tweet(alice, f"number {n}") for n in range(5)]
    await world.tweet(alice, reply_to=str(other))
    self_reply = await world.tweet(alice, reply_to=str(own[0]))
    retweet = await world.call(201, "POST", f"/api/tweets/{other}/retweet", user=alice)
    expected = world.oracle.user_timeline(alice)
    assert len(expected) == len(own) + 2
    assert {self_reply, int(retweet["data"]["id"])} <= set(expected)
    for count in (1, 2, 3, 7, 20):
        assert await _pages(world, f"/api/users/{alice}/tweets", count, bob) == expected
    whole = world.oracle.user_timeline(alice, replies=True)
    assert await _pages(world, f"/api/users/{alice}/tweets", 3, bob, "&replies=true") == whole
    await world.call(400, "GET", f"/api/users/{alice}/tweets?replies=1", user=bob)
    await world.call(404, "GET", "/api/users/5/tweets", user=bob)


async def test_the_home_timeline_comes_in_pages_with_what_it_refers_to(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    carol = await world.register("carol")
    body = {"target_user_id": str(bob)}
    await world.call(201, "POST", f"/api/users/{alice}/follow", body, user=alice)
    original = await world.tweet(carol)
    for number in range(5):
        await world.tweet(bob, f"number {number}")
    await world.call(201, "POST", f"/api/tweets/{original}/retweet", user=bob)
    expected = world.oracle.home(alice)
    assert len(expected) == 6
    assert await _pages(world, "/api/timeline/home", 4, alice) == expected
    response = await world.send("GET", "/api/timeline/home", user=alice)
    page = msgspec.json.decode(response.body, type=HomeTimelinePage)
    assert {user.id for user in page.includes.users} == {str(bob), str(carol)}
    assert [tweet.id for tweet in page.includes.tweets] == [str(original)]


async def _pages(world: World, path: str, count: int, user: int, more: str = "") -> list[int]:
    seen: list[int] = []
    cursor = ""
    for _ in range(50):
        response = await world.send("GET", f"{path}?count={count}{cursor}{more}", user=user)
        kind: type[HomeTimelinePage | TweetPage] = (
            HomeTimelinePage if path == "/api/timeline/home" else TweetPage
        )
        page = msgspec.json.decode(response.body, type=kind)
        assert page.meta.result_count == len(page.data) <= count
        seen += [int(tweet.id) for tweet in page.data]
        if page.meta.next_cursor is None:
            return seen
        cursor = f"&cursor={page.meta.next_cursor}"
    raise AssertionError("the pages do not end")


async def test_a_repeated_key_is_one_command_with_one_answer(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    keyed = {"idempotency-key": "key-1"}
    first = await world.send("POST", "/api/tweets", {"text": "once"}, user=alice, headers=keyed)
    again = await world.send("POST", "/api/tweets", {"text": "once"}, user=alice, headers=keyed)
    assert (again.status, again.body, again.headers) == (201, first.body, first.headers)
    body = {"text": "another"}
    problem = await world.call(422, "POST", "/api/tweets", body, user=alice, headers=keyed)
    assert problem["type"].endswith("idempotency-key-reused")
    # The key belongs to the user, and what is checked first stays as it was the first time.
    await world.call(201, "POST", "/api/tweets", {"text": "once"}, user=bob, headers=keyed)
    follow = {"target_user_id": str(bob)}
    for _ in range(2):
        path = f"/api/users/{alice}/follow"
        await world.call(201, "POST", path, follow, user=alice, headers=keyed)
    tweets = [e for e in world.log.events if isinstance(e, TweetPosted)]
    assert len(tweets) == 2


@pytest.mark.parametrize("key", ["", "with space", "é", "k" * 129])
async def test_a_wrong_key_is_refused(world: World, key: str) -> None:
    alice = await world.register("alice")
    headers = {"idempotency-key": key}
    await world.call(400, "POST", "/api/tweets", {"text": "x"}, user=alice, headers=headers)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (QueueFull("full"), 503, "log-busy"),
        (BrokerUnreachable("away"), 503, "log-away"),
        (EventTooLarge(9, 8), 413, "event-too-large"),
        (InvalidEvent("bad", event_type="TweetPosted", field="text"), 422, "invalid-field"),
        (OutcomeUnknown("timed out", None), 504, "outcome-unknown"),
    ],
)
async def test_the_logs_errors_reach_the_client_as_what_they_mean(
    world: World, error: EventsError, status: int, kind: str
) -> None:
    alice = await world.register("alice")
    world.log.error = error
    response = await world.send("POST", "/api/tweets", {"text": "x"}, user=alice)
    assert response.status == status
    problem = msgspec.json.decode(response.body)
    assert problem["type"].endswith(kind)
    if status == 503:
        assert "retry-after" in dict(response.headers)
        assert "Nothing was changed" in problem["detail"]
    if status == 504:
        assert "Idempotency-Key" in problem["detail"]
