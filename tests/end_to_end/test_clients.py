"""What a client can rely on, over HTTP and through every engine."""

from __future__ import annotations

import asyncio
import secrets
import sys

import httpx
import msgspec
import pytest

from gateway.answers import TweetAnswer, UserAnswer, UserPage
from infra.demo.children import GatewayProcess
from infra.stack import process
from tests.end_to_end.town import READY_SECONDS_MAX, UNITS, Town, free_port

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def test_a_tweet_reaches_a_followers_home_timeline(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    before = await alice.tweet("before the follow")
    await bob.relate("follow", alice)
    first = await alice.tweet("hello @bob #first https://example.org/")
    second = await alice.tweet("second")
    assert await bob.home(after=alice) == [second, first, before]
    assert await bob.home(count=1, after=alice) == [second, first, before]
    assert await alice.home() == [second, first, before]
    own = await bob.tweet("mine")
    assert await bob.home() == [own, second, first, before]
    assert await alice.pages(f"/api/users/{alice.id}/tweets") == [second, first, before]


async def test_what_a_command_answers_is_what_is_read(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    root = await alice.tweet("root $CASH 日本 é")
    body = {"text": "a reply and a quote", "reply_to": root, "quote_tweet_id": root}
    bob.written += alice.written[-1:]
    posted = await bob.send("POST", "/api/tweets", body)
    answer = msgspec.json.decode(posted.content, type=TweetAnswer).data
    read = await bob.send("GET", f"/api/tweets/{answer.id}")
    assert msgspec.json.decode(read.content, type=TweetAnswer).data == answer
    assert answer.conversation_id == root
    assert {r.type: r.id for r in answer.referenced_tweets} == {"replied_to": root, "quoted": root}


async def test_profiles_names_and_counts(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    await bob.relate("follow", alice)
    edited = await alice.do(200, "PATCH", "/api/users/me", {"name": "Älice", "location": "here"})
    response = await alice.send("GET", f"/api/users/by/username/{alice.username.upper()}")
    user = msgspec.json.decode(response.content, type=UserAnswer).data
    assert (user.id, user.name, user.location) == (alice.id, "Älice", "here")
    assert edited["data"]["name"] == "Älice"
    response = await bob.send("GET", f"/api/users/{alice.id}/followers")
    page = msgspec.json.decode(response.content, type=UserPage)
    assert [follower.id for follower in page.data] == [bob.id]
    me = msgspec.json.decode((await bob.send("GET", "/api/users/me")).content, type=UserAnswer)
    assert me.data.public_metrics is not None
    assert me.data.public_metrics.following_count == 1
    await bob.end("follow", alice)
    me = msgspec.json.decode((await bob.send("GET", "/api/users/me")).content, type=UserAnswer)
    assert me.data.public_metrics is not None
    assert me.data.public_metrics.following_count == 0


async def test_deletion_mute_unfollow_and_block_take_effect_at_once(here: Town) -> None:
    alice, bob, carol = await here.people("alice", "bob", "carol")
    for other in (alice, carol):
        await bob.relate("follow", other)
    kept, gone, muted = await alice.tweet("kept"), await alice.tweet("gone"), await carol.tweet("m")
    assert set(await bob.home(after=alice)) >= {kept, gone}
    await alice.do(200, "DELETE", f"/api/tweets/{gone}")
    assert gone not in await bob.home(after=alice)
    await bob.relate("mute", carol)
    assert await bob.home(after=alice) == [kept]
    await bob.end("mute", carol)
    assert await bob.home(after=carol) == [muted, kept]
    await bob.end("follow", carol)
    assert await bob.home() == [kept]
    await alice.relate("block", bob)
    assert await bob.home(after=alice) == []
    bob.written += alice.written[-1:]
    await bob.do(403, "POST", f"/api/users/{bob.id}/follow", {"target_user_id": alice.id})
    await bob.do(403, "POST", "/api/tweets", {"text": "x", "reply_to": kept})
    await alice.end("block", bob)
    bob.written += alice.written[-1:]
    # The block ended the follow for good; a new one shows the tweets again.
    assert await bob.home(after=alice) == []
    await bob.relate("follow", alice)
    assert await bob.home(after=alice) == [kept]


async def test_retweets(here: Town) -> None:
    alice, bob, carol = await here.people("alice", "bob", "carol")
    await carol.relate("follow", bob)
    original = await alice.tweet("original")
    bob.written += alice.written[-1:]
    retweet = await bob.retweet(original)
    assert await carol.home(after=bob) == [retweet]
    await bob.do(409, "POST", f"/api/tweets/{original}/retweet")
    await bob.do(200, "DELETE", f"/api/tweets/{original}/retweet")
    assert await carol.home(after=bob) == []
    again = await bob.retweet(original)
    assert await carol.home(after=bob) == [again]
    await carol.relate("mute", alice)
    assert await carol.home(after=bob) == []
    await carol.end("mute", alice)
    await alice.do(200, "DELETE", f"/api/tweets/{original}")
    assert await carol.home(after=alice) == []


async def test_of_racing_registrations_exactly_one_wins(here: Town) -> None:
    name = f"race_{secrets.token_hex(4)}"
    bodies = [{"username": n, "name": "R"} for n in (name, name.upper(), name.title()) * 4]
    responses = await asyncio.gather(*(here.client.post("/api/users", json=b) for b in bodies))
    assert sorted(r.status_code for r in responses) == [201] + [409] * (len(bodies) - 1)
    winner = next(r.json()["data"]["username"] for r in responses if r.status_code == 201)
    assert all(winner in r.json()["detail"] for r in responses if r.status_code == 409)


async def test_a_repeated_registration_is_one_account(here: Town) -> None:
    body = {"username": f"again_{secrets.token_hex(4)}", "name": "A"}
    headers = {"idempotency-key": secrets.token_urlsafe(24)}
    responses = await asyncio.gather(
        *(here.client.post("/api/users", json=body, headers=headers) for _ in range(4))
    )
    later = await here.client.post("/api/users", json=body, headers=headers)
    assert {r.status_code for r in (*responses, later)} == {201}
    assert len({r.json()["data"]["id"] for r in (*responses, later)}) == 1


async def test_a_repeated_command_is_done_once(here: Town) -> None:
    alice = await here.person("alice")
    headers = {"idempotency-key": secrets.token_urlsafe(24)}
    body = {"text": "once"}
    responses = await asyncio.gather(
        *(alice.send("POST", "/api/tweets", body, headers=headers) for _ in range(5))
    )
    assert {r.status_code for r in responses} == {201}
    assert len({r.json()["data"]["id"] for r in responses}) == 1
    assert await alice.home() == [responses[0].json()["data"]["id"]]
    other = await alice.send("POST", "/api/tweets", {"text": "other"}, headers=headers)
    assert other.status_code == 422


async def test_a_cursor_is_bound_to_its_route_and_user(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    for number in range(3):
        await alice.tweet(f"{number}")
    page = await alice.do(200, "GET", f"/api/users/{alice.id}/tweets?count=1")
    cursor = page["meta"]["next_cursor"]
    path = f"/api/users/{alice.id}/tweets?count=1&cursor={cursor}"
    assert (await alice.send("GET", path)).status_code == 200
    assert (await bob.send("GET", path)).status_code == 400
    assert (await alice.send("GET", f"/api/timeline/home?cursor={cursor}")).status_code == 400
    changed = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    assert (await alice.send("GET", path.replace(cursor, changed))).status_code == 400


async def test_a_position_that_is_not_reached_is_a_504_naming_the_unit(here: Town) -> None:
    alice = await here.person("alice")
    headers = {"x-wait-for": "social-graph/0@999999999"}
    response = await alice.send("GET", "/api/timeline/home", headers=headers)
    assert response.status_code == 504
    assert "timelines" in response.json()["detail"]


async def test_a_token_from_the_command_line_works(here: Town) -> None:
    alice = await here.person("alice")
    argv = [sys.executable, "-m", "infra.cli.main", "token", alice.username]
    child = await process.start(argv, asyncio.subprocess.PIPE, here.env)
    output, _ = await child.communicate()
    assert child.returncode == 0
    alice.token = output.decode().strip()
    assert (await alice.do(200, "GET", "/api/users/me"))["data"]["id"] == alice.id


async def test_operators_see_readiness_and_metrics(here: Town) -> None:
    ready = await here.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"].keys() == {"store", "redis", "log", "level", *UNITS}
    metrics = (await here.client.get("/metrics")).text
    assert 'murmur_gateway_requests_total{method="GET",route="/readyz",status="200"}' in metrics
    assert "murmur_gateway_request_seconds_bucket" in metrics


async def test_a_gateway_stops_without_an_error_to_anybody(here: Town) -> None:
    alice = await here.person("alice")
    await alice.tweet()
    extra = GatewayProcess(free_port(), here.logs / "extra", here.env)
    await extra.start()
    statuses: list[int] = []
    async with httpx.AsyncClient(base_url=extra.url, timeout=20) as client:
        await extra.until_ready(client, READY_SECONDS_MAX)

        enough = asyncio.Event()

        async def read_until_refused() -> None:
            headers = {"authorization": f"Bearer {alice.token}"}
            while True:
                try:
                    response = await client.get("/api/timeline/home", headers=headers)
                except httpx.TransportError:
                    return  # not taken any more, without an answer: safe to send elsewhere
                statuses.append(response.status_code)
                if len(statuses) >= 50:
                    enough.set()

        readers = [asyncio.create_task(read_until_refused()) for _ in range(8)]
        async with asyncio.timeout(20):
            await enough.wait()
        assert await extra.stop()
        async with asyncio.timeout(20):
            await asyncio.gather(*readers)
    assert set(statuses) == {200}
