"""What people say to each other as clients see it, through every engine."""

from __future__ import annotations

import pytest

from tests.end_to_end.town import Town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


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
