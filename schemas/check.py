"""``python -m schemas.check``: is the contract whole, frozen and compatible?

Steps:
1. Frozen: a published ``.avsc`` is byte for byte what ``published.lock`` says, and none is missing.
2. Documented: every record and every field has a ``doc``.
3. Compatible: every version reads what every version before it wrote (BACKWARD_TRANSITIVE).
4. Complete: every schema is in one topic, every topic's events have a schema and an example.
5. Exemplary: every example encodes, decodes and equals itself.

``--publish`` adds the new files to the lock, after all else is found to be right.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro

from schemas.catalog import (
    SCHEMAS_DIR,
    CatalogError,
    SchemaFile,
    load_example,
    load_schemas,
    load_topics,
)
from schemas.compat import incompatibilities


def problems(folder: Path) -> list[str]:
    """Everything that is wrong with a folder of schemas, one line each; empty when nothing is."""
    try:
        return list(itertools.chain(_frozen(folder), *_of_files(folder)))
    except CatalogError as error:
        return [str(error)]


def publish(folder: Path) -> list[str]:
    """Adds new schema files to the lock.

    Returns:
        Names of the files added.
    """
    locked = _read_lock(folder)
    new = {name: digest for name, digest in _digests(folder).items() if name not in locked}
    lines = [f"{digest}  {name}\n" for name, digest in sorted({**locked, **new}.items())]
    (folder / "published.lock").write_text("".join(lines), "utf-8")
    return sorted(new)


def _of_files(folder: Path) -> Iterator[Iterator[str]]:
    by_name = load_schemas(folder / "avro")
    files = [file for versions in by_name.values() for file in versions]
    yield _documented(files)
    for versions in by_name.values():
        yield _compatible(versions)
    yield _complete(folder, set(by_name))
    yield _exemplary(files)


def _frozen(folder: Path) -> Iterator[str]:
    """Step 1."""
    locked, actual = _read_lock(folder), _digests(folder)
    for name, digest in locked.items():
        if name not in actual:
            yield f"{name}: is published and must not be removed"
        elif actual[name] != digest:
            yield f"{name}: is published and frozen; undo the edit and write the next version"
    for name in sorted(actual.keys() - locked.keys()):
        yield f"{name}: is not in published.lock; add it with: python -m schemas.check --publish"


def _documented(files: list[SchemaFile]) -> Iterator[str]:
    """Step 2."""
    for file in files:
        for place in _undocumented(file.schema, file.name):
            yield f"{file.path.name}: {place} has no doc"


def _undocumented(schema: Any, place: str) -> Iterator[str]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _undocumented(branch, place)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "record" and not schema.get("doc"):
        yield f"record {place}"
    for field in schema.get("fields", []):
        where = f"{place}.{field['name']}"
        if not field.get("doc"):
            yield f"field {where}"
        yield from _undocumented(field["type"], where)
    for inner in ("items", "values"):
        yield from _undocumented(schema.get(inner), place)


def _compatible(versions: list[SchemaFile]) -> Iterator[str]:
    """Step 3."""
    for old, new in itertools.combinations(versions, 2):
        for found in incompatibilities(new.schema, old.schema):
            yield f"{new.path.name}: cannot read what {old.path.name} wrote: {found}"


def _complete(folder: Path, names: set[str]) -> Iterator[str]:
    """Step 4."""
    topics = load_topics(folder / "topics.yaml")
    places = Counter(event for topic in topics.values() for event in topic.events)
    for name in sorted(names | places.keys()):
        if name not in names:
            yield f"topics.yaml: event {name} has no schema"
        elif places[name] != 1:
            yield f"topics.yaml: event {name} is in {places[name]} topics; it must be in one"


def _exemplary(files: list[SchemaFile]) -> Iterator[str]:
    """Step 5."""
    for file in files:
        try:
            parsed = fastavro.parse_schema(file.schema)
            example = load_example(file)
            if example.pop("type", None) != file.name:
                yield f"{file.path.name}: its example must say which type it is of"
                continue
            written = _bytes_fields(file, example)
            stream = io.BytesIO()
            fastavro.schemaless_writer(stream, parsed, written, strict_allow_default=True)
            stream.seek(0)
            read = fastavro.schemaless_reader(stream, _plain(file.schema), None)
        except (
            CatalogError,
            ValueError,
            TypeError,
            KeyError,
            fastavro.schema.SchemaParseException,
        ) as error:
            yield f"{file.path.name}: example: {error}"
            continue
        if not isinstance(read, dict) or {name: read[name] for name in written} != written:
            yield f"{file.path.name}: example: is not what comes back after encoding"


def _plain(schema: Any) -> Any:
    """The schema without logical types, which change what a value is shown as, not its bytes."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def _bytes_fields(file: SchemaFile, example: dict[str, Any]) -> dict[str, Any]:
    """JSON has no bytes: fields of that type are base64 in examples."""
    names = {f["name"] for f in file.schema["fields"] if f["type"] in ("bytes", ["null", "bytes"])}
    return {
        name: base64.b64decode(value) if name in names and value is not None else value
        for name, value in example.items()
    }


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted((folder / "avro").glob("*.avsc"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _read_lock(folder: Path) -> dict[str, str]:
    path = folder / "published.lock"
    if not path.exists():
        return {}
    pairs = (line.split() for line in path.read_text("utf-8").splitlines() if line.strip())
    return {name: digest for digest, name in pairs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a folder of schemas.

    Returns:
        Exit code: 0 when all is right, 1 when something is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m schemas.check", description=__doc__)
    parser.add_argument("--folder", type=Path, default=SCHEMAS_DIR, help="schemas folder")
    parser.add_argument("--publish", action="store_true", help="add new files to published.lock")
    options = parser.parse_args(arguments)
    found = problems(options.folder)
    if options.publish:
        found = [line for line in found if "not in published.lock" not in line]
    for line in found:
        print(line, file=sys.stderr)
    if found:
        return 1
    if options.publish:
        print("published:", ", ".join(publish(options.folder)) or "nothing new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
