"""Who of many authors retweeted what: the same answer however few or many retweets there are."""

from __future__ import annotations

from secrets import randbits

import pytest

from events.slices import Record
from projections.timelines import authors as authors_module
from projections.timelines.authors import AUTHORS_PER_QUERY, Authors
from projections.timelines.layout import TABLES
from tests.contracts.case import World
from tests.posts import post

pytestmark = pytest.mark.engines

RETWEETERS = 6 * AUTHORS_PER_QUERY


@pytest.mark.parametrize("whole_max", [RETWEETERS // 2, 10 * RETWEETERS])
@pytest.mark.parametrize("asked", [3, 5 * AUTHORS_PER_QUERY])
async def test_many_authors_are_asked_for_at_once_or_in_groups(
    world: World, monkeypatch: pytest.MonkeyPatch, whole_max: int, asked: int
) -> None:
    monkeypatch.setattr(authors_module, "RETWEETS_WHOLE_MAX", whole_max)
    for name, ddl in TABLES.items():
        await world.store.create(name, ddl)
    base = randbits(40) << 20
    popular, quiet, unknown = base, base + 1, base + 2
    users = [base + 100_000 + n for n in range(RETWEETERS)]
    pairs = [(popular, user) for user in users] + [(quiet, users[1]), (quiet, users[-1])]
    retweets = [
        post(base + 1000 + n, user, text="", retweet_of_id=original)
        for n, (original, user) in enumerate(pairs)
    ]
    reader = Authors(world.store)
    await reader.record(Record(offset, 0, event) for offset, event in enumerate(retweets))
    found = await reader.retweets_of([popular, quiet, unknown], users[:asked])
    expected = {
        original: sorted(
            (
                (event.tweet_id, event.user_id)
                for event in retweets
                if event.retweet_of_id == original and event.user_id in users[:asked]
            ),
            reverse=True,
        )
        for original in (popular, quiet, unknown)
    }
    assert found == expected
