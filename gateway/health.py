"""``/healthz``: the event loop lives. ``/readyz``: what is needed answers. ``/metrics``.

``/healthz`` asks nobody, so that an engine that is away does not get the process killed.
``/readyz`` is 503 while the process drains, or can serve nothing. One engine that is away does not
make it so: it is away for every process, and what is left of the service would go with them (see
``docs/degrading.md``). The answer names every check that fails.

Bounded by ``READY_SECONDS_MAX`` a check and one round of checks at a time, whose answer is good for
``READY_FRESH_SECONDS``: a probe storm is one round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gateway.http import Request, Response
from gateway.metrics import GatewayMetrics

READY_SECONDS_MAX = 2.0
READY_FRESH_SECONDS = 1.0

Check = Callable[[], Awaitable[str]]
"""Returns what is fine, in a few words; raises what is not."""


class CheckResult(msgspec.Struct, frozen=True):
    """How one dependency is."""

    ok: bool
    detail: str


class Readiness(msgspec.Struct, frozen=True):
    """Answer of ``/readyz``."""

    ready: bool
    checks: dict[str, CheckResult]


class Health:
    """Handlers of the operators' routes.

    Args:
        checks: Asked by ``/readyz``, by name.
        metrics: Shown by ``/metrics``.
        serving: Whether anything can be served; without it, whether every check is passed.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        metrics: GatewayMetrics,
        serving: Callable[[], bool] | None = None,
    ) -> None:
        self._checks = dict(checks)
        self._serving = serving
        self._metrics = metrics
        self._round: asyncio.Task[Readiness] | None = None
        self._asked_at = 0.0
        self.draining = False

    async def healthz(self, _request: Request) -> Response:
        """``GET /healthz``."""
        return Response(b'{"status":"ok"}')

    async def readyz(self, _request: Request) -> Response:
        """``GET /readyz``."""
        now = time.monotonic()
        stale = now - self._asked_at > READY_FRESH_SECONDS
        if self._round is None or (stale and self._round.done()):
            self._round = asyncio.create_task(self._ask())
            self._asked_at = now
        readiness = await asyncio.shield(self._round)
        if self._serving is not None:
            readiness = Readiness(self._serving(), readiness.checks)
        if self.draining:
            stopping = CheckResult(ok=False, detail="the process is stopping")
            readiness = Readiness(False, {**readiness.checks, "process": stopping})
        return Response(msgspec.json.encode(readiness), status=200 if readiness.ready else 503)

    async def metrics(self, _request: Request) -> Response:
        """``GET /metrics``."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def _ask(self) -> Readiness:
        results = await asyncio.gather(*(_result(check) for check in self._checks.values()))
        return Readiness(
            all(result.ok for result in results), dict(zip(self._checks, results, strict=True))
        )


async def _result(check: Check) -> CheckResult:
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            return CheckResult(ok=True, detail=await check())
    except TimeoutError:
        return CheckResult(ok=False, detail=f"no answer within {READY_SECONDS_MAX:g} s")
    except Exception as error:
        return CheckResult(ok=False, detail=f"{type(error).__name__}: {error}")
