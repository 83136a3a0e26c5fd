"""`murmur up`, `down`, `logs`: the local stack from the command line."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.output import AsJson, CommandError, Status, err, print_json, print_json_line
from infra.cli.progress import Terminal
from infra.settings import Loaded, load
from infra.stack import state
from infra.stack.artifacts import ArtifactError, fetch, read_lock
from infra.stack.launcher import Launcher, StackError, external_address
from infra.stack.process import last_lines

app = typer.Typer()

DAEMON_LOG = "launcher.log"
POLL_S = 0.1
STOP_WAIT_S = 70.0


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the stack is ready.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the local stack and wait until every engine answers.

    Kafka, Valkey, Cassandra and a schema registry; the first time they are downloaded. An engine
    whose address is in the settings is used as it is. Without --detach it runs until Ctrl-C.

    Example: `murmur up --detach`
    """
    loaded = load()

    def tell() -> None:
        if as_json:
            print_json_line(_summary(loaded.settings.data_dir))
        else:
            err.print("ready; `murmur down` stops it" if detach else "ready; Ctrl-C stops it")

    with Terminal(quiet=as_json, when_ready=tell) as terminal:
        try:
            if detach:
                _up_detached(loaded, terminal)
            else:
                asyncio.run(Launcher(loaded, terminal).run())
        except state.AlreadyRunningError as error:
            raise CommandError(str(error), Status.RUNNING) from error
        except ArtifactError as error:
            raise CommandError(str(error), Status.UNREACHABLE) from error
        except StackError as error:
            raise CommandError(str(error), Status.WRONG) from error


def _up_detached(loaded: Loaded, terminal: Terminal) -> None:
    """Download here, where the progress can be seen; then leave a launcher behind."""
    data_dir = loaded.settings.data_dir
    running = state.read(data_dir)
    if running and running.alive():
        raise state.AlreadyRunningError(
            f"a stack already runs in {data_dir} (pid {running.pid}); `murmur down` stops it"
        )
    wanted = [
        artifact
        for engine, artifacts in read_lock().items()
        if external_address(loaded, engine) is None
        for artifact in artifacts
    ]
    settings = loaded.settings
    fetch(wanted, settings.engine_cache_dir, settings.maven_repository, terminal, threading.Event())
    log = data_dir / "logs" / DAEMON_LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        log_start = output.tell()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "infra.cli.main", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_daemon(daemon, data_dir, terminal)
    except BaseException:
        if daemon.poll() is None:
            # Interrupted while waiting: nobody would expect a stack to stay behind.
            daemon.terminate()
            daemon.wait()
        raise
    if daemon.poll() is not None:
        said = last_lines(log, 1, log_start) or ["it said nothing"]
        raise StackError(f"the stack did not start: {said[0].removeprefix('error: ')}")


def _await_daemon(daemon: subprocess.Popen[bytes], data_dir: Path, terminal: Terminal) -> None:
    """Follow the launcher's state until it is ready or the launcher has ended."""
    shown: dict[str, str] = {}
    while daemon.poll() is None:
        current = state.read(data_dir)
        if current and current.pid == daemon.pid:
            for name, engine in current.engines.items():
                if engine.phase != "waiting" and shown.get(name) != engine.phase:
                    shown[name] = engine.phase
                    terminal.engine(name, engine.phase, engine.address)
            if current.ready:
                terminal.ready()
                return
        time.sleep(POLL_S)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the local stack in order; fine when none runs.

    Example: `murmur down`
    """
    data_dir = load().settings.data_dir
    running = state.read(data_dir)
    stopped = running is not None and running.alive()
    if running and stopped:
        with err.status("stopping the engines"):
            _stop(running)
    if as_json:
        print_json({"stopped": stopped, "data_dir": str(data_dir)})
    else:
        err.print("the stack is down" if stopped else f"no stack runs in {data_dir}")


def _stop(running: state.StackState) -> None:
    running.launcher.signal(signal.SIGTERM)
    if not asyncio.run(running.launcher.gone(STOP_WAIT_S)):
        # The kernel ends the engines with their launcher.
        running.launcher.signal(signal.SIGKILL)
        raise CommandError(
            f"the launcher (pid {running.pid}) did not end within {STOP_WAIT_S:.0f} s and was "
            "killed with its engines; acknowledged data is safe"
        )


@app.command()
def logs(
    engine: Annotated[str, typer.Argument(help="kafka, valkey, cassandra, registry or launcher.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="From the end.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the last lines that an engine logged.

    Example: `murmur logs kafka --follow`
    """
    folder = load().settings.data_dir / "logs"
    path = folder / f"{engine}.log"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.log"))) or "none yet"
        raise CommandError(f"there is no log of {engine!r} (there are: {known})", Status.USAGE)
    size = path.stat().st_size
    for line in last_lines(path, lines) if lines else []:
        _show(engine, line, as_json)
    if follow:
        for line in _appended(path, size):
            _show(engine, line, as_json)


def _show(engine: str, line: str, as_json: bool) -> None:
    if as_json:
        print_json_line({"engine": engine, "line": line})
    else:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _appended(path: Path, position: int) -> Iterator[str]:
    """Whole lines as they are appended, for ever; a log that was replaced starts over."""
    pending = ""
    while True:
        if path.stat().st_size < position:
            position, pending = 0, ""
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
            position = file.tell()
        *complete, pending = (pending + data.decode(errors="replace")).split("\n")
        yield from complete
        time.sleep(POLL_S)


def _summary(data_dir: Path) -> dict[str, object]:
    current = state.read(data_dir)
    if current is None:
        raise CommandError(f"no stack runs in {data_dir}", Status.UNREACHABLE)
    return {
        "pid": current.pid,
        "since": current.since,
        "ready": current.ready,
        "addresses": current.addresses,
        "data_dir": str(data_dir.resolve()),
    }
