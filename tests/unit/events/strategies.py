"""Hypothesis strategies for every event, derived from its struct."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from events.types import EVENT_TYPES, INT64_MAX, Coordinates, Event, Place

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def values(annotation: msgspec.inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911  (a table)
    match annotation:
        case msgspec.inspect.IntType(ge=low, le=high):
            return st.integers(low or 0, high or INT64_MAX)
        case msgspec.inspect.StrType(min_length=shortest):
            return st.text(
                st.characters(exclude_categories=["Cs"]), min_size=shortest or 0, max_size=40
            )
        case msgspec.inspect.FloatType(ge=low, le=high):
            return st.floats(low, high)
        case msgspec.inspect.BytesType():
            return st.binary(max_size=40)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=4)
        case msgspec.inspect.DictType():
            return st.dictionaries(_TEXT, st.booleans(), max_size=4)
        case msgspec.inspect.StructType(cls=cls):
            assert cls in (Coordinates, Place)
            return st.builds(cls, **_fields(annotation))
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
    raise TypeError(annotation)


def _fields(struct: msgspec.inspect.StructType) -> dict[str, st.SearchStrategy[Any]]:
    return {field.name: values(field.type) for field in struct.fields}


def events_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(kind, **_fields(info))


def any_event() -> st.SearchStrategy[Event]:
    return st.one_of(*map(events_of, EVENT_TYPES.values()))
