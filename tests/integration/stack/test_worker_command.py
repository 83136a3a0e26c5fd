"""`murmur worker` and `murmur status`, on the session's engines with topics of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.prepare import prepare
from infra.settings import Settings
from infra.stack.process import Identity
from tests.integration.stack.test_launcher import SECONDS_MAX, until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


class Cli:
    """The command line with the test's settings in its environment."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._argv = [sys.executable, "-m", "infra.cli.main"]
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")},
            "MURMUR_DATA_DIR": str(folder),
            "MURMUR_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "MURMUR_REDIS_URL": settings.redis_url,
            "MURMUR_CASSANDRA_HOSTS": ",".join(settings.cassandra_hosts),
            "MURMUR_REGISTRY_URL": settings.registry_url,
            "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
            "MURMUR_GENERATION": settings.generation,
        }

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return self.module("infra.cli.main", *arguments, given=given)

    def module(
        self, name: str, *arguments: str, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", name, *arguments],
            input=given,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def begin(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [*self._argv, *arguments], env=self._env, stdout=output, stderr=output
            )

    def status(self, unit: str) -> tuple[int, dict[str, Any], list[str]]:
        answer = self.run("status", "--json")
        shown = json.loads(answer.stdout)
        wrong = [words for words in shown["wrong"] if words.startswith(unit)]
        (found,) = [one for one in shown["units"] if one["name"] == unit]
        return answer.returncode, found, wrong


async def test_a_worker_that_is_killed_is_replaced_and_status_tells(
    settings: Settings, tmp_path: Path
) -> None:
    await prepare(settings)
    cli = Cli(settings, tmp_path)
    event = {"type": "UserRegistered", "user_id": 7, "username": "ada", "name": "Ada"}
    appended = cli.run("events", "append", given=json.dumps({**event, "created_at": 1}))
    assert appended.returncode == 0, appended.stderr

    code, unit, wrong = cli.status("accounts")
    assert (code, unit["workers"], unit["behind"]) == (1, 0, 1)
    assert "1 events wait and no worker runs; start `murmur worker accounts`" in wrong[0]

    log = tmp_path / "worker.log"
    worker = cli.begin(log, "worker", "accounts")
    try:
        until(lambda: cli.status("accounts")[1]["committed_lag"] == 0, "the event is committed")
        code, unit, wrong = cli.status("accounts")
        assert (unit["workers"], unit["behind"], wrong) == (1, 0, [])

        first = Identity.of(int(re.findall(r"pid (\d+)", log.read_text())[0]))
        assert first is not None
        first.signal(signal.SIGKILL)
        until(lambda: "was killed" in log.read_text(), "the end is told")
        until(lambda: children(worker.pid) not in ([], [first.pid]), "there is a new one")
        (second,) = [Identity.of(pid) for pid in children(worker.pid)]
        assert second is not None

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS_MAX) == 0
        assert not second.alive()
    finally:
        worker.kill()
        worker.wait()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
