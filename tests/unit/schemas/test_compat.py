"""Avro's resolution rules, case by case, and against what fastavro really reads."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.compat import incompatibilities


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "n", "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


GEO = record(field("lat", "double"), name="Geo")
GEO_INT = record(field("lat", "string"), name="Geo")


@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        (record(field("a", "long")), record(field("a", "int"))),
        (record(field("a", ["null", "long"], default=None)), record(field("a", "long"))),
        (record(), record(field("gone", "string"))),
        (record(field("b", "int", default=1)), record()),
        (record(field("b", "int", aliases=["a"])), record(field("a", "int"))),
        (record(field("a", "bytes")), record(field("a", "string"))),
        (record(field("g", ["null", GEO])), record(field("g", GEO))),
        (record(field("g", GEO), field("h", "n.Geo")), record(field("g", GEO), field("h", "Geo"))),
        (
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]})),
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A"]})),
        ),
    ],
)
def test_readable(reader: dict[str, Any], writer: dict[str, Any]) -> None:
    assert incompatibilities(reader, writer) == []


@pytest.mark.parametrize(
    ("reader", "writer", "place", "why"),
    [
        (record(field("a", "int")), record(field("a", "long")), "a", "was long, is now int"),
        (record(field("a", "int")), record(), "a", "is new and has no default"),
        (record(field("b", "int")), record(field("a", "int")), "b", "is new"),
        (record(field("a", "long")), record(field("a", ["null", "long"])), "a", "may be null"),
        (
            record(field("a", ["null", "long"])),
            record(field("a", ["null", "string"])),
            "a",
            "string was taken out",
        ),
        (
            record(field("l", {"type": "array", "items": "int"})),
            record(field("l", {"type": "array", "items": "string"})),
            "l[]",
            "was string",
        ),
        (
            record(field("m", {"type": "map", "values": "boolean"})),
            record(field("m", {"type": "map", "values": "string"})),
            "m{}",
            "was string",
        ),
        (
            record(field("g", ["null", GEO])),
            record(field("g", ["null", GEO_INT])),
            "g.lat",
            "was string, is now double",
        ),
        (record(name="S"), record(name="R"), "", "was named n.R, is now n.S"),
        (
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A"]})),
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]})),
            "e",
            "symbols B",
        ),
        (
            record(field("f", {"type": "fixed", "name": "F", "size": 4})),
            record(field("f", {"type": "fixed", "name": "F", "size": 8})),
            "f",
            "size was 8",
        ),
    ],
)
def test_not_readable(reader: dict[str, Any], writer: dict[str, Any], place: str, why: str) -> None:
    (found,) = incompatibilities(reader, writer)
    assert found.field == place
    assert why in found.why


PRIMITIVES = {
    "int": 7,
    "long": 7,
    "float": 0.5,
    "double": 0.5,
    "string": "seven",
    "bytes": b"seven",
    "boolean": True,
    "null": None,
}


@given(
    st.lists(st.sampled_from(list(PRIMITIVES)), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(list(PRIMITIVES)), min_size=1, max_size=3, unique=True),
)
def test_what_is_said_readable_is_read_by_fastavro_and_the_rest_is_not(
    read: list[str], wrote: list[str]
) -> None:
    reader = record(field("a", read if len(read) > 1 else read[0]))
    writer = record(field("a", wrote if len(wrote) > 1 else wrote[0]))
    failed = []
    for branch in wrote:
        stream = io.BytesIO()
        value = (branch, PRIMITIVES[branch]) if len(wrote) > 1 else PRIMITIVES[branch]
        fastavro.schemaless_writer(stream, fastavro.parse_schema(writer), {"a": value})
        stream.seek(0)
        try:
            fastavro.schemaless_reader(
                stream, fastavro.parse_schema(writer), fastavro.parse_schema(reader)
            )
        except fastavro.read.SchemaResolutionError:
            failed.append(branch)
    assert bool(incompatibilities(reader, writer)) == bool(failed)
