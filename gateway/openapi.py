"""The OpenAPI 3.1 document, written from the route table and the types that validate bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.problems import MEDIA_TYPE, ProblemBody
from gateway.routing import Access, Route

REF_TEMPLATE = "#/components/schemas/{name}"

DESCRIPTION = r"""\ Ids are numeric strings; times are RFC 3339 in UTC with milliseconds. Every
error is a problem document (RFC 9457) whose `detail` says what to do and whose `type` is stable.

Commands answer with `X-Event-Position`, the place of their event in the log. A read that sends it
back as `X-Wait-For` is held for at most 5 s until what serves the read has applied it. Commands
take an `Idempotency-Key`: sent again with the same key, a command is done once and answered as
before.

While a part of the system is away, what cannot be answered is refused at once: 503, with
`Retry-After`. What is answered from the caches alone carries `X-Stale: store`, and a page also
`stale` in its `meta`.
"""

_STALE = {
    "X-Stale": {
        "description": "Answered from the caches while the store is away; `store` where it is so.",
        "schema": {"type": "string", "enum": ["store"]},
    }
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds until it is worth another try.",
        "schema": {"type": "integer", "minimum": 1},
    }
}

_HEADERS: dict[str, tuple[str, str]] = {
    "X-Wait-For": (
        "Positions from X-Event-Position, with commas between: answer once they are applied.",
        "new-tweets/3@1234",
    ),
    "Idempotency-Key": ("Makes a retry safe; a UUID is a good one.", "5f0c8a52"),
}


def document(routes: Sequence[Route], version: str) -> bytes:
    """Returns the document as JSON."""
    types = {kind for route in routes for kind in (route.body, route.answer) if kind is not None}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(
        [*ordered, ProblemBody], ref_template=REF_TEMPLATE
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Murmuration", "version": version, "description": DESCRIPTION},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
                },
            },
        }
    )


def _operation(route: Route) -> dict[str, Any]:
    success = _content("Success.", "application/json", route.answer)
    away = _content("A part of the system is away or busy.", MEDIA_TYPE, ProblemBody)
    away["headers"] = _RETRY_AFTER
    if route.method == "GET" and route.units:
        success["headers"] = _STALE
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__qualname__.replace(".", "_"),
        "parameters": _parameters(route),
        "responses": {
            str(route.status): success,
            **({"503": away} if route.access is not Access.OPEN or route.body else {}),
            "default": _content("What went wrong, and what to do.", MEDIA_TYPE, ProblemBody),
        },
    }
    if route.access is not Access.OPEN:
        operation["security"] = [{"token": []}]
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(route.body)}},
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": _path_schema(part)}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    found += [
        {"name": p.name, "in": "query", "description": p.description, "schema": dict(p.schema)}
        for p in route.query
    ]
    headers = ["X-Wait-For"] if route.units else []
    if route.method != "GET":
        headers.append("Idempotency-Key")
    for name in headers:
        description, example = _HEADERS[name]
        found.append(
            {
                "name": name,
                "in": "header",
                "description": description,
                "example": example,
                "schema": {"type": "string"},
            }
        )
    return found


def _path_schema(part: str) -> dict[str, Any]:
    if part == "{name}":
        return {"type": "string"}
    return {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}


def _content(description: str, media_type: str, kind: type | None) -> dict[str, Any]:
    if kind is None:
        return {"description": description}
    return {"description": description, "content": {media_type: {"schema": _reference(kind)}}}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": REF_TEMPLATE.format(name=kind.__name__)}
