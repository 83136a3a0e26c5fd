"""One stack of real engines for the whole run, and a corner of it for each test.

`MURMUR_TEST_STACK=DIR` uses the stack that runs in that data folder. Without it the first test
that needs engines starts a stack in a temporary folder on free ports; it is stopped at the end,
and dies with pytest however that ends (the launcher's parent-death signal).

In a run of several processes (`-n`, pytest-xdist) the first of them, which runs no test, starts the
stack as the run begins and hands its folder to the others by that variable; they go on with what
needs no engine until it is ready.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from hypothesis import settings as hypothesis_settings

from infra.compose import close_cassandra, open_cassandra, open_redis
from infra.settings import Settings, load
from infra.stack import process, state
from projections.bus import RedisBus
from tests.lanes import Lanes

STACK = "MURMUR_TEST_STACK"
GENERATION = "t1"
THROWN_AWAY = "murmur-test-"
"""What the folders begin with of stacks that end with the tests."""

START_S_MAX = 180.0
STOP_S_MAX = 60.0

# The same examples in every run, so that the suite says the same of the same code; `make model`
# is what goes where nobody was.
hypothesis_settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("suite")


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings that lead to running engines."""
    with running_stack() as settings:
        yield settings


@contextmanager
def running_stack() -> Iterator[Settings]:
    """The stack that is given, or one of its own; for what runs outside of pytest as well."""
    given = os.environ.get(STACK)
    if given:
        _until_ready(None, Path(given))
        yield _settings(Path(given))
        return
    with _launched() as (launcher, folder):
        _until_ready(launcher, folder)
        yield _settings(folder)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """In the process that starts the others, before it does."""
    config = session.config
    is_first = not hasattr(config, "workerinput")
    if is_first and config.getoption("numprocesses", default=None) and STACK not in os.environ:
        running = ExitStack()
        config.add_cleanup(running.close)
        _, folder = running.enter_context(_launched())
        os.environ[STACK] = str(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes | None:
    """The files are shared out as `tests.lanes` says."""
    return Lanes(config, log) if config.getoption("dist") == "loadfile" else None


@contextmanager
def _launched() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A stack that starts in a temporary folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix=THROWN_AWAY) as name:
        folder = Path(name)
        launcher = _launch(folder)
        try:
            yield launcher, folder
        finally:
            launcher.terminate()
            try:
                launcher.wait(STOP_S_MAX)
            finally:
                launcher.kill()


def is_thrown_away(stack: Settings) -> bool:
    """Whether nobody will use the stack after the tests."""
    return stack.data_dir.name.startswith(THROWN_AWAY)


def _settings(folder: Path) -> Settings:
    settings = load(environ={}, data_dir=folder.resolve(), generation=GENERATION).settings
    if load(environ={}, data_dir=folder).origins["kafka_bootstrap"] != "stack":
        raise RuntimeError(f"MURMUR_TEST_STACK={folder}: no stack runs there")
    return settings


def _launch(folder: Path) -> subprocess.Popen[bytes]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MURMUR_")},
        "MURMUR_DATA_DIR": str(folder),
        "MURMUR_STACK_USUAL_PORTS": "false",
    }
    command = [sys.executable, "-m", "infra.cli.main", "up"]
    guarded = [sys.executable, "-IS", str(process.GUARD), str(os.getpid()), *command]
    with (folder / "launcher.log").open("wb") as log:
        return subprocess.Popen(
            guarded, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
        )


def _until_ready(launcher: subprocess.Popen[bytes] | None, folder: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        current = state.read(folder)
        if current and current.ready:
            return
        if launcher is not None and launcher.poll() is not None:
            break
        time.sleep(0.1)
    words = "\n".join(process.last_lines(folder / "launcher.log", 30))
    raise RuntimeError(f"the stack did not start:\n{words}")


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no topic has yet."""
    return f"t{secrets.token_hex(5)}-"


@pytest.fixture
def settings(stack: Settings, topic_prefix: str) -> Settings:
    """The session's engines with this test's own topics."""
    return stack.model_copy(update={"topic_prefix": topic_prefix})


@pytest.fixture(scope="session")
async def redis(stack: Settings) -> AsyncIterator[RedisBus]:
    """The session's connection to Valkey."""
    bus = await open_redis(stack)
    yield bus
    await bus.close()


@pytest.fixture(scope="session")
async def cassandra(stack: Settings) -> AsyncIterator[Session]:
    """The session's connection to Cassandra; the keyspace exists."""
    session = await open_cassandra(stack)
    yield session
    await close_cassandra(session)
