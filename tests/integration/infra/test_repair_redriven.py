"""A repair takes the log as a replay would: what was sent back counts in its place, and what was
replaced or discarded does not.

All that is kept of a key is deleted, likes and replies that came by a redrive among it, and a
bookmark that was discarded is written; readers see what the oracle says again.
"""

from __future__ import annotations

import pytest

from events.types import TweetBookmarked, TweetLiked, TweetPosted
from infra import compose
from infra.repair.cells import AGED, Cell, Row, written
from infra.repair.log import KeyLog
from infra.repair.mend import Mender, Outcome, kept
from infra.repair.rows import Rows
from infra.repair.service import targets
from infra.repair.targets import Target
from infra.settings import Settings
from projections.unit import StoredUnit
from projections.versions import latest
from tests.integration.infra.letters_town import Town, town, workers
from tests.integration.infra.test_letters import (
    JUNK,
    Story,
    expected,
    letters_of,
    post,
    seen,
    tell,
)

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(500)]

GONE_AT = 1
"""Deletes rows that are only keys, where they are there for ever."""


async def test_what_was_sent_back_or_discarded_is_repaired_as_a_replay_would_apply_it(
    settings: Settings,
) -> None:
    async with town(settings) as here, workers(here.on):
        story = await tell(here)
        reply = await answered(here, story)
        await here.settled()
        await decided(here, story)
        await here.settled()
        right = await expected(here, story)
        assert await seen(here, here.on, story) == right
        assert right["counts"][story.tweets[3]].replies == 1
        for what, key in keys(story):
            async for target in targets(here.on, what, key):
                untouched = await mended(here, target)
                assert not untouched.was_wrong and untouched.is_right, untouched
                if what == "bookmarks":
                    await bookmarked(here, story)
                else:
                    assert await lost(here, target), f"nothing is kept of {target.words}"
                outcome = await mended(here, target)
                assert outcome.was_wrong and outcome.is_right, outcome
        assert await seen(here, here.on, story) == right
        # What is appended afterwards counts on from what was repaired.
        about = {"tweet_id": story.tweets[3], "tweet_author_id": story.users[0]}
        await here.good(here.say(TweetLiked, user_id=here.id(), **about))
        await here.good(post(here, here.id(), reply, reply_to_id=story.tweets[3]))
        await here.settled()
        assert await seen(here, here.on, story) == await expected(here, story)


async def answered(here: Town, story: Story) -> int:
    """A poison reply to the tweet that is liked; returns who answered."""
    user = here.id()
    reply = post(here, here.id(), user, reply_to_id=story.tweets[3])
    assert isinstance(reply, TweetPosted)
    story.meant[await here.poison(reply, JUNK)] = reply
    return user


async def decided(here: Town, story: Story) -> None:
    """Sends back what was meant; of one bookmark nobody wants to know, in every unit."""
    for name, at in letters_of(story).items():
        if at.topic == "bookmarks":
            await here.desk.discard([name], actor="ada", reason="a load test left it")
        else:
            await here.mend(name.unit, at, story.meant[at])


def keys(story: Story) -> list[tuple[str, str]]:
    ada, bob, cy = story.users
    return [
        ("account", str(ada)),
        ("username", story.name),
        ("tweet", str(story.tweets[0])),
        ("counts", str(story.tweets[3])),
        ("timeline", str(bob)),
        ("list", str(story.list_id)),
        ("bookmarks", str(cy)),
    ]


async def mended(here: Town, target: Target) -> Outcome:
    async def tell_nobody(words: str) -> None:
        assert words.startswith(target.words)

    mender = Mender(here.on, here.on, here.view, target.unit, tell=tell_nobody)
    return await mender.mend(target)


async def lost(here: Town, target: Target) -> dict[Row, dict[str, Cell]]:
    """Deletes what is kept of a key; returns what that was."""
    made = compose.UNITS[target.unit](here.on)
    assert isinstance(made, StoredUnit)
    store = here.on.store_of(target.unit)
    rows, log = Rows(here.on, store, made.tables), KeyLog(here.on, here.view, target.unit)
    ends = await log.ends(target.topics)
    await log.decided_anew(ends)
    records = await target.records(log, ends)
    known = {written(write, rows.keys).row for _, write in target.facts(records, {}, ends)}
    stored = await kept(target, rows, [row for row in known if target.owns(row)])
    for (table, key), cells in stored.items():
        where = " AND ".join(f"{name} = ?" for name in rows.keys[table])
        gone = {name: cell.at for name, cell in cells.items() if (table, name) not in AGED}
        for name, at in gone.items() if cells else [("", GONE_AT)]:
            cql = f"DELETE {name} FROM {{{table}}} USING TIMESTAMP ? WHERE {where}"
            await store.execute(cql, (at, *key))
    return stored


async def bookmarked(here: Town, story: Story) -> None:
    """Writes the bookmark that was discarded, as a worker would that knew nothing of that."""
    store = here.on.store_of("collections")
    (event, at), *_ = [(e, at.offset) for at, e in story.meant.items() if at.topic == "bookmarks"]
    assert isinstance(event, TweetBookmarked)
    one = (event.user_id, event.event_id, event.tweet_id, latest(at))
    await store.execute(
        "INSERT INTO {bookmarks} (user_id, event_id, tweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?",
        one,
    )
    await store.execute(
        "INSERT INTO {bookmarks_of} (user_id, event_id, tweet_id) VALUES (?, ?, ?)"
        " USING TIMESTAMP ?",
        one,
    )
