"""Telling processes apart, ending them, and choosing what to say of their logs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.stack import ports, process, state
from infra.stack.process import Identity


async def test_a_pid_alone_is_nobody() -> None:
    child = await process.start(["sleep", "60"], asyncio.subprocess.DEVNULL)
    identity = Identity.of(child.pid)
    assert identity is not None
    assert identity.alive()
    assert (identity.resident_mb() or 0) >= 0
    other = Identity(identity.pid, identity.started + 1)
    assert not other.alive()
    other.signal(signal.SIGKILL)
    assert not await identity.gone(0.2)
    assert await process.stop(child, 5.0)
    assert not identity.alive()
    assert Identity.of(child.pid) is None
    identity.signal(signal.SIGKILL)  # nobody is there, and nothing happens


async def test_what_does_not_heed_sigterm_is_killed() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(); time.sleep(60)"
    child = await process.start([sys.executable, "-uc", deaf], asyncio.subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    assert not await process.stop(child, 0.1)
    assert child.returncode == -signal.SIGKILL


def test_a_guarded_process_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import asyncio\nfrom infra.stack import process\n"
            "async def main():\n"
            "    child = await process.start(['sleep', '60'], None)\n"
            "    print(child.pid, flush=True)\n"
            "    await child.wait()\n"
            "asyncio.run(main())",
        ],
        stdout=subprocess.PIPE,
        cwd=Path(process.__file__).parents[2],
    )
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while child.alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_guard_whose_parent_is_gone_starts_nothing() -> None:
    """It was asked to run for a parent that is not its parent (any more)."""
    argv = [sys.executable, "-IS", str(process.GUARD), "1", "touch", "/nonexistent"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "the launcher is gone" in ended.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit status 0"),
        (3, "ended with exit status 3"),
        (-9, "was killed (SIGKILL; out of memory, perhaps)"),
        (-11, "was ended by SIGSEGV"),
        (-99, "was ended by signal 99"),
    ],
)
def test_why_it_ended(status: int, words: str) -> None:
    assert process.exit_words(status) == words


def test_the_line_that_tells() -> None:
    trace = ["ERROR no", "Caused by: the port is taken", "\tat a.b.C(D.java:1)", "\t... 3 more"]
    assert process.telling_line(trace) == "Caused by: the port is taken"
    assert process.telling_line(["one", "two", ""]) == "two"
    assert process.telling_line([]) == "it logged nothing"


def test_last_lines_of_this_run_alone(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert process.last_lines(log, 5) == []
    log.write_bytes(b"before\n" * 3)
    start = log.stat().st_size
    assert process.last_lines(log, 5, start) == []
    log.write_bytes(log.read_bytes() + b"a\nb\n\xff\n")
    assert process.last_lines(log, 2, start) == ["b", "\ufffd"]


def test_ports_usual_then_known_then_any() -> None:
    with socket.socket() as one, socket.socket() as two:
        for taken in (one, two):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        usual, known = one.getsockname()[1], two.getsockname()[1]
        found = ports.choose({"a": usual}, {"a": known}, usual=True)["a"]
        assert found not in (usual, known)
        assert ports.FREE_RANGE[0] <= found <= ports.FREE_RANGE[1]
        two.close()
        assert ports.choose({"a": usual}, {"a": known}, usual=True) == {"a": known}
        one.close()
        assert ports.choose({"a": usual}, {"a": known}, usual=True) == {"a": usual}
        assert ports.choose({"a": usual}, {"a": known}, usual=False) == {"a": known}
        both = ports.choose({"a": usual, "b": usual}, {"b": usual}, usual=True)
        assert both["b"] != both["a"] == usual


def test_one_holder_of_a_data_folder(tmp_path: Path) -> None:
    with state.locked(tmp_path):
        state.write(tmp_path, state.StackState(pid=os.getpid(), started=0))
        with pytest.raises(state.AlreadyRunningError, match="murmur down"), state.locked(tmp_path):
            pytest.fail("two hold it")
    with state.locked(tmp_path):
        pass
