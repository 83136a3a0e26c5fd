"""The life of a generation as an engineer leads it: built, promoted, back, gone."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from events.types import OperatorActed
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import open_view
from infra.following import Following
from infra.prepare import prepare
from infra.replay.progress import Looks
from infra.settings import Settings
from projections.generations import WHOLE, State
from tests.integration.stack.test_launcher import until
from tests.integration.stack.test_worker_command import Cli

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

UNIT = "tweets"
SECONDS_MAX = 60.0


async def caught_up(on: Engines, name: str) -> None:
    """Waits until a generation of the unit has applied what the log holds."""
    looks = Looks(on.at({UNIT: name}), UNIT, WHOLE)
    deadline = time.monotonic() + SECONDS_MAX
    while (found := await looks.look()).behind:
        assert time.monotonic() < deadline, found.lag
        await asyncio.sleep(0.1)


def rows(cli: Cli) -> dict[str, dict[str, Any]]:
    """What `murmur generations` says of the unit, by generation."""
    found = json.loads(cli.run("generations", "--json").stdout)
    return {row["generation"]: row for row in found if row["unit"] == UNIT}


async def test_a_generation_is_built_promoted_rolled_back_and_dropped(
    settings: Settings, tmp_path: Path
) -> None:
    await prepare(settings)
    cli = Cli(settings, tmp_path)
    simulated = cli.run("simulate", "--users", "40", "--events", "400", "--rate", "0")
    assert simulated.returncode == 0, simulated.stderr
    worker = cli.begin(tmp_path / "worker.log", "worker", UNIT)
    try:
        async with compose.engines(settings) as on:
            first = settings.generation
            second = _built(cli, tmp_path / "replay.log")
            more = cli.run("simulate", "--users", "10", "--events", "50", "--rate", "0")
            assert more.returncode == 0, more.stderr
            for name in (first, second):  # the one command feeds both
                await caught_up(on, name)
            assert {row["behind"] for row in rows(cli).values()} == {0}
            await _change_over_and_back(cli, on, first, second)
        await _is_gone(settings, cli, second)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(SECONDS_MAX)


def _built(cli: Cli, log: Path) -> str:
    """Builds a generation in two goes, the first one killed."""
    killed = cli.begin(log, "replay", UNIT)
    until(lambda: "building" in log.read_text(), "it builds")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    built = cli.run("replay", UNIT, "--json")
    assert built.returncode == 0, built.stderr
    name: str = json.loads(built.stdout)["generation"]
    assert name in log.read_text()  # it went on with the same one
    return name


async def _change_over_and_back(cli: Cli, on: Engines, first: str, second: str) -> None:
    read: list[str] = [on.generation(UNIT)]
    following = asyncio.create_task(
        Following(on, lambda there: read.append(there.generation(UNIT))).run()
    )
    try:
        # Rows of other tests are in the tables of the first, which a comparison would find.
        promoted = await asyncio.to_thread(cli.run, "promote", UNIT, "--waive", "shared tables")
        assert promoted.returncode == 0, promoted.stderr
        assert read == [first, second]  # every reader has changed over when the command ends
        refused = await asyncio.to_thread(cli.run, "drop", UNIT, second)
        assert refused.returncode == 1
        assert "in service" in refused.stderr
        back = await asyncio.to_thread(cli.run, "rollback", UNIT)
        assert back.returncode == 0, back.stderr
        assert read == [first, second, first]
    finally:
        following.cancel()


async def _is_gone(settings: Settings, cli: Cli, second: str) -> None:
    dropped = await asyncio.to_thread(cli.run, "drop", UNIT, second)
    assert dropped.returncode == 0, dropped.stderr
    assert set(rows(cli)) == {settings.generation}
    async with compose.engines(settings) as on:
        there = on.at({UNIT: second})
        on.session.cluster.refresh_schema_metadata()
        tables = on.session.cluster.metadata.keyspaces[settings.keyspace].tables
        assert not [table for table in tables if table == f"tweets_{second}"]
        assert [key async for keys in there.bus.scan(f"{second}:*") for key in keys] == []
        view = open_view(on)
        try:
            ends = await view.ends(["audit"])
            acts = [record.event async for record in view.records({}, ends)]
        finally:
            view.close()
    told = [(act.action, act.generation) for act in acts if isinstance(act, OperatorActed)]
    # The refused drop was told as well: an act is told before it is tried.
    assert told == [
        ("promote", second),
        ("drop", second),
        ("rollback", settings.generation),
        ("drop", second),
    ]


async def test_a_part_of_the_log_is_to_be_looked_at_and_never_serves(
    settings: Settings, tmp_path: Path
) -> None:
    await prepare(settings)
    cli = Cli(settings, tmp_path)
    simulated = cli.run("simulate", "--users", "20", "--events", "150", "--rate", "0")
    assert simulated.returncode == 0, simulated.stderr
    built = cli.run("replay", UNIT, "--to", "2020-01-01", "--json")
    assert built.returncode == 0, built.stderr
    part = json.loads(built.stdout)
    assert part["events"] == 0
    assert rows(cli)[part["generation"]]["state"] == State.PARTIAL
    refused = cli.run("promote", UNIT, part["generation"])
    assert refused.returncode == 1
    assert "part of the log" in refused.stderr
    assert cli.run("drop", UNIT, part["generation"]).returncode == 0


def test_what_makes_no_sense_is_refused_with_a_word_on_what_does(
    settings: Settings, tmp_path: Path
) -> None:
    cli = Cli(settings, tmp_path)
    for arguments, words in (
        (("replay", "nothing"), "no unit is called nothing"),
        (("replay", "fan-out"), "lives in the generations of timelines"),
        (("replay", UNIT, "--from", "yesterday"), "neither 'earliest', an offset nor a time"),
    ):
        refused = cli.run(*arguments)
        assert refused.returncode == 2, refused.stdout
        assert words in refused.stderr
