"""``murmur events`` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from infra.settings import Settings
from tests.integration.events.conftest import Events

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

FOLLOWED = {"type": "UserFollowed", "user_id": 1, "target_user_id": 2}


async def murmur(
    settings: Settings, *arguments: str, stdin: str = "", **environ: str
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "events", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "MURMUR_DATA_DIR": str(settings.data_dir),
            "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
            **environ,
        },
    )
    out, err = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), err.decode()


async def test_what_is_appended_is_seen(events: Events) -> None:
    lines = "\n".join(json.dumps({**FOLLOWED, "target_user_id": n}) for n in range(2, 5))
    code, out, _ = await murmur(events.settings, "append", "--json", stdin=lines)
    assert code == 0
    positions = [json.loads(line)["position"] for line in out.splitlines()]
    assert len(set(positions)) == 3
    code, out, _ = await murmur(
        events.settings, "tail", "social-graph", "--from", "earliest", "--count", "3", "--json"
    )
    assert code == 0
    seen = [json.loads(line) for line in out.splitlines()]
    assert [record["event"]["target_user_id"] for record in seen] == [2, 3, 4]
    assert [f"{r['topic']}/{r['partition']}@{r['offset']}" for r in seen] == positions
    assert len({record["event"]["event_id"] for record in seen}) == 3


async def test_a_line_that_is_no_event_stops_with_its_number_and_field(events: Events) -> None:
    lines = f"{json.dumps(FOLLOWED)}\n\n{json.dumps({**FOLLOWED, 'user_id': 'one'})}\n"
    code, out, err = await murmur(events.settings, "append", stdin=lines)
    assert code == 1
    assert out.startswith("social-graph/")
    assert "line 3" in err
    assert "UserFollowed.user_id" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("tail", "new-twets"), 2, "there are: new-tweets"),
        (("tail", "users", "--from", "yesterday"), 2, "earliest, latest or an offset"),
    ],
)
async def test_usage_errors_say_what_to_do(
    settings: Settings, arguments: tuple[str, ...], code: int, told: str
) -> None:
    found, _, err = await murmur(settings, *arguments)
    assert found == code
    assert told in " ".join(err.split())


async def test_an_engine_that_is_away_has_its_own_status(settings: Settings) -> None:
    code, _, err = await murmur(
        settings, "append", stdin="", MURMUR_REGISTRY_URL="http://127.0.0.1:1/apis/ccompat/v7"
    )
    assert code == 3
    assert "murmur status" in err
