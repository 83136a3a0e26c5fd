"""What a client does with a home timeline besides paging: refresh it, and ask why."""

from __future__ import annotations

import msgspec
import pytest

from gateway.answers import Explained, HomeTimelinePage
from tests.end_to_end.town import Person, Town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def read(who: Person, query: str, *after: Person) -> HomeTimelinePage:
    """One answer, once what these people wrote is applied."""
    positions = [position for one in (who, *after) for position in one.written[-2:]]
    headers = {"x-wait-for": ",".join(positions)}
    response = await who.send("GET", f"/api/timeline/home?{query}", headers=headers)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=HomeTimelinePage)


def ids(page: HomeTimelinePage) -> list[str]:
    return [tweet.id for tweet in page.data]


async def test_a_refresh_shows_what_is_new_and_says_what_it_missed(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    await bob.relate("follow", alice)
    old = await alice.tweet("old")
    page = await read(bob, "", alice)
    assert ids(page) == [old]
    since = page.meta.newest_cursor
    assert ids(await read(bob, f"since={since}")) == []
    new = [await alice.tweet(f"{number}") for number in range(5)]
    page = await read(bob, f"since={since}&count=2", alice)
    assert (ids(page), page.meta.missed) == (new[:2:-1], 3)
    gap = await read(bob, f"cursor={page.meta.next_cursor}&count=20")
    assert (ids(gap), gap.meta.next_cursor) == (new[2::-1], None)
    assert ids(await read(bob, f"since={page.meta.newest_cursor}")) == []
    await alice.do(200, "DELETE", f"/api/tweets/{new[4]}")
    page = await read(bob, f"since={since}&count=2", alice)
    assert (ids(page), page.meta.missed) == (new[3:1:-1], 2)


async def test_an_entry_says_why_it_is_there_and_where_in_the_log(here: Town) -> None:
    alice, bob, carol = await here.people("alice", "bob", "carol")
    places: dict[str, str] = {}

    async def tweet(who: Person) -> str:
        tweet_id = await who.tweet()
        places[tweet_id] = who.written[-1]
        return tweet_id

    backfilled = await tweet(carol)
    rebuilt = await tweet(alice)
    await bob.relate("follow", alice)
    assert ids(await read(bob, "", alice)) == [rebuilt]  # filled here
    pushed = await tweet(alice)
    own = await tweet(bob)
    await bob.relate("follow", carol)
    after = await tweet(carol)
    page = await read(bob, "explain=1", alice, carol)
    assert page.explain is not None
    why = {reason.tweet_id: reason for reason in page.explain}
    assert list(why) == ids(page) == [after, own, pushed, rebuilt, backfilled]
    assert [reason.why for reason in page.explain] == [
        "pushed",
        "own",
        "pushed",
        "rebuilt",
        "backfilled",
    ]
    assert {tweet_id: reason.position for tweet_id, reason in why.items()} == places
    assert why[own].follow_id is None
    assert why[after].follow_id == why[backfilled].follow_id
    follow = why[backfilled]
    assert isinstance(follow, Explained) and follow.follow_id is not None
    assert int(backfilled) < int(follow.follow_id) < int(after)
