"""`murmur repair` as a user runs it: exit statuses, what it prints, what the audit is told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest

from events.types import OperatorActed
from infra.settings import Settings
from tests.integration.infra.generations import Town
from tests.integration.infra.repair_plants import PLANTS
from tests.integration.infra.repair_scene import TRAFFIC, differing, fed, live, told_town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(400)]

WHAT = "bookmarks"


@pytest.fixture(scope="module")
async def here(stack: Settings) -> AsyncIterator[Town]:
    async with told_town(stack) as made:
        yield made


async def murmur(settings: Settings, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "repair", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")},
            "MURMUR_DATA_DIR": str(settings.data_dir),
            "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
            **environ,
        },
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_it_tells_by_its_exit_status_and_the_audit_what_it_did(here: Town) -> None:
    made = await fed(here, WHAT)
    target = await PLANTS[WHAT](here, made)
    settings, user = here.on.settings, str(here.users[0])
    service = {"MURMUR_GENERATION": here.name("r")}

    status, out, err = await murmur(settings, WHAT, user, "--dry-run", **service)
    assert (status, "would be put right" in out) == (1, True), err
    assert await told(here) == []

    async with live(here, made, TRAFFIC[WHAT]):
        status, out, err = await murmur(settings, WHAT, user, "--json", **service)
    assert status == 0, err
    (outcome,) = msgspec.json.decode(out)
    assert outcome["changes"] and outcome["problems"] == []
    assert await differing(here, await fed(here, WHAT), target) == []

    status, out, err = await murmur(settings, WHAT, user, **service)
    assert (status, out) == (
        0,
        f"bookmarks {user}: nothing was wrong, and nothing was written\n",
    ), err
    (act,) = await told(here)  # the one that wrote
    assert (act.action, act.unit, act.generation) == ("repair", "collections", here.name("r"))
    assert act.detail.startswith(f"bookmarks {user}: {outcome['changes'][0]}")


async def told(here: Town) -> list[OperatorActed]:
    view = here.view()
    acts = [one.event async for one in view.records({}, await view.ends(["audit"]))]
    return [act for act in acts if isinstance(act, OperatorActed)]


async def test_what_makes_no_sense_is_refused_with_a_word_on_what_does(stack: Settings) -> None:
    for arguments, words in (
        (("tweet", "ada"), "'ada' is no id of a tweet: give digits"),
        (("timeline", str(1 << 63)), "is no id of a user: give digits"),
        (("username", "@ada"), "'@ada' is no username: give it as in `ada`"),
        (("search", "ada"), "'ada' is no id of a tweet: give digits"),
        (("trends", " "), "give a hashtag or phrase, as in '#storm'"),
        (("everything", "1"), "'everything' is not one of 'account'"),
    ):
        status, out, err = await murmur(stack, *arguments)
        assert (status, out) == (2, ""), err
        assert words in " ".join(err.split()), err


async def test_an_engine_that_is_away_is_told(stack: Settings) -> None:
    away = {"MURMUR_CASSANDRA_HOSTS": "127.0.0.1:1"}
    status, _, err = await murmur(stack, "tweet", "1", **away)
    assert (status, "murmur status" in err) == (3, True), err
