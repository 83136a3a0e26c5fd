"""Search as clients see it, through every engine."""

from __future__ import annotations

import time
from urllib.parse import quote

import msgspec
import pytest

from gateway.answers import CountsPage
from tests.end_to_end.town import Person, Town

VISIBLE_SECONDS_MAX = 10.0
"""For a tweet on a machine that does much else; the figures are in docs/search.md."""

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]


async def found(
    person: Person, query: str, count: int = 20, after: Person | None = None
) -> list[str]:
    """All pages of a search."""
    return await person.pages(f"/api/search?q={quote(query)}", count, after)


async def test_what_was_said_is_found_by_words_tags_users_and_phrases(here: Town) -> None:
    ann, bob, eve = await here.people("ann", "bob", "eve")
    mark = f"zq{ann.id[-9:]}"
    first = await ann.tweet(f"The {mark} runs in 東京都庁 #Tag{mark}")
    bob.written += ann.written[-1:]
    second = await bob.tweet(f"running {mark} far away", reply_to=first)
    gone = await bob.tweet(f"{mark} again")
    hidden = await eve.tweet(f"{mark} too")
    await bob.do(200, "DELETE", f"/api/tweets/{gone}")
    await ann.relate("block", eve)
    ann.written += [*bob.written[-2:], *eve.written[-1:]]
    asked = {
        mark: [second, first],
        f"FAR {mark}": [second],
        f"{mark} 東京": [first],
        f'"{mark} far"': [second],
        f"#tag{mark.upper()}": [first],
        f"from:{bob.username} {mark}": [second],
        f"{mark} is:reply": [second],
        f"{mark} -from:{bob.username}": [first],
        f"to:{ann.username} {mark}": [second],
        f"conversation_id:{first}": [second, first],
        f"{mark} min_likes:1": [],
    }
    for query, ids in asked.items():
        assert await found(ann, query) == ids, query
    assert await found(ann, mark, count=1) == [second, first]
    bob.written += eve.written[-1:]
    assert await found(bob, mark) == [hidden, second, first]
    counts = await ann.do(200, "GET", f"/api/search/counts?q={mark}&granularity=day")
    page = msgspec.convert(counts, CountsPage)
    assert page.meta.total_tweet_count == 3


async def test_a_user_is_found_by_the_beginning_of_a_name(here: Town) -> None:
    ann, bob = await here.people("ann", "bob")
    bob.written += ann.written
    users = await bob.do(200, "GET", f"/api/search/users?q=@{ann.username[:-1].upper()}")
    assert ann.id in [user["id"] for user in users["data"]]


async def test_a_query_that_cannot_be_read_is_refused_with_the_place(here: Town) -> None:
    (ann,) = await here.people("ann")
    problem = await ann.do(400, "GET", "/api/search?q=cats%20OR")
    assert "At character 8: expected a word" in problem["detail"]


async def test_a_tweet_is_found_soon_after_it_was_posted(here: Town) -> None:
    (ann,) = await here.people("ann")
    took: list[float] = []
    for number in range(5):
        word = f"zs{ann.id[-9:]}n{number}"
        ann.written.clear()
        tweet = await ann.tweet(f"a {word}")
        ann.written.clear()  # nothing is waited for but the tweet itself
        began = time.monotonic()
        while await found(ann, word) != [tweet]:
            assert time.monotonic() - began < VISIBLE_SECONDS_MAX
        took.append(time.monotonic() - began)
    print(f"found after {', '.join(f'{seconds * 1000:.0f} ms' for seconds in took)}")
