"""Processes that a demo or a fault test runs: a local stack, workers, a gateway.

Keeps true: none outlives this process, however it ends (`infra.stack.process`). A worker that asks
for a new process (exit status of `Restart`) or was killed gets one; other ends are errors.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from infra.stack import ports, process, state
from streams.errors import Restart

GRACE_S = 25.0
STACK_GRACE_S = 60.0
READY_POLL_S = 0.1
RESTART_PAUSE_S = 0.25
RESTART_PAUSE_S_MAX = 10.0
SCRAPE_S_MAX = 2.0
LOG_LINES = 8


class ChildFailed(Exception):
    """A process that was needed ended, or never became ready; the message has its last words."""


class Child:
    """One process, with its output in a file.

    Args:
        name: What it is called in messages.
        argv: Arguments after the Python executable.
        log: File that its output is appended to; None leaves it to the terminal.
        env: Variables added to ours.
    """

    def __init__(
        self, name: str, argv: Sequence[str], log: Path | None, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.restarts = 0
        self._argv = argv
        self._log = log
        self._env = env
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    async def start(self) -> None:
        """Start it, again if it has ended."""
        argv = [sys.executable, *self._argv]
        if self._log is None:
            self._process = await process.start(argv, None, self._env)
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = await process.start(argv, output, self._env)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self, grace_s: float = GRACE_S) -> bool:
        """SIGTERM, SIGKILL after the grace; whether it ended by itself."""
        return self._process is None or await process.stop(self._process, grace_s)

    async def supervise(
        self,
        on_restart: Callable[[str], None] = lambda _: None,
        restart_on: Collection[int] = (Restart.exit_code,),
    ) -> None:
        """Start it anew whenever it asks for that, or was killed; with pauses that grow.

        Args:
            on_restart: Told why it ended and that it is started anew.
            restart_on: Exit statuses that a new process may cure.

        Raises:
            ChildFailed: It ended for a reason that a new process would not cure.
        """
        pause = RESTART_PAUSE_S
        while self._process is not None:
            began = time.monotonic()
            status = await self._process.wait()
            if status not in restart_on and status >= 0:
                raise self.failed(status)
            pause = min(2 * pause, RESTART_PAUSE_S_MAX)
            if time.monotonic() - began > RESTART_PAUSE_S_MAX:
                pause = RESTART_PAUSE_S
            on_restart(f"{self.name} {process.exit_words(status)}; a new one in {pause:g} s")
            await asyncio.sleep(pause)
            self.restarts += 1
            await self.start()

    def check(self) -> None:
        """Raise ChildFailed when it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise self.failed(self._process.returncode)

    def failed(self, status: int) -> ChildFailed:
        """The error for its end, with its last words."""
        lines = process.last_lines(self._log, LOG_LINES) if self._log else []
        words = "".join(f"\n  {line}" for line in lines)
        return ChildFailed(f"{self.name} {process.exit_words(status)}{words}")


async def start_stack(
    data_dir: Path, ready_s: float, log: Path | None = None, env: Mapping[str, str] | None = None
) -> Child:
    """Start the local stack as a child and wait until it is ready.

    Args:
        data_dir: Its data folder.
        ready_s: Seconds that it may take.
        log: File for its output; None shows it in our terminal, downloads and all.
        env: Variables added to ours.

    Raises:
        ChildFailed: It ended, or is not ready in time.
    """
    env = {**(env or {}), "MURMUR_DATA_DIR": str(data_dir)}
    stack = Child("the local stack", ["-m", "infra.cli.main", "up"], log, env)
    await stack.start()
    try:
        await _until_ready(stack, data_dir, ready_s)
    except BaseException:
        await stack.stop(STACK_GRACE_S)
        raise
    return stack


async def _until_ready(stack: Child, data_dir: Path, ready_s: float) -> None:
    deadline = time.monotonic() + ready_s
    while True:
        stack.check()
        current = state.read(data_dir)
        if current is not None and current.pid == stack.pid and current.ready:
            return
        if time.monotonic() > deadline:
            raise ChildFailed(f"the local stack is not ready after {ready_s:.0f} s")
        await asyncio.sleep(READY_POLL_S)


class Worker(Child):
    """A worker of one unit, with its metrics; of the generation in service if none is named."""

    def __init__(
        self,
        unit: str,
        log_dir: Path | None,
        env: Mapping[str, str],
        port: int = 0,
        generation: str | None = None,
    ) -> None:
        self.unit = unit
        self.generation = generation
        self._port = port or ports.choose({unit: 0}, {}, usual=False)[unit]
        argv = ["-m", "infra.worker", unit, str(self._port), *([generation] if generation else [])]
        mark = f"-{generation}" if generation else ""
        log = log_dir / f"worker-{unit}{mark}.log" if log_dir else None
        name = f"the worker of {unit}" + (f" {generation}" if generation else "")
        super().__init__(name, argv, log, env)

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds its metrics."""
        return f"http://127.0.0.1:{self._port}/metrics"

    async def metrics(self, client: httpx.AsyncClient) -> dict[str, float]:
        """Its counters and gauges, each summed over labels; empty while it does not answer."""
        try:
            answer = await client.get(self.metrics_url, timeout=SCRAPE_S_MAX)
        except httpx.HTTPError:
            return {}
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return totals


class GatewayProcess(Child):
    """A gateway on the wanted port, or on another when that is taken or 0.

    What it answers is compared and measured, so it does not degrade by itself unless ``env`` says.
    """

    def __init__(self, wanted_port: int, log_dir: Path, env: Mapping[str, str]) -> None:
        port = ports.choose({"http": wanted_port}, {}, usual=wanted_port != 0)["http"]
        self.url = f"http://127.0.0.1:{port}"
        env = {
            "MURMUR_DEGRADE_AUTO_MAX": "0",
            **env,
            "MURMUR_GATEWAY_PORT": str(port),
            "MURMUR_GATEWAY_HOST": "127.0.0.1",
        }
        argv = ["-m", "infra.cli.main", "gateway"]
        super().__init__("the gateway", argv, log_dir / "gateway.log", env)

    async def until_ready(self, client: httpx.AsyncClient, seconds_max: float) -> None:
        """Wait until it says that it can serve.

        Raises:
            ChildFailed: It ended, or does not say so in time.
        """
        deadline = time.monotonic() + seconds_max
        last = "no answer"
        while time.monotonic() < deadline:
            self.check()
            try:
                answer = await client.get(f"{self.url}/readyz", timeout=SCRAPE_S_MAX)
            except httpx.HTTPError as error:
                last = type(error).__name__
            else:
                if answer.status_code == 200:
                    return
                last = answer.text[:300]
            await asyncio.sleep(READY_POLL_S)
        raise ChildFailed(f"the gateway is not ready after {seconds_max:.0f} s: {last}")
