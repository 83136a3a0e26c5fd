"""`murmur diff --against-oracle` takes dead letters for what operators decided about them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from events.letters import LetterId
from events.types import TweetBookmarked
from infra import compose
from infra.compose import Engines
from infra.diff.oracle import OracleSide, compare_with_oracle
from infra.diff.views import KINDS_OF_UNIT
from infra.settings import Settings
from projections.unit import StoredUnit
from tests.integration.infra.letters_town import Town, town, workers
from tests.oracle import Oracle

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

UNIT = "collections"
JUNK = b"\xffnot an event"


@asynccontextmanager
async def generation(here: Town) -> AsyncIterator[Engines]:
    """A generation of the unit with tables of its own: what is compared are whole tables."""
    on = here.on.at({UNIT: f"d{secrets.token_hex(4)}"})
    unit = compose.UNITS[UNIT](on)
    assert isinstance(unit, StoredUnit)
    await unit.open()
    try:
        async with workers(on, (UNIT,)):
            yield on
    finally:
        await unit.close()
        for table in (*unit.tables, "positions"):
            name = on.store_of(UNIT).table(table)
            drop = partial(on.session.execute, timeout=90.0)
            await asyncio.to_thread(drop, f"DROP TABLE IF EXISTS {name}")


async def test_what_was_decided_is_what_the_oracle_is_told(settings: Settings) -> None:
    async with town(settings) as here, generation(here) as on:
        user, good, edited, discarded = (here.id() for _ in range(4))
        bookmarked = partial(here.say, TweetBookmarked, user_id=user)
        await here.good(bookmarked(tweet_id=good))
        poison = await here.poison(bookmarked(tweet_id=here.id()), JUNK)
        # Read here and refused by nobody: what is decided replaces it all the same.
        other = await here.poison(bookmarked(tweet_id=discarded), JUNK)
        await here.settled(on, (UNIT,))
        side = OracleSide(here.view, on, UNIT)
        (kind,) = [one for one in KINDS_OF_UNIT[UNIT] if one.name == "user"]

        async def told() -> list[int]:
            await side.reach({}, 0)
            ((answer),) = await side.read(kind, [user])
            found: list[int] = answer["bookmarks"]
            return found

        assert await told() == [good]
        assert await equal(here, on)

        await here.mend(UNIT, poison, bookmarked(tweet_id=edited))
        name = LetterId(UNIT, other.topic, other.partition, other.offset)
        await here.desk.discard([name], actor="ada", reason="a load test left it")
        await here.settled(on, (UNIT,))
        assert await told() == [edited, good]  # an oracle that was fed before learns of it
        assert await equal(here, on)

        ends = await here.view.ends(["bookmarks"])
        unheeded = Oracle([one async for one in here.view.records({}, ends)])
        assert unheeded.collections.bookmarks(user) == [good]


async def equal(here: Town, on: Engines) -> bool:
    report = await compare_with_oracle(on, UNIT, name="a", sample=None, seed=1)
    assert {total.kind for total in report.totals if total.compared} == {"user"}
    return report.equal
