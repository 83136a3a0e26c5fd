"""Whom a process turns away when there is too much: what is cheapest to lose, first.

Every route has a cost class. Two things press: the requests that are under way, of which there are
``requests_max`` places, and the event loop, which under too much of them runs late. Each class is
admitted up to a share of the places and a multiple of the loop's usual delay; so what is lost first
is what nobody misses, and what is kept longest is what cannot be had again: a command.

Why the delay, and not the CPU: it is the time that a request waits for its turn, which is what
WeChat's overload control measures for the same purpose ("Overload Control for Scaling WeChat
Microservices", SoCC 2018: queuing time, 20 ms on average).

Bounded by: ``requests_max`` requests under way, and ``OPERATORS_MAX`` of operators beside them.
"""

from __future__ import annotations

from enum import IntEnum

from gateway.limits import REQUESTS_MAX
from gateway.routing import Route

OPERATORS_MAX = 32
"""Requests of operators and probes beside all others: nobody is to be blind under load."""


class Cost(IntEnum):
    """Classes of routes, the cheapest to lose first."""

    SPARE = 0
    """What nobody misses: reports of what was seen."""
    PAGES = 1
    """Pages about others, read from the store: lists, likers, followers, conversations, search."""
    READS = 2
    """One tweet, one user: mostly from Redis."""
    HOME = 3
    """The home timeline: what the service is for."""
    COMMAND = 4
    """What a user did, and would have to do again."""
    OPERATOR = 5
    """Health, metrics and the operators' own routes."""


SHARE = {Cost.SPARE: 0.5, Cost.PAGES: 0.7, Cost.READS: 0.8, Cost.HOME: 0.9, Cost.COMMAND: 1.0}
"""Of the places, up to which a class is admitted."""

DELAYS = {Cost.SPARE: 1.0, Cost.PAGES: 2.0, Cost.READS: 4.0, Cost.HOME: 6.0, Cost.COMMAND: 10.0}
"""Of the threshold of the event loop's delay, up to which a class is admitted."""

_BY_ROUTE = {
    ("POST", "/api/tweets/views"): Cost.SPARE,
    ("GET", "/api/timeline/home"): Cost.HOME,
    ("GET", "/api/tweets/{id}"): Cost.READS,
    ("GET", "/api/users/{id}"): Cost.READS,
    ("GET", "/api/users/me"): Cost.READS,
    ("GET", "/openapi.json"): Cost.PAGES,
}
_OPERATORS = ("/healthz", "/readyz", "/metrics")


def cost_of(route: Route) -> Cost:
    """Returns a route's class; one that is not named is a command, or a page."""
    if route.path in _OPERATORS or route.path.startswith("/ops"):
        return Cost.OPERATOR
    usual = Cost.PAGES if route.method == "GET" else Cost.COMMAND
    return _BY_ROUTE.get((route.method, route.path), usual)


class Admission:
    """Decides who is let in.

    Args:
        requests_max: Places.
        delay_seconds: Threshold of the event loop's delay.
    """

    def __init__(
        self, requests_max: int = REQUESTS_MAX, delay_seconds: float = float("inf")
    ) -> None:
        self._places = {cost: int(share * requests_max) for cost, share in SHARE.items()}
        self._places[Cost.OPERATOR] = requests_max + OPERATORS_MAX
        self._delays = {cost: times * delay_seconds for cost, times in DELAYS.items()}
        self._delays[Cost.OPERATOR] = float("inf")
        self.under_way = 0
        """Requests under way; whoever answers them counts."""
        self.delay = 0.0
        """By how much the event loop is late, seconds; whoever measures it sets it."""

    def admits(self, cost: Cost) -> bool:
        """Whether a request of a class, which is counted already, is let in."""
        return self.under_way <= self._places[cost] and self.delay <= self._delays[cost]
