"""What people say to each other as clients see it, through every engine."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import closing

import msgspec
import pytest

from events.types import TimelineOpened
from gateway.answers import UserAnswer
from infra import compose
from infra.demo.convergence import SOURCE_TOPICS, LogView, feed, open_view
from tests.conversation_client import read
from tests.end_to_end.town import Person, Town
from tests.oracle import Oracle
from tests.oracle_talk import TalkOracle

ACTS = 60
SAID_SECONDS_MAX = 30.0

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]
logger = logging.getLogger(__name__)


async def said(here: Town) -> Oracle:
    """The oracle over the whole log."""
    oracle = Oracle()
    async with compose.engines(here.settings) as on:
        with closing(open_view(on)) as view:
            await feed(oracle, view, {}, await view.ends(SOURCE_TOPICS))
    return oracle


async def test_mentions_are_read_by_the_one_who_is_mentioned(here: Town) -> None:
    alice, bob, carol = await here.people("alice", "bob", "carol")
    own = await alice.tweet("what do you say?")
    bob.written += alice.written[-1:]
    by_name = await bob.tweet(f"hello @{alice.username.upper()}")
    answer = await bob.tweet("this", reply_to=own)
    gone = await bob.tweet(f"@{alice.username} again")
    await carol.tweet(f"@{alice.username}, and me")
    await bob.do(200, "DELETE", f"/api/tweets/{gone}")
    await alice.relate("mute", carol)
    path = f"/api/users/{alice.id}/mentions"
    alice.written += carol.written[-1:]
    for count in (1, 20):
        assert await alice.pages(path, count, after=bob) == [answer, by_name]
    assert len(await bob.pages(path, after=carol)) == 3


async def _talk(chance: random.Random, people: list[Person], tweets: list[str]) -> None:
    """Somebody says something, to somebody, about something; or takes it back."""
    person, other = chance.sample(people, 2)
    person.written = [position for one in people for position in one.written[-1:]]
    if chance.random() < 0.12:
        await person.send("DELETE", f"/api/tweets/{chance.choice(tweets[1:] or tweets)}")
        return
    text = f"@{other.username} hello" if chance.random() < 0.5 else "hello"
    body = {"text": text, "reply_to": chance.choice([tweets[-1], *tweets])}
    response = await person.send("POST", "/api/tweets", body)
    if response.status_code == 201:  # else what it answers is gone, or there is a block
        tweets.append(response.json()["data"]["id"])


async def test_all_that_was_said_is_what_the_oracle_says_of_the_log(here: Town) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    chance = random.Random(seed)
    people = await here.people("a", "b", "c", "d")
    tweets = [await people[0].tweet("the root")]
    for _ in range(ACTS):
        await _talk(chance, people, tweets)
    await people[1].relate("mute", people[2])
    await people[3].relate("block", people[0])
    positions = [position for person in people for position in person.written]
    for person in people:
        await person.until_applied(positions)
    oracle = await said(here)
    talk = TalkOracle(oracle)
    for person in people:
        reader = int(person.id)

        async def get(path: str, person: Person = person) -> bytes:
            response = await person.send("GET", path)
            assert response.status_code == 200, response.text
            return response.content

        for tweet in {int(tweets[0]), *map(int, chance.sample(tweets, 6))}:
            if oracle.tweet(tweet) is not None:
                seen = await read(get, tweet, chance.choice((2, 20)))
                assert seen == (talk.ancestors(tweet, reader), talk.replies(tweet, reader))
        for other in people:
            pages = await person.pages(f"/api/users/{other.id}/mentions", 7)
            assert list(map(int, pages)) == talk.mentions(int(other.id), reader)


async def test_a_pinned_tweet_is_on_the_profile_until_it_is_gone(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    one, two = await alice.tweet("one"), await alice.tweet("two")

    async def pinned() -> str | None:
        bob.written = [*bob.written[:1], *alice.written[-3:]]
        response = await bob.send("GET", f"/api/users/{alice.id}")
        answer = msgspec.json.decode(response.content, type=UserAnswer)
        included = answer.includes.tweets if answer.includes else []
        assert [tweet.id for tweet in included] == [answer.data.pinned_tweet_id][: len(included)]
        return answer.data.pinned_tweet_id

    assert await pinned() is None
    path = f"/api/users/{alice.id}/pinned_tweet"
    for tweet in (one, two):
        await alice.do(201, "POST", path, {"tweet_id": tweet})
        assert await pinned() == tweet
    await alice.do(200, "DELETE", path)
    assert await pinned() is None
    await alice.do(201, "POST", path, {"tweet_id": one})
    await alice.do(200, "DELETE", f"/api/tweets/{one}")
    assert await pinned() is None


async def test_an_opening_of_the_timeline_reaches_the_log_once(here: Town) -> None:
    alice = await here.person("alice")
    for _ in range(3):
        await alice.do(200, "GET", "/api/timeline/home")
    topics = ["user-activity"]
    async with compose.engines(here.settings) as on:
        with closing(open_view(on)) as view:
            async with asyncio.timeout(SAID_SECONDS_MAX):
                while not (found := await _openings(view, alice, await view.ends(topics))):
                    await alice.do(200, "GET", "/api/timeline/home")
            assert len(found) == 1


async def _openings(
    view: LogView, person: Person, ends: dict[tuple[str, int], int]
) -> list[TimelineOpened]:
    events = [record.event async for record in view.records({}, ends)]
    opened = [event for event in events if isinstance(event, TimelineOpened)]
    return [event for event in opened if event.user_id == int(person.id)]
