"""Routes: which handler answers which method and path, and what each route needs.

A route is data: the router matches it, the pipeline obeys it, ``/openapi.json`` is written from it
and a test compares it with the issue's list. A literal segment wins over a parameter.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.http import Request, Response
from gateway.limits import PAGE_DEFAULT, PAGE_MAX
from gateway.problems import Problem, not_found

ID_MAX = 2**63 - 1

TEXT = "name"
"""The parameter that is a text; every other is an id."""

Handler = Callable[[Request], Awaitable[Response]]


class Access(enum.Enum):
    """What a route asks of the caller."""

    OPEN = "open"
    """Nothing."""
    READ = "read"
    """A token with the scope ``read``."""
    WRITE = "write"
    """A token with the scope ``write``."""
    OPERATE = "operate"
    """A token with the scope ``operate``, which only ``murmur token --operator`` signs."""


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter, for the documentation."""

    name: str
    description: str
    schema: Mapping[str, Any]


PAGE = (
    Parameter("cursor", "next_cursor of the page before.", {"type": "string"}),
    Parameter(
        "count",
        "Most items of the page.",
        {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    ),
)
"""Query parameters of whatever comes in pages."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    Attributes:
        method: Upper case.
        path: Segments in braces are parameters: ids, but for ``{name}``.
        handler: Answers it.
        summary: One line for the documentation.
        access: What the caller must show.
        units: Units of projection that serve it; ``X-Wait-For`` waits for these.
        body: Type of the body.
        answer: Type of the answer's body.
        status: Status of success.
        query: Query parameters.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: Access = Access.READ
    units: tuple[str, ...] = ()
    body: type | None = None
    answer: type | None = None
    status: int = 200
    query: tuple[Parameter, ...] = ()


class _Node:
    __slots__ = ("literals", "parameter", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.routes: dict[str, tuple[Route, list[str]]] = {}


class Router:
    """Finds routes, in time that depends on the path's segments only."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        names = []
        for segment in _segments(route.path):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                if node.parameter is None:
                    node.parameter = _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.path} is routed twice")
        node.routes[route.method] = (route, names)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, Any]]:
        """Returns the route and the values of its parameters.

        Raises:
            Problem: 404 no such path, 405 not that method.
        """
        node = self._root
        values: list[str] = []
        for segment in _segments(path):
            literal = node.literals.get(segment)
            if literal is not None:
                node = literal
            elif node.parameter is not None:
                values.append(segment)
                node = node.parameter
            else:
                raise _no_such_path()
        if not node.routes:
            raise _no_such_path()
        found = node.routes.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(sorted(node.routes))
            raise Problem(
                405,
                "method-not-allowed",
                f"{path} takes {allowed}.",
                headers=[("allow", allowed)],
            )
        route, names = found
        return route, {
            name: value if name == TEXT else _id(value)
            for name, value in zip(names, values, strict=True)
        }


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _id(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 19:
        number = int(text)
        if 0 < number <= ID_MAX:
            return number
    raise not_found("such id: an id is a positive decimal number")


def _no_such_path() -> Problem:
    return Problem(404, "no-such-path", "There is no such path. GET /openapi.json lists them all.")
