"""`murmur import` and `murmur simulate` as commands, on real engines with real workers."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.demo.children import Worker
from infra.demo.convergence import Lag, LogView, feed, open_view
from infra.prepare import prepare_on
from infra.settings import Settings
from tests.oracle import Oracle
from tests.unit.infra import x_archive
from tests.unit.infra.x_archive import account_files, folder, others, script, tweet, zipped

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]
LAG_S_MAX = 90.0


class Corner:
    """This test's own topics, with a worker for each unit, and the command line."""

    def __init__(self, on: Engines, view: LogView, env: dict[str, str]) -> None:
        self.on = on
        self.view = view
        self.lag = Lag(on, view, compose.UNITS)
        self._env = env

    async def murmur(self, *arguments: str) -> tuple[int, Any, str]:
        """Run a command with --json; its exit status, answer and messages."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.cli.main", *arguments, "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self._env},
        )
        out, err = await process.communicate()
        return process.returncode or 0, json.loads(out) if out.strip() else None, err.decode()

    async def oracle(self) -> Oracle:
        """What the whole log says, at lag zero."""
        await self.lag.until_zero(LAG_S_MAX)
        oracle = Oracle()
        await feed(oracle, self.view, {}, await self.view.ends())
        return oracle

    async def home(self, user: int) -> list[int]:
        """All of a home timeline that fits on one page."""
        homes = HomeTimelines(
            compose.timelines_reader(self.on),
            compose.tweets_reader(self.on),
            compose.accounts_reader(self.on),
        )
        return [tweet_id for tweet_id, _ in (await homes.page(user, None, 500)).tweets]


@pytest.fixture
async def corner(settings: Settings, tmp_path: Path) -> AsyncIterator[Corner]:
    env = {
        "MURMUR_DATA_DIR": str(settings.data_dir),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
    }
    async with AsyncExitStack() as closing:
        on = await closing.enter_async_context(compose.engines(settings))
        await prepare_on(on)
        for unit in compose.UNITS:
            worker = Worker(unit, tmp_path / "logs", env)
            closing.push_async_callback(worker.stop)
            await worker.start()
        view = open_view(on)
        closing.callback(view.close)
        yield Corner(on, view, env)


async def test_an_export_is_imported_once_whatever_one_does(
    corner: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, friend = 10**15 + secrets.randbelow(10**12), 10**15 + secrets.randbelow(10**12)
    first = 10**17 + secrets.randbelow(10**12) * 10
    name = f"i{secrets.token_hex(5)}"
    monkeypatch.setattr(x_archive, "OWNER", owner)
    files = account_files(name) | {
        "data/tweets.js": script(
            "tweets",
            0,
            [tweet(first + i, f"tweet &amp; {i} 猫") for i in range(450)]
            + [tweet(first + 500, "RT @somebody: hi")],
        ),
        "data/following.js": others("following", "following", [friend]),
        "data/like.js": script("like", 0, [{"like": {"tweetId": str(first)}}]),
    }
    path = zipped(tmp_path / "archive.zip", files, inside="twitter-x/")
    status, dry, _ = await corner.murmur("import", "x-archive", str(path), "--dry-run")
    assert status == 0
    assert sum((await corner.view.ends()).values()) == 0

    status, answer, message = await corner.murmur("import", "x-archive", str(path))
    assert status == 0, message
    assert answer["kinds"] == dry["kinds"]
    assert answer["kinds"]["tweets"]["appended"] == 450
    assert answer["kinds"]["tweets"]["skipped"] == {"retweet_without_original": 1}
    oracle = await corner.oracle()
    ends = await corner.view.ends(
        ("users", "usernames", "social-graph", "new-tweets", "engagements")
    )
    assert oracle.holder(name) == owner
    assert oracle.following_count(owner) == 1
    assert await corner.home(owner) == oracle.home(owner)
    assert len(oracle.home(owner)) == 450
    kept = oracle.tweet(first)
    assert kept is not None
    assert (kept.text, kept.created_at) == ("tweet & 0 猫", 1_539_202_764_000)

    # Again: nothing is added, and the answer says so.
    status, answer, _ = await corner.murmur("import", "x-archive", str(path))
    assert status == 0
    assert {kind: tally["appended"] for kind, tally in answer["kinds"].items()} == dict.fromkeys(
        answer["kinds"], 0
    )
    assert await corner.view.ends(sorted({topic for topic, _ in ends})) == ends

    # Somebody else with the same ids, and somebody else with the same name.
    monkeypatch.setattr(x_archive, "OWNER", friend)
    theirs = account_files(name + "x") | {
        "data/tweets.js": script("tweets", 0, [tweet(first, "mine!"), tweet(first + 700, "ours")])
    }
    status, answer, _ = await corner.murmur(
        "import", "x-archive", str(folder(tmp_path / "theirs", theirs))
    )
    assert status == 0
    assert answer["kinds"]["tweets"]["refused"] == {"id_of_another_author": 1}
    assert answer["kinds"]["tweets"]["appended"] == 1
    oracle = await corner.oracle()
    assert (
        await corner.home(owner)
        == oracle.home(owner)
        == [
            first + 700,
            *range(first + 449, first - 1, -1),
        ]
    )
    monkeypatch.setattr(x_archive, "OWNER", friend + 1)
    again = folder(tmp_path / "same-name", account_files(name))
    status, _, message = await corner.murmur("import", "x-archive", str(again))
    assert status == 1
    assert f"@{name} belongs to user {owner}" in message


async def test_simulate_appends_what_it_says(corner: Corner) -> None:
    arguments = ("--users", "30", "--events", "1500", "--rate", "0", "--seed", "5")
    status, answer, message = await corner.murmur("simulate", *arguments)
    assert status == 0, message
    assert answer["events"] == 1500
    oracle = await corner.oracle()
    every = await corner.view.ends(topic.name for topic in corner.on.topics if topic.source)
    assert sum(every.values()) == 1500
    assert len(oracle.users()) == 30
    assert oracle.holder(answer["example_username"]) in oracle.users()
