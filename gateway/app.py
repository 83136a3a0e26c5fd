"""The gateway as one function from a request to a response, whatever the server.

Every request goes through the same steps; the numbers recur in the code:

1. its route, or 404, or 405;
2. a place among the requests under way, by what it costs to lose it (``gateway.levels.admission``),
   or 503 at once; so is a command while the system is read-only;
3. who asks, or 401, or 403;
4. the positions of ``X-Wait-For``, or 504;
5. the handler, within ``REQUEST_SECONDS_MAX`` in all and ``READ_SECONDS_MAX`` for a read, or 503;
   while Redis is away, a place among those who read from the store instead;
6. while the store is away, the mark of an answer that comes from what Redis holds;
7. what went wrong becomes a problem document; an unexpected exception becomes a 500 that says
   nothing of the inside, and a log line that says all, joined by the request id;
8. at any level but the normal one the answer says which (``gateway.levels``).

Bounded by ``REQUESTS_MAX`` requests under way and ``gateway.limits`` for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from msgspec.structs import replace
from prometheus_client import Counter, Histogram

from events.errors import EventsError
from gateway.auth import Tokens
from gateway.guards.guard import engine_away
from gateway.guards.guards import Guards
from gateway.http import Request, Response
from gateway.levels.admission import Admission, Cost, cost_of
from gateway.levels.level import HEADER, Levels
from gateway.limits import READ_SECONDS_MAX, REQUEST_SECONDS_MAX
from gateway.metrics import GatewayMetrics
from gateway.outcomes import append_problem, unknown_outcome
from gateway.pages import is_stale, marked_stale
from gateway.problems import MEDIA_TYPE, Problem, unavailable
from gateway.routing import Access, Route, Router
from gateway.waits import Waits, parse_positions
from projections.base import Overloaded, RetryableError

log = logging.getLogger("gateway")

UNROUTED = "(none)"


class Gateway:
    """Answers requests.

    Args:
        routes: The table.
        tokens: Verifies who asks.
        waits: Holds requests for positions.
        metrics: Counts them.
        guards: What is known of the engines; without them all are taken for well.
        levels: How far the system is degraded; without it, not at all.
        admission: Who is let in; without it, as many as there are places.
        request_seconds_max: Longest time of one request.
        read_seconds_max: Longest time of a read, after what it waited for.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        tokens: Tokens,
        waits: Waits,
        metrics: GatewayMetrics,
        *,
        guards: Guards | None = None,
        levels: Levels | None = None,
        admission: Admission | None = None,
        request_seconds_max: float = REQUEST_SECONDS_MAX,
        read_seconds_max: float = READ_SECONDS_MAX,
    ) -> None:
        self.routes = tuple(routes)
        self._router = Router(routes)
        self._levels = levels or Levels()
        self._admission = admission or Admission()
        self._costs: dict[tuple[str, str], Cost] = {}
        self._tokens = tokens
        self._waits = waits
        self._metrics = metrics
        self._guards = guards
        self._request_seconds_max = request_seconds_max
        self._read_seconds_max = read_seconds_max
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._answered: dict[tuple[str, str, int], Counter] = {}

    async def answer(self, request: Request) -> Response:
        """Returns the response, whatever happens."""
        self._admission.under_way += 1
        self._metrics.under_way.set(self._admission.under_way)
        began = time.perf_counter()
        route: Route | None = None
        try:
            route, request.params = self._router.match(request.method, request.path)  # 1
            self._admit(route)  # 2
            response = await self._run(route, request)
        except Exception as error:
            response = _problem_response(self._problem(error, route, request), request)  # 7
        finally:
            self._admission.under_way -= 1
            self._metrics.under_way.set(self._admission.under_way)
        self._count(route, request, response.status, time.perf_counter() - began)
        level = self._levels.now
        if level:
            response = replace(response, headers=(*response.headers, (HEADER, str(level))))  # 8
        return response

    def _admit(self, route: Route) -> None:
        """Lets a request in.

        Raises:
            Problem: 503, too much is under way, or commands are refused just now.
        """
        cost = self._costs.get((route.method, route.path))
        if cost is None:
            cost = self._costs[route.method, route.path] = cost_of(route)
        if not self._admission.admits(cost):
            self._metrics.refused.labels(cost.name.lower()).inc()
            raise _too_busy()
        if self._levels.read_only and route.method != "GET" and cost is not Cost.OPERATOR:
            self._metrics.refused.labels("read-only").inc()
            raise self._levels.refusal()

    async def _run(self, route: Route, request: Request) -> Response:
        if route.access is not Access.OPEN:
            request.user_id = self._tokens.caller(
                request.header("authorization"), route.access
            )  # 3
        async with asyncio.timeout(self._request_seconds_max) as limit:
            wait_for = request.header("x-wait-for")
            if wait_for is not None:
                await self._waits.wait(parse_positions(wait_for), route.units)  # 4
            if route.method == "GET":
                limit.reschedule(asyncio.get_running_loop().time() + self._read_seconds_max)
            if self._guards is None or not route.units:
                return await route.handler(request)  # 5
            return await self._guarded(route, request, self._guards)

    async def _guarded(self, route: Route, request: Request, guards: Guards) -> Response:
        if guards.redis.away:
            try:
                async with guards.pages:
                    response = await route.handler(request)  # 5
            except Overloaded:
                self._metrics.store_pages_refused.inc()
                raise
        else:
            response = await route.handler(request)  # 5
        if guards.store.away and route.method == "GET":
            response = marked_stale(response)  # 6
        if is_stale(response):
            self._metrics.stale_answers.inc()
        return response

    def _problem(self, error: Exception, route: Route | None, request: Request) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, TimeoutError):
            if request.appending:
                return unknown_outcome()
            return unavailable(
                "too-slow",
                "The answer was not ready in time. Nothing was changed. Try again.",
            )
        if isinstance(error, EventsError):
            with contextlib.suppress(EventsError):
                return append_problem(error)
        if isinstance(error, Overloaded):
            return unavailable(
                "too-busy", "Too much is read at once just now. Nothing was changed. Try again."
            )
        if isinstance(error, RetryableError):
            away = engine_away(error)
            if away is not None:  # the log told when it went away
                return unavailable(
                    "engine-away",
                    "A part of the system is away. Nothing was changed. Try again later.",
                    retry_after_seconds=away.retry_after_seconds,
                )
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
