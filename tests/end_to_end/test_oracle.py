"""Commands over HTTP, answers over HTTP, and the oracle over the log in between.

A few people do whatever comes to mind, by a seed that is printed. Then, at lag zero, everything
that can be read is what the oracle says of the log: timelines, counts, lists, tweets.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import closing

import msgspec
import pytest

from gateway.answers import User, UserAnswer, UserPage
from gateway.notification_answers import NotificationPage
from infra import compose
from infra.demo.convergence import feed, open_view
from tests.end_to_end.town import Person, Town
from tests.oracle import Oracle
from tests.oracle_notifications import NotificationsOracle

PEOPLE = 8
ACTS = 250
logger = logging.getLogger(__name__)


class Life:
    """What people do; refusals (409, 403, 404) are part of it."""

    def __init__(self, people: list[Person], chance: random.Random) -> None:
        self._people = people
        self._chance = chance
        self._tweets: list[str] = []
        self.statuses: set[int] = set()

    async def act(self) -> None:
        """One person does one thing, at once: nobody waits for what was done before."""
        person = self._chance.choice(self._people)
        other = self._chance.choice(self._people)
        kind = self._chance.choices(
            ["tweet", "reply", "retweet", "undo", "delete", "follow", "block", "mute", "end"],
            [30, 12, 12, 4, 6, 25, 3, 4, 8],
        )[0]
        if kind in ("follow", "block", "mute"):
            body = {"target_user_id": other.id}
            await self._do(person, "POST", f"/api/users/{person.id}/{kind}", body)
        elif kind == "end":
            verb = self._chance.choice(["follow", "block", "mute"])
            await self._do(person, "DELETE", f"/api/users/{person.id}/{verb}/{other.id}")
        elif kind == "tweet" or not self._tweets:
            await self._post(person, {"text": f"{self._chance.random()} #life"})
        else:
            await self._about(person, kind, self._chance.choice(self._tweets))

    async def _about(self, person: Person, kind: str, tweet: str) -> None:
        if kind == "reply":
            field = self._chance.choice(["reply_to", "quote_tweet_id"])
            await self._post(person, {"text": "about it", field: tweet})
        elif kind == "retweet":
            await self._do(person, "POST", f"/api/tweets/{tweet}/retweet")
        elif kind == "undo":
            await self._do(person, "DELETE", f"/api/tweets/{tweet}/retweet")
        else:
            await self._do(person, "DELETE", f"/api/tweets/{tweet}")

    async def _post(self, person: Person, body: dict[str, str]) -> None:
        found = await self._do(person, "POST", "/api/tweets", body)
        if found is not None:
            self._tweets.append(found)

    async def _do(
        self, person: Person, method: str, path: str, body: dict[str, str] | None = None
    ) -> str | None:
        """Sends it; returns the id of what was made."""
        written, person.written = person.written, []
        response = await person.send(method, path, body)
        person.written = [*written, *person.written]
        self.statuses.add(response.status_code)
        assert response.status_code in (200, 201, 403, 404, 409, 422), response.text
        data = response.json().get("data", {})
        return str(data["id"]) if "id" in data else None


@pytest.mark.engines
@pytest.mark.timeout(240)
async def test_everything_that_is_read_is_what_the_oracle_says_of_the_log(here: Town) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    chance = random.Random(seed)
    people = [await here.person(f"life{number}") for number in range(PEOPLE)]
    life = Life(people, chance)
    for _ in range(ACTS // 5):
        await asyncio.gather(*(life.act() for _ in range(5)))
    assert {200, 201} <= life.statuses
    everything = [position for person in people for position in person.written]
    for person in people:
        await person.until_applied(everything)
        await person.until_applied(everything, "/api/notifications")
    oracle = await _oracle(here)
    for person in people:
        await _compare(person, people, oracle)


async def _oracle(here: Town) -> Oracle:
    oracle = Oracle()
    async with compose.engines(here.settings) as on:
        with closing(open_view(on)) as view:
            await feed(oracle, view, {}, await view.ends())
    return oracle


async def _compare(person: Person, people: list[Person], oracle: Oracle) -> None:
    user = int(person.id)
    count = 7
    home = [int(tweet) for tweet in await person.pages("/api/timeline/home", count)]
    assert home == oracle.home(user)
    for replies in (False, True):
        path = f"/api/users/{person.id}/tweets?replies={str(replies).lower()}"
        found = [int(tweet) for tweet in await person.pages(path, count)]
        assert found == oracle.user_timeline(user, replies=replies)
    assert await _listed(person, "followers") == oracle.followers(user)
    assert await _listed(person, "following") == oracle.following(user)
    await _told(person, oracle)
    for other in people:
        response = await person.send("GET", f"/api/users/{other.id}")
        profile = msgspec.json.decode(response.content, type=UserAnswer).data
        assert profile.public_metrics is not None
        assert profile.public_metrics.followers_count == oracle.followers_count(int(other.id))
        assert profile.public_metrics.following_count == oracle.following_count(int(other.id))
    for tweet_id in oracle._posted:
        response = await person.send("GET", f"/api/tweets/{tweet_id}")
        assert (response.status_code == 200) == (oracle.tweet(tweet_id) is not None)


async def _told(person: Person, oracle: Oracle) -> None:
    response = await person.send("GET", "/api/notifications?count=100")
    page = msgspec.json.decode(response.content, type=NotificationPage)
    expected = [
        (one.kind, one.at, one.acts, [str(name) for name in one.users[:3]])
        for one in NotificationsOracle(oracle).list(int(person.id))[:100]
    ]
    found = [(one.type, int(one.latest_id), one.count, one.user_ids) for one in page.data]
    assert found == expected


async def _listed(person: Person, what: str) -> list[int]:
    found: list[User] = []
    cursor = ""
    for _ in range(PEOPLE + 1):
        path = f"/api/users/{person.id}/{what}?count=3{cursor}"
        response = await person.send("GET", path)
        page = msgspec.json.decode(response.content, type=UserPage)
        found += page.data
        if page.meta.next_cursor is None:
            break
        cursor = f"&cursor={page.meta.next_cursor}"
    return sorted(int(user.id) for user in found)
