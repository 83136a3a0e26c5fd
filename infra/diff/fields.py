"""Where two plain values differ: paths of fields, and what stands there on either side.

Values are dicts, lists and scalars, as the views build them. Of two lists of ids it is told which
are in one of them only, because an id leads to the events that explain it; where both hold the same
ids, the first place where their order differs. ``UNSAID`` on either side equals everything: the
oracle has no word on some fields.

Bounded by: ``FIELDS_MAX`` fields of one key.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

FIELDS_MAX = 500

UNSAID = ...
"""Stands for a field that one side says nothing of."""


ABSENT = "(absent)"
"""Stands for a member that an object lacks."""


class Partial(dict[str, Any]):
    """A dict that says nothing of the keys that it lacks."""


class Field(msgspec.Struct, frozen=True):
    """One field that differs.

    Attributes:
        path: Such as ``profile.name``, ``following[17]`` of an id in one list only, or
            ``home@3`` of a place in two lists with the same ids.
        a: What is there; None where nothing is.
        b: The same of the other side.
    """

    path: str
    a: Any
    b: Any


def same(a: Any, b: Any) -> bool:
    """Says whether two values agree."""
    if a is UNSAID or b is UNSAID:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return all(same(a.get(key, ABSENT), b.get(key, ABSENT)) for key in _keys(a, b))
    return bool(a == b)


def differing(a: Any, b: Any, limit: int | None = FIELDS_MAX) -> list[Field]:
    """Returns the first fields that differ; all of them without a limit."""
    return list(islice(_fields("", a, b), limit))


def _fields(path: str, a: Any, b: Any) -> Iterator[Field]:
    if same(a, b):
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for key in _keys(a, b):
            inner = f"{path}.{key}" if path else str(key)
            yield from _fields(inner, a.get(key, ABSENT), b.get(key, ABSENT))
    elif isinstance(a, list) and isinstance(b, list):
        yield from _items(path, a, b)
    else:
        yield Field(path, a, b)


def _keys(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Returns the keys that both have a word on, those of ``a`` first."""
    if isinstance(a, Partial) or isinstance(b, Partial):
        return list(a if isinstance(a, Partial) else b)
    return list({**a, **b})


def _items(path: str, a: list[Any], b: list[Any]) -> Iterator[Field]:
    in_a, in_b = set(map(_word, a)), set(map(_word, b))
    if in_a == in_b:
        at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if not same(x, y)), None)
        yield (
            Field(f"{path}@{at}", a[at], b[at])
            if at is not None
            else Field(path, f"{len(a)} entries", f"{len(b)} entries")
        )
        return
    for item in a:
        if _word(item) not in in_b:
            yield Field(f"{path}[{_name(item)}]", "there", None)
    for item in b:
        if _word(item) not in in_a:
            yield Field(f"{path}[{_name(item)}]", None, "there")


def _word(item: Any) -> str:
    """Equal for items that are; 1 and true are not the same in what readers get."""
    return repr(item)


def _name(item: Any) -> str:
    return ",".join(map(str, item)) if isinstance(item, list) else str(item)


def ids_in(fields: list[Field]) -> set[int]:
    """Returns the ids that the paths name: entries that one side lacks."""
    found: set[int] = set()
    for field in fields:
        _, bracket, rest = field.path.partition("[")
        if bracket:
            found.update(int(part) for part in rest.rstrip("]").split(",") if part.isdecimal())
        for value in (field.a, field.b):
            if "@" in field.path and isinstance(value, int):
                found.add(value)
    return found
