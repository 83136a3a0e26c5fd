"""The contract, loaded: topics from ``topics.yaml``, schemas and examples from the files beside it.

Keeps true: what this module returns is what the files say, checked for shape when loaded (unknown
or missing entries are refused with their place in the file). Bounded by the files: about 10 topics
and 30 schemas.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import yaml

SCHEMAS_DIR = Path(__file__).parent
NAMESPACE = "murmuration"

AvroSchema: TypeAlias = dict[str, Any]
Site: TypeAlias = Literal["prod", "local"]

_FILE_NAME = re.compile(r"(?P<name>[A-Z][A-Za-z0-9]*)\.v(?P<version>[1-9][0-9]*)\.avsc")


class CatalogError(ValueError):
    """A file of the contract is not what it should be; the message names the place."""


class Partitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Partition counts, fixed for ever once the topic exists.

    Attributes:
        prod: Count in production.
        local: Count on one machine.
    """

    prod: int
    local: int


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of ``topics.yaml``; the top of that file says what each key means."""

    name: str
    about: str
    key: tuple[str, ...]
    partitions: Partitions
    source: bool
    retention_ms: int
    cleanup: Literal["delete", "compact"]
    timestamp: Literal["LogAppendTime", "CreateTime"]
    events: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


class SchemaFile(msgspec.Struct, frozen=True):
    """One published version of one event's schema.

    Attributes:
        name: Event name, such as ``TweetPosted``.
        version: 1 for the first.
        path: The ``.avsc`` file.
        schema: Its content as parsed JSON.
    """

    name: str
    version: int
    path: Path
    schema: AvroSchema


class Topics:
    """The topics under one prefix.

    Args:
        prefix: Put before each name on the broker; empty in production.
        site: Which partition counts hold.
    """

    def __init__(self, prefix: str = "", site: Site = "prod") -> None:
        self.prefix = prefix
        self.site = site

    def name(self, logical: str) -> str:
        """Name on the broker of a topic of ``topics.yaml``.

        Raises:
            CatalogError: There is no such topic.
        """
        return self.prefix + topic(logical).name

    def logical(self, name: str) -> str:
        """Name in ``topics.yaml`` of a topic on the broker.

        Raises:
            CatalogError: The name does not carry the prefix, or there is no such topic.
        """
        if not name.startswith(self.prefix):
            raise CatalogError(f"topic {name!r} does not start with the prefix {self.prefix!r}")
        return topic(name.removeprefix(self.prefix)).name

    def partitions(self, logical: str) -> int:
        """Partition count of a topic at this site."""
        counts = topic(logical).partitions
        return counts.prod if self.site == "prod" else counts.local

    def __iter__(self) -> Iterator[Topic]:
        return iter(topics().values())


@functools.cache
def topics() -> Mapping[str, Topic]:
    """Every topic by its logical name, in the file's order."""
    return load_topics(SCHEMAS_DIR / "topics.yaml")


def topic(logical: str) -> Topic:
    """The topic of that logical name.

    Raises:
        CatalogError: There is no such topic; the message lists those that exist.
    """
    found = topics().get(logical)
    if found is None:
        raise CatalogError(f"no topic {logical!r} in topics.yaml; there are: {', '.join(topics())}")
    return found


def load_topics(path: Path) -> dict[str, Topic]:
    """Read a ``topics.yaml``.

    Raises:
        CatalogError: Not YAML, or an entry has a missing, unknown or ill-typed key.
    """
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise CatalogError(f"{path.name}: not YAML: {error}") from error
    loaded: dict[str, Topic] = {}
    for name, entry in entries.items():
        try:
            loaded[name] = msgspec.convert({"name": name, **entry}, Topic)
        except (msgspec.ValidationError, TypeError) as error:
            raise CatalogError(f"{path.name}: {name}: {error}") from error
    return loaded


def load_schemas(folder: Path = SCHEMAS_DIR / "avro") -> dict[str, list[SchemaFile]]:
    """Every published schema by event name, versions ascending.

    Raises:
        CatalogError: A file's name or content is not a schema's, or versions are not 1, 2, 3, …
    """
    by_name: dict[str, list[SchemaFile]] = {}
    for path in sorted(folder.iterdir()):
        loaded = _load_schema(path)
        by_name.setdefault(loaded.name, []).append(loaded)
    for name, versions in by_name.items():
        versions.sort(key=lambda file: file.version)
        numbers = [file.version for file in versions]
        if numbers != list(range(1, len(numbers) + 1)):
            raise CatalogError(f"{name}: versions are {numbers}; they must run 1, 2, 3, …")
    return by_name


@functools.cache
def schemas() -> Mapping[str, list[SchemaFile]]:
    """The published schemas of this repository by event name, versions ascending."""
    return load_schemas()


def load_example(file: SchemaFile) -> dict[str, Any]:
    """The example event beside a schema: ``examples/<Name>.v<N>.json``.

    Raises:
        CatalogError: There is none, or it is not a JSON object.
    """
    path = file.path.parent.parent / "examples" / f"{file.name}.v{file.version}.json"
    try:
        example = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path.name}: {error}") from error
    if not isinstance(example, dict):
        raise CatalogError(f"{path.name}: must be a JSON object")
    return example


def _load_schema(path: Path) -> SchemaFile:
    named = _FILE_NAME.fullmatch(path.name)
    if named is None:
        raise CatalogError(f"{path.name}: a schema's file is named <Name>.v<N>.avsc")
    try:
        schema = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CatalogError(f"{path.name}: not JSON: {error}") from error
    name = named["name"]
    if not isinstance(schema, dict) or schema.get("name") != name:
        raise CatalogError(f"{path.name}: must be a record named {name}")
    if schema.get("namespace") != NAMESPACE or schema.get("type") != "record":
        raise CatalogError(f"{path.name}: must be a record of namespace {NAMESPACE}")
    return SchemaFile(name, int(named["version"]), path, schema)
