"""Lists and bookmarks as clients see them, through every engine, and the oracle over the log."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import msgspec
import pytest

from gateway.answers import ListAnswer, ListPage, UserPage
from tests.end_to_end.test_oracle import Life, _oracle
from tests.end_to_end.town import Person, Town
from tests.oracle import Oracle

PEOPLE = 6
ACTS = 240
logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


async def make(owner: Person, **fields: Any) -> str:
    """Makes a list and returns its id."""
    found = await owner.do(201, "POST", "/api/lists", {"name": "Birds", **fields})
    list_id: str = found["data"]["id"]
    return list_id


async def ids(reader: Person, path: str, kind: type[UserPage] | type[ListPage]) -> list[str]:
    """Ids of all pages of a list."""
    found: list[str] = []
    cursor = ""
    while True:
        response = await reader.send("GET", f"{path}?count=2{cursor}")
        assert response.status_code == 200, response.text
        page = msgspec.json.decode(response.content, type=kind)
        found += [item.id for item in page.data]
        if page.meta.next_cursor is None:
            return found
        cursor = f"&cursor={page.meta.next_cursor}"


async def test_ones_own_list_is_there_when_it_is_read_next(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    list_id = await make(alice, private=True)
    await alice.do(201, "POST", f"/api/lists/{list_id}/members", {"user_id": bob.id})
    tweet = await bob.tweet("in a list")
    alice.written += bob.written[-1:]
    assert await alice.pages(f"/api/lists/{list_id}/tweets") == [tweet]
    assert await ids(alice, f"/api/lists/{list_id}/members", UserPage) == [bob.id]
    await bob.do(404, "GET", f"/api/lists/{list_id}")
    shown = await alice.do(200, "PATCH", f"/api/lists/{list_id}", {"private": False})
    assert shown == await alice.do(200, "GET", f"/api/lists/{list_id}")
    assert msgspec.convert(shown, ListAnswer).data.member_count == 1
    bob.written += alice.written[-1:]
    assert await ids(bob, f"/api/users/{alice.id}/lists", ListPage) == [list_id]
    await bob.do(403, "DELETE", f"/api/lists/{list_id}")
    await alice.do(200, "DELETE", f"/api/lists/{list_id}/members/{bob.id}")
    assert await alice.pages(f"/api/lists/{list_id}/tweets") == []
    await alice.do(200, "DELETE", f"/api/lists/{list_id}")
    await alice.do(404, "GET", f"/api/lists/{list_id}/tweets")


async def test_ones_own_bookmark_is_there_when_it_is_read_next(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    tweets = [await alice.tweet(f"number {n}") for n in range(3)]
    bob.written += alice.written[-1:]
    for tweet in tweets:
        await bob.do(201, "POST", f"/api/tweets/{tweet}/bookmark")
    assert await bob.pages("/api/bookmarks", 2) == tweets[::-1]
    await bob.do(409, "POST", f"/api/tweets/{tweets[0]}/bookmark")
    await bob.do(200, "DELETE", f"/api/tweets/{tweets[1]}/bookmark")
    assert await bob.pages("/api/bookmarks") == [tweets[2], tweets[0]]
    assert await alice.pages("/api/bookmarks") == []


class Collectors(Life):
    """People who make lists and bookmarks besides all that they do."""

    def __init__(self, people: list[Person], chance: random.Random) -> None:
        super().__init__(people, chance)
        self.lists: list[str] = []

    async def act(self) -> None:
        chance = self._chance
        if chance.random() < 0.5:
            return await super().act()
        person = chance.choice(self._people)
        kind = chance.choices(
            ["add", "remove", "bookmark", "end", "edit", "delete"], [40, 8, 20, 6, 4, 1]
        )[0]
        if kind in ("bookmark", "end") and self._tweets:
            method = "POST" if kind == "bookmark" else "DELETE"
            await self._do(person, method, f"/api/tweets/{chance.choice(self._tweets)}/bookmark")
        elif len(self.lists) < PEOPLE:
            made = await self._do(person, "POST", "/api/lists", {"name": f"{chance.random()}"})
            self.lists += [made] if made else []
        else:
            await self._about_list(person, kind, chance.choice(self.lists))
        return None

    async def _about_list(self, person: Person, kind: str, list_id: str) -> None:
        path, other = f"/api/lists/{list_id}", self._chance.choice(self._people).id
        if kind == "remove":
            await self._do(person, "DELETE", f"{path}/members/{other}")
        elif kind == "edit":
            body: Any = {"private": self._chance.random() < 0.5}
            await self._do(person, "PATCH", path, body)
        elif kind == "delete":
            await self._do(person, "DELETE", path)
        else:
            # Whoever comes to mind: a stranger is refused, and the owner is among them.
            for one in self._people:
                await self._do(one, "POST", f"{path}/members", {"user_id": other})


async def test_lists_and_bookmarks_are_what_the_oracle_says_of_the_log(here: Town) -> None:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    people = [await here.person(f"keep{number}") for number in range(PEOPLE)]
    life = Collectors(people, random.Random(seed))
    for _ in range(ACTS // 4):
        await asyncio.gather(*(life.act() for _ in range(4)))
    positions = sorted({position for person in people for position in person.written})
    for at in range(0, len(positions), 8):
        headers = {"x-wait-for": ",".join(positions[at : at + 8])}
        held = await people[0].send("GET", "/api/lists/1/tweets", headers=headers)
        assert held.status_code == 404, held.text  # there is none; it was held all the same
    for person in people:
        person.written.clear()
    oracle = await _oracle(here)
    compared = [await _compare(person, people, life.lists, oracle) for person in people]
    assert sum(compared) > 0, f"seed {seed}: every timeline was empty"


async def _compare(person: Person, people: list[Person], lists: list[str], oracle: Oracle) -> int:
    """Compares all that a person can read; returns how many entries of timelines that was."""
    reader, kept = int(person.id), oracle.collections
    compared = 0
    for list_id in lists:
        view, path = kept.view(int(list_id)), f"/api/lists/{list_id}"
        if view is None or (view.private and view.owner_id != reader):
            assert (await person.send("GET", f"{path}/tweets")).status_code == 404
            continue
        found = [int(tweet) for tweet in await person.pages(f"{path}/tweets", 3)]
        assert found == oracle.list_timeline(int(list_id), reader)
        compared += len(found)
        members = await ids(person, f"{path}/members", UserPage)
        assert [int(member) for member in members] == kept.members(int(list_id))[::-1]
        shown = msgspec.convert(await person.do(200, "GET", path), ListAnswer).data
        assert (int(shown.owner_id), shown.name, shown.private, shown.member_count) == (
            view.owner_id,
            view.name,
            view.private,
            view.member_count,
        )
    for other in people:
        owned = await ids(person, f"/api/users/{other.id}/lists", ListPage)
        assert [int(list_id) for list_id in owned] == kept.owned(int(other.id), reader)
    bookmarked = [tweet for tweet in kept.bookmarks(reader) if oracle.tweet(tweet) is not None]
    assert [int(tweet) for tweet in await person.pages("/api/bookmarks", 3)] == bookmarked
    return compared
