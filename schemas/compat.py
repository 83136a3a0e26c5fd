"""Can a reader's schema read what a writer's schema wrote? Avro's resolution rules, with the field
named.

Keeps true: an empty answer means that every value of the writer's schema resolves (Avro 1.12,
"Schema Resolution"). Written here, since the ``avro`` package says only by index where the trouble
is and loses the place inside unions. Bounded by the schemas' size: a pair of named types is
visited once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Schema: TypeAlias = Any  # parsed JSON: a name, a union (list) or a complex type (dict)

_PROMOTIONS = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}


class Incompatibility(msgspec.Struct, frozen=True):
    """One reason why a reader cannot read what a writer wrote.

    Attributes:
        field: Dotted path of the field in the reader's record; empty for the record itself.
        why: What is wrong, in words.
    """

    field: str
    why: str

    def __str__(self) -> str:
        return f"field {self.field!r}: {self.why}" if self.field else self.why


def incompatibilities(reader: Schema, writer: Schema) -> list[Incompatibility]:
    """Every reason why ``reader`` cannot read all that ``writer`` may have written."""
    return _Pair(reader, writer).compare(reader, writer, "")


class _Pair:
    """One comparison: the named types of both sides and the pairs already visited."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._reader_names: dict[str, Schema] = {}
        self._writer_names: dict[str, Schema] = {}
        _collect(reader, "", self._reader_names)
        _collect(writer, "", self._writer_names)
        self._seen: dict[tuple[str, str], list[Incompatibility]] = {}

    def compare(self, reader: Schema, writer: Schema, path: str) -> list[Incompatibility]:
        reader = self._reader_names.get(reader, reader) if isinstance(reader, str) else reader
        writer = self._writer_names.get(writer, writer) if isinstance(writer, str) else writer
        if isinstance(writer, list):
            return [one for branch in writer for one in self._branch(reader, branch, path)]
        if isinstance(reader, list):
            return self._union(reader, writer, path)
        read, written = _kind(reader), _kind(writer)
        if read != written:
            return [] if (written, read) in _PROMOTIONS else [_mismatch(path, read, written)]
        return self._same_kind(read, reader, writer, path)

    def _branch(self, reader: Schema, branch: Schema, path: str) -> list[Incompatibility]:
        found = self.compare(reader, branch, path)
        if found and not isinstance(reader, list) and _kind(branch) == "null":
            return [Incompatibility(path, "may be null in older records; it must stay optional")]
        return found

    def _union(self, reader: list[Schema], writer: Schema, path: str) -> list[Incompatibility]:
        tried = [self.compare(branch, writer, path) for branch in reader]
        if not all(tried):
            return []
        same = [
            found
            for branch, found in zip(reader, tried, strict=True)
            if _kind(self._reader_names.get(branch, branch) if isinstance(branch, str) else branch)
            == _kind(writer)
        ]
        if same:
            return same[0]
        return [Incompatibility(path, f"type {_kind(writer)} was taken out of the union")]

    def _same_kind(
        self, kind: str, reader: Schema, writer: Schema, path: str
    ) -> list[Incompatibility]:
        if kind == "array":
            return self.compare(reader["items"], writer["items"], f"{path}[]")
        if kind == "map":
            return self.compare(reader["values"], writer["values"], f"{path}{{}}")
        if kind not in ("record", "enum", "fixed"):
            return []
        names = _full_name(reader), _full_name(writer)
        if names not in self._seen:
            self._seen[names] = []  # a type that holds itself meets this while it is compared
            self._seen[names] = self._named(kind, reader, writer, path)
        return self._seen[names]

    def _named(self, kind: str, reader: Schema, writer: Schema, path: str) -> list[Incompatibility]:
        name, was = _full_name(reader), _full_name(writer)
        if name != was and was not in reader.get("aliases", []):
            return [Incompatibility(path, f"was named {was}, is now {name}")]
        if kind == "record":
            return self._record(reader, writer, path)
        if kind == "enum":
            return _enum(reader, writer, path)
        if reader["size"] != writer["size"]:
            return [Incompatibility(path, f"size was {writer['size']}, is now {reader['size']}")]
        return []

    def _record(self, reader: Schema, writer: Schema, path: str) -> list[Incompatibility]:
        written = {field["name"]: field for field in writer["fields"]}
        found: list[Incompatibility] = []
        for field in reader["fields"]:
            name = field["name"]
            place = f"{path}.{name}" if path else name
            names = [name, *field.get("aliases", [])]
            old = next((written[each] for each in names if each in written), None)
            if old is not None:
                found += self.compare(field["type"], old["type"], place)
            elif "default" not in field:
                found.append(Incompatibility(place, "is new and has no default"))
        return found


def _enum(reader: Schema, writer: Schema, path: str) -> list[Incompatibility]:
    gone = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if gone and "default" not in reader:
        return [Incompatibility(path, f"symbols {', '.join(gone)} were removed without a default")]
    return []


def _mismatch(path: str, read: str, written: str) -> Incompatibility:
    return Incompatibility(path, f"type was {written}, is now {read}")


def _kind(schema: Schema) -> str:
    if isinstance(schema, dict):
        return _kind(schema["type"])
    return "union" if isinstance(schema, list) else str(schema)


def _full_name(schema: Schema) -> str:
    name: str = schema["name"]
    namespace = schema.get("namespace", "")
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _collect(schema: Schema, namespace: str, names: dict[str, Schema]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, names)
        return
    if not isinstance(schema, dict):
        return
    namespace = schema.get("namespace", namespace)
    if "name" in schema:
        names[schema["name"]] = schema
        names[f"{namespace}.{schema['name']}"] = schema
    for field in schema.get("fields", []):
        _collect(field["type"], namespace, names)
    for inner in ("items", "values", "type"):
        if inner in schema:
            _collect(schema[inner], namespace, names)
