"""What was planted in one key is put right, while events of the same key come: store and Redis.

The generation is fed as a worker feeds it, by a task that goes on all the time; at the end what
readers see of the key is the oracle's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from infra.diff.views import reads
from infra.repair.mend import kept as stored_of
from infra.repair.rows import Rows
from infra.repair.targets import Bookmarks, Target
from infra.settings import Settings
from projections.unit import StoredUnit
from tests.integration.infra import repair_more
from tests.integration.infra.generations import Fed, Town
from tests.integration.infra.repair_plants import LIST
from tests.integration.infra.repair_plants import PLANTS as PLANTS_OF_SOME
from tests.integration.infra.repair_scene import (
    TRAFFIC,
    differing,
    fed,
    live,
    mended,
    told_town,
)

PLANTS = PLANTS_OF_SOME | repair_more.PLANTS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
async def here(stack: Settings) -> AsyncIterator[Town]:
    async with told_town(stack) as made:
        yield made


@pytest.mark.parametrize("what", PLANTS)
async def test_a_key_is_right_again_and_stays_so_while_events_of_it_come(
    here: Town, what: str
) -> None:
    made = await fed(here, what)
    target = await PLANTS[what](here, made)
    dry = await mended(here, made, target, is_dry=True)
    assert dry.outcome.was_wrong and not dry.outcome.is_right and not dry.told
    assert len(dry.outcome.changes) > 1, dry
    async with live(here, made, TRAFFIC[what]):
        outcome, told = await mended(here, made, target)
        assert outcome.was_wrong and outcome.is_right, outcome
        assert len(told) == 1 and told[0].startswith(f"{outcome.target}: {outcome.changes[0]}")
        for _ in range(10):  # events that come after the repair show as well
            await TRAFFIC[what](here)
    assert await differing(here, await fed(here, what), target) == []
    await is_left_alone(here, what, target)


async def is_left_alone(here: Town, what: str, target: Target) -> None:
    """A key that is right is not written, its cached answers are not forgotten, nobody is told."""
    made = await fed(here, what)
    read = reads(target.unit, made.on, made.on)
    for kind, key in repair_more.questions(target):
        await read[kind](key)  # fills what is cached
    assert not (await mended(here, made, target, is_dry=True)).outcome.was_wrong
    before = await kept(made, target)
    again, told = await mended(here, made, target)
    assert (again.changes, again.caches, again.is_right, told) == ([], [], True, [])
    assert await kept(made, target) == before


async def kept(made: Fed, target: Target) -> tuple[object, object]:
    """All of a key: rows with the timestamps of their cells, and what is cached of it."""
    unit = made.unit
    assert isinstance(unit, StoredUnit)
    rows = Rows(made.on, made.on.store_of(unit.name), unit.tables)
    stored = await stored_of(target, rows, ())
    keys = [made.on.keys(unit.name).of(*entry) for entry in target.caches(stored)]
    cached = await made.on.bus.calls_strict([("EXISTS", key) for key in keys])
    return stored, cached


async def test_what_is_above_the_log_is_beaten_and_told(here: Town) -> None:
    made = await fed(here, "bookmarks")
    one = here.users[0]
    await made.on.store_of(made.unit.name).execute(  # as somebody's hand would write it
        "INSERT INTO {bookmarks} (user_id, tweet_id, event_id) VALUES (?, ?, 0)", (one, LIST)
    )
    outcome, _ = await mended(here, made, Bookmarks(one))
    assert not outcome.is_right and "rebuild" in outcome.problems[0]
    assert await differing(here, made, Bookmarks(one)) == []
