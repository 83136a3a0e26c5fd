"""The launcher: starts the engines, waits until each has answered, watches them, stops them.

Steps of a start: 1. lock the data folder; 2. end what a killed launcher may have left; 3. fetch
the artefacts that are missing; 4. choose ports; 5. start all engines at once; 6. wait until each
has answered its probe; 7. make topics, schemas and tables; 8. watch until told to stop.

Keeps true: no process outlives the launcher (guard.py), however it ends. An engine that dies
before it was ready fails the start; one that dies later is reported at once with its last log
lines and started again on the same ports and data, at most `RESTARTS_MAX` times within
`RESTART_WINDOW_S`; then the stack ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from infra.settings import ADDRESS_OF, Loaded, Origin
from infra.stack import ports, process, state
from infra.stack.artifacts import Artifact, Progress, fetch, read_lock
from infra.stack.class_archive import ClassArchive, base_archive, dump_command
from infra.stack.engines.base import Engine, NotReadyError, Place, class_path
from infra.stack.engines.cassandra import Cassandra
from infra.stack.engines.kafka import Kafka
from infra.stack.engines.registry import Registry
from infra.stack.engines.valkey import Valkey

RESTARTS_MAX = 3
RESTART_WINDOW_S = 60.0
PROBE_PAUSE_S = 0.15
LAST_LINES = 12
LEFTOVER_WAIT_S = 5.0
LOG_KEPT_BYTES = 20 * 2**20
# By itself, or by SIGTERM.
JVM_ENDED_WELL = (0, 128 + signal.SIGTERM)


class StackError(Exception):
    """The stack cannot run; the message says which engine and why."""


class Reporter(Progress, Protocol):
    """Told what happens; the CLI shows it, the tests collect it."""

    def engine(self, name: str, phase: state.Phase, words: str) -> None:
        """An engine entered a phase; `words` say more, such as its address."""

    def ready(self) -> None:
        """Every engine answers, and topics, schemas and tables are made."""

    def died(self, name: str, why: str, lines: Sequence[str], restarted: bool) -> None:
        """An engine ended by itself; `lines` are its last log lines."""


def engines(loaded: Loaded) -> list[Engine]:
    """All engines of the stack, in the order in which they are shown."""
    settings = loaded.settings
    return [
        Kafka(settings.kafka_heap_mb),
        Valkey(settings.valkey_memory_mb),
        Cassandra(settings.cassandra_heap_mb),
        Registry(settings.registry_heap_mb),
    ]


def external_address(loaded: Loaded, engine: str) -> str | None:
    """The address the settings give for an engine, if they do; then it is not ours to start."""
    name = ADDRESS_OF[engine]
    if loaded.origins[name] not in (Origin.ENV, Origin.FILE):
        return None
    value = getattr(loaded.settings, name)
    return ",".join(value) if isinstance(value, list) else str(value)


@dataclass
class _Running:
    engine: Engine
    place: Place
    process: asyncio.subprocess.Process
    log: Path
    log_start: int


class Launcher:
    """One local stack in one data folder. `run` is its whole life."""

    def __init__(self, loaded: Loaded, reporter: Reporter) -> None:
        self._loaded = loaded
        self._reporter = reporter
        self._data_dir = loaded.settings.data_dir.resolve()
        self._cache = loaded.settings.engine_cache_dir
        self._archives = self._cache / "classes"
        self._running: dict[str, _Running] = {}
        self._stopping = asyncio.Event()
        self._state = state.StackState()

    async def run(self) -> None:
        """Start, watch, and stop at SIGINT or SIGTERM; everything is down when this returns.

        Raises AlreadyRunningError, ArtifactError or StackError.
        """
        with state.locked(self._data_dir):  # 1.
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stopping.set)
            before = state.read(self._data_dir) or state.StackState()
            await self._end_leftovers(before)
            self._begin(before)
            life = asyncio.create_task(self._live())
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
                if life.done():
                    life.result()
            except Exception as error:
                self._state.failure = str(error)
                raise
            finally:
                self._stopping.set()
                life.cancel()
                await asyncio.gather(life, stop, return_exceptions=True)
                await self._stop_all()

    async def _live(self) -> None:
        settings = self._loaded.settings
        lock = read_lock()
        ours = [e for e in engines(self._loaded) if self._state.engines[e.name].phase != "external"]
        wanted = [artifact for engine in ours for artifact in lock.get(engine.name, [])]
        await self._fetch(wanted)  # 3.
        for engine in ours:  # 4.
            chosen = ports.choose(
                dict(engine.ports),
                self._state.engines[engine.name].ports,
                usual=settings.stack_usual_ports,
            )
            self._state.engines[engine.name].ports = chosen
            self._state.engines[engine.name].address = engine.address(chosen)
        self._state.addresses = {name: e.address for name, e in self._state.engines.items()}
        try:
            async with asyncio.timeout(settings.stack_ready_s), asyncio.TaskGroup() as group:
                for engine in engines(self._loaded):  # 5., 6.
                    group.create_task(self._bring_up(engine, lock.get(engine.name, [])))
        except TimeoutError:
            raise StackError(self._too_late(settings.stack_ready_s)) from None
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        await self._prepare()  # 7.
        self._state.ready = True
        self._save()
        self._reporter.ready()
        try:
            async with asyncio.TaskGroup() as group:  # 8.
                for running in self._running.values():
                    group.create_task(self._watch(running))
                await self._stopping.wait()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    # --- starting ---

    async def _fetch(self, wanted: list[Artifact]) -> None:
        stop = threading.Event()
        mirror = self._loaded.settings.maven_repository
        try:
            await asyncio.to_thread(fetch, wanted, self._cache, mirror, self._reporter, stop)
        finally:
            stop.set()
        if any(artifact.packaging == "jar" for artifact in wanted):
            await self._archive_base()

    async def _archive_base(self) -> None:
        """Takes a second, once; without it every JVM starts all the same, only slower."""
        base = base_archive(self._archives)
        if base.exists():
            return
        self._archives.mkdir(parents=True, exist_ok=True)
        partial = base.with_suffix(f".{os.getpid()}.partial")
        try:
            if await self._run_to_end(dump_command(partial), asyncio.subprocess.DEVNULL) == 0:
                partial.replace(base)
        finally:
            partial.unlink(missing_ok=True)

    def _begin(self, before: state.StackState) -> None:
        me = process.Identity.of(os.getpid())
        if me is None:
            raise StackError("this process is not in /proc; the local stack needs Linux")
        self._state = state.StackState(
            pid=me.pid, started=me.started, since=datetime.now(UTC).isoformat(timespec="seconds")
        )
        for engine in engines(self._loaded):
            known = before.engines.get(engine.name, state.EngineState())
            external = external_address(self._loaded, engine.name)
            self._state.engines[engine.name] = state.EngineState(
                phase="external" if external else "waiting",
                address=external or "",
                ports=known.ports,
                log="" if external else str(self._log_path(engine.name)),
            )
        self._save()

    async def _end_leftovers(self, before: state.StackState) -> None:  # 2.
        """Nobody holds the lock, so engines of the last launcher are dying, or lost."""
        for engine in before.engines.values():
            identity = engine.identity()
            if identity and not await identity.gone(LEFTOVER_WAIT_S):
                identity.signal(signal.SIGKILL)
                await identity.gone(LEFTOVER_WAIT_S)

    async def _bring_up(self, engine: Engine, artifacts: list[Artifact]) -> None:
        current = self._state.engines[engine.name]
        if current.phase == "external":
            await self._until_ready(engine, None)
            self._reporter.engine(engine.name, "external", current.address)
            return
        place = Place(
            data=self._data_dir / "data" / engine.name,
            config=self._data_dir / "config" / engine.name,
            cache=self._cache,
            ports=current.ports,
            artifacts=artifacts,
            archive=ClassArchive(
                self._archives,
                engine.name,
                class_path(artifacts, self._cache),
                engine.archives_classes,
            ),
        )
        place.data.mkdir(parents=True, exist_ok=True)
        place.config.mkdir(parents=True, exist_ok=True)
        await self._start(engine, place)

    async def _start(self, engine: Engine, place: Place) -> None:
        """Start one engine and wait until it has answered."""
        current = self._state.engines[engine.name]
        begun = time.monotonic()
        current.phase, current.problem = "starting", ""
        self._reporter.engine(engine.name, "starting", current.address)
        log = self._log_path(engine.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            log_start = output.tell()
            # Unpacking an archive takes seconds, the first time.
            command = await asyncio.to_thread(engine.command, place, self._state.addresses)
            for argv in command.setup:
                await self._set_up(engine, argv, output)
            child = await process.start(command.argv, output, command.env, place.data)
        identity = process.Identity.of(child.pid)
        current.pid, current.started = child.pid, identity.started if identity else None
        self._save()
        running = _Running(engine, place, child, log, log_start)
        self._running[engine.name] = running
        await self._until_ready(engine, running)
        current.phase = "ready"
        current.ready_after_s = round(time.monotonic() - begun, 1)
        self._save()
        self._reporter.engine(
            engine.name, "ready", f"{current.address} after {current.ready_after_s} s"
        )

    async def _set_up(self, engine: Engine, argv: list[str], output: IO[bytes]) -> None:
        status = await self._run_to_end(argv, output)
        if status != 0:
            raise StackError(
                f"preparing {engine.name} {process.exit_words(status)}; see `murmur logs "
                f"{engine.name}`"
            )

    async def _run_to_end(
        self, argv: list[str], output: IO[bytes] | int, env: Mapping[str, str] | None = None
    ) -> int:
        child = await process.start(argv, output, env)
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()

    async def _until_ready(self, engine: Engine, running: _Running | None) -> None:
        """Probe until it answers; what it said last is kept for the report."""
        current = self._state.engines[engine.name]
        while True:
            if running and running.process.returncode is not None:
                self._report_death(running, restarted=False)
                raise StackError(self._state.engines[engine.name].problem)
            try:
                await engine.probe(current.address)
            except NotReadyError as error:
                current.problem = str(error)
                await asyncio.sleep(PROBE_PAUSE_S)
            else:
                current.problem = ""
                return

    async def _prepare(self) -> None:
        """Topics, schemas and tables, by a process of its own: what it loads is not kept here."""
        self._save()  # the addresses, which its settings read
        log = self._log_path("prepare")
        with log.open("ab") as output:
            log_start = output.tell()
            argv = [sys.executable, "-m", "infra.prepare"]
            env = {"MURMUR_DATA_DIR": str(self._data_dir)}
            status = await self._run_to_end(argv, output, env)
        if status != 0:
            words = process.telling_line(process.last_lines(log, LAST_LINES, log_start))
            raise StackError(f"the engines run, but could not be prepared: {words}")
        for line in process.last_lines(log, LAST_LINES, log_start):
            if line.startswith("topic "):  # a topic's options were set right, or have to be
                self._reporter.engine("kafka", self._state.engines["kafka"].phase, line)

    # --- watching ---

    async def _watch(self, running: _Running) -> None:
        """Report the engine's death at once and start it again, within reason."""
        deaths: deque[float] = deque(maxlen=RESTARTS_MAX)
        while True:
            await running.process.wait()
            if self._stopping.is_set():
                return
            now = time.monotonic()
            hopeless = len(deaths) == RESTARTS_MAX and now - deaths[0] < RESTART_WINDOW_S
            self._report_death(running, restarted=not hopeless)
            if hopeless:
                raise StackError(
                    f"{running.engine.name} died {RESTARTS_MAX + 1} times within "
                    f"{RESTART_WINDOW_S:.0f} s; see `murmur logs {running.engine.name}`"
                )
            deaths.append(now)
            self._state.engines[running.engine.name].restarts += 1
            try:
                async with asyncio.timeout(self._loaded.settings.stack_ready_s):
                    await self._start(running.engine, running.place)
            except TimeoutError:
                raise StackError(self._too_late(self._loaded.settings.stack_ready_s)) from None
            running = self._running[running.engine.name]

    def _report_death(self, running: _Running, *, restarted: bool) -> None:
        name = running.engine.name
        current = self._state.engines[name]
        why = process.exit_words(running.process.returncode or 0)
        lines = process.last_lines(running.log, LAST_LINES, running.log_start)
        current.phase = "dead"
        current.problem = f"{name} {why}: {process.telling_line(lines)}"
        self._save()
        self._reporter.died(name, why, lines, restarted)

    def _too_late(self, limit_s: float) -> str:
        late = [
            f"{name} ({engine.problem})"
            for name, engine in self._state.engines.items()
            if engine.problem
        ]
        return f"not ready after {limit_s:.0f} s: {'; '.join(late)}. See `murmur logs ENGINE`"

    # --- stopping ---

    async def _stop_all(self) -> None:
        """Stop what depends on others first: the registry keeps its schemas in Kafka."""
        self._state.ready = False
        first = [r for name, r in self._running.items() if name == "registry"]
        rest = [r for name, r in self._running.items() if name != "registry"]
        for several in (first, rest):
            await asyncio.gather(*(self._stop_one(running) for running in several))
        self._state.addresses = {}
        self._save()

    async def _stop_one(self, running: _Running) -> None:
        current = self._state.engines[running.engine.name]
        orderly = await process.stop(running.process, running.engine.stop_grace_s)
        running.place.archive.keep(running.process.returncode in JVM_ENDED_WELL)
        words = "" if orderly else f"killed after {running.engine.stop_grace_s:.0f} s"
        if current.phase != "dead":
            current.phase = "stopped"
        self._reporter.engine(running.engine.name, current.phase, words)

    def _log_path(self, engine: str) -> Path:
        return self._data_dir / "logs" / f"{engine}.log"

    def _save(self) -> None:
        state.write(self._data_dir, self._state)
