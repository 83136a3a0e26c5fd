"""The gateway as one function from a request to a response, whatever the server.

Every request goes through the same steps; the numbers recur in the code:

1. a place among the requests under way, or 503 at once;
2. its route, or 404, or 405;
3. who asks, or 401, or 403;
4. the positions of ``X-Wait-For``, or 504;
5. the handler, within ``REQUEST_SECONDS_MAX`` in all, or 503;
6. what went wrong becomes a problem document; an unexpected exception becomes a 500 that says
   nothing of the inside, and a log line that says all, joined by the request id.

Bounded by ``REQUESTS_MAX`` requests under way and ``gateway.limits`` for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from events.errors import EventsError
from gateway.auth import Tokens
from gateway.http import Request, Response
from gateway.limits import REQUEST_SECONDS_MAX, REQUESTS_MAX
from gateway.metrics import GatewayMetrics
from gateway.outcomes import append_problem, unknown_outcome
from gateway.problems import MEDIA_TYPE, Problem, unavailable
from gateway.routing import Access, Route, Router
from gateway.waits import Waits, parse_positions
from projections.base import RetryableError

log = logging.getLogger("gateway")

UNROUTED = "(none)"


class Gateway:
    """Answers requests.

    Args:
        routes: The table.
        tokens: Verifies who asks.
        waits: Holds requests for positions.
        metrics: Counts them.
        request_seconds_max: Longest time of one request.
        requests_max: Most requests under way.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        tokens: Tokens,
        waits: Waits,
        metrics: GatewayMetrics,
        *,
        request_seconds_max: float = REQUEST_SECONDS_MAX,
        requests_max: int = REQUESTS_MAX,
    ) -> None:
        self._router = Router(routes)
        self._tokens = tokens
        self._waits = waits
        self._metrics = metrics
        self._request_seconds_max = request_seconds_max
        self._requests_max = requests_max
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._answered: dict[tuple[str, str, int], Counter] = {}
        self.under_way = 0

    async def answer(self, request: Request) -> Response:
        """Returns the response, whatever happens."""
        if self.under_way >= self._requests_max:  # 1
            self._metrics.refused.inc()
            return _problem_response(_too_busy(), request)
        self.under_way += 1
        self._metrics.under_way.set(self.under_way)
        began = time.perf_counter()
        route: Route | None = None
        try:
            route, request.params = self._router.match(request.method, request.path)  # 2
            response = await self._run(route, request)
        except Exception as error:
            response = _problem_response(self._problem(error, route, request), request)  # 6
        finally:
            self.under_way -= 1
            self._metrics.under_way.set(self.under_way)
        self._count(route, request, response.status, time.perf_counter() - began)
        return response

    async def _run(self, route: Route, request: Request) -> Response:
        if route.access is not Access.OPEN:
            request.user_id = self._tokens.caller(
                request.header("authorization"), route.access
            )  # 3
        async with asyncio.timeout(self._request_seconds_max):
            wait_for = request.header("x-wait-for")
            if wait_for is not None:
                await self._waits.wait(parse_positions(wait_for), route.units)  # 4
            return await route.handler(request)  # 5

    def _problem(self, error: Exception, route: Route | None, request: Request) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, TimeoutError):
            if request.appending:
                return unknown_outcome()
            return unavailable(
                "too-slow",
                f"The answer was not ready within {self._request_seconds_max:g} s. Nothing was "
                f"changed. Try again.",
            )
        if isinstance(error, EventsError):
            with contextlib.suppress(EventsError):
                return append_problem(error)
        if isinstance(error, RetryableError):
            log.warning("request %s: %s", request.request_id, error)
            return unavailable(
                "engine-away",
                "A part of the system does not answer. Nothing was changed. Try again.",
            )
        name = route.path if route else UNROUTED
        self._metrics.errors.labels(request.method, name).inc()
        log.error("request %s on %s failed", request.request_id, name, exc_info=error)
        return Problem(
            500,
            "internal-error",
            f"This is our fault. Report the request id {request.request_id}; a retry of a command "
            f"with the same Idempotency-Key is safe.",
        )

    def _count(self, route: Route | None, request: Request, status: int, seconds: float) -> None:
        method, name = (route.method, route.path) if route else ("-", UNROUTED)
        answered = self._answered.get((method, name, status))
        if answered is None:
            answered = self._metrics.requests.labels(method, name, str(status))
            self._answered[method, name, status] = answered
            self._seconds[method, name] = self._metrics.seconds.labels(method, name)
        answered.inc()
        self._seconds[method, name].observe(seconds)


def _problem_response(problem: Problem, request: Request) -> Response:
    return Response(
        problem.encode(request.path, request.request_id),
        status=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def _too_busy() -> Problem:
    return unavailable("too-busy", "Too many requests are under way in this process. Try again.")
