"""A worker whose program writes another layout than a generation has refuses to join it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import compose
from infra.generations import now_ms
from infra.settings import Settings
from streams.errors import OperatorNeeded
from tests.integration.stack.test_worker_command import Cli

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

UNIT = "tweets"


async def test_a_worker_of_another_layout_or_number_of_buckets_refuses_to_join(
    settings: Settings, tmp_path: Path
) -> None:
    async with compose.engines(settings) as on:
        layout = compose.UNITS[UNIT](on).layout
        buckets, shards = settings.buckets, settings.search_shards
        # As another release began them: a generation that is there is left as it is.
        begin = on.generations.register_first
        others = {
            UNIT: (layout + 1, buckets),
            "accounts": (compose.UNITS["accounts"](on).layout, buckets + 1),
            "search": (compose.UNITS["search"](on).layout, shards + 1),
        }
        await begin(others, now_ms=now_ms())
    cli = Cli(settings, tmp_path)
    name = settings.generation
    told = (
        f"{name} of {UNIT} has layout {layout + 1}, this program writes {layout}: run the release "
        f"that built it, or build the next one with `murmur replay {UNIT}`"
    )
    refused = cli.run("worker", UNIT)
    assert refused.returncode == 1
    assert f"not fed: {told}" in refused.stderr
    assert f"no generation of {UNIT} that this program may feed" in refused.stderr

    process = cli.module("infra.worker", UNIT)  # as a replay starts it, by name
    assert process.returncode == OperatorNeeded.exit_code
    assert process.stderr.splitlines()[-1].endswith(f"unit {UNIT} ends: {told}")

    process = cli.module("infra.worker", "accounts")
    assert process.returncode == OperatorNeeded.exit_code
    assert f"has {buckets + 1} buckets, MURMUR_BUCKETS is {buckets}: set it back" in process.stderr

    process = cli.module("infra.worker", "search")
    assert process.returncode == OperatorNeeded.exit_code
    assert f"{shards + 1} buckets, MURMUR_SEARCH_SHARDS is {shards}: set it back" in process.stderr
