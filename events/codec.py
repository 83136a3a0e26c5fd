"""Bytes to events and back: the Confluent wire format around Avro.

A record's value is one zero byte, the schema's id in the registry (4 bytes, big-endian), then the
Avro body.

Keeps true: ``decode(encode(event)) == event``; what an older writer wrote is read as today's event,
through Avro's schema resolution and the upcasters (``events.upcasters``); bytes that can never be
read raise a ``PoisonError``, and a registry that is away raises a ``RetryableError``, never the
other way round.

Bounded: schemas are kept for ever, one per id that the registry knows (about one per event and
    version); ids that it
does not know are remembered for a minute, ``UNKNOWN_IDS_MAX`` at most, so that a flood of them
does not become a flood of requests. A batch gives the event loop a turn every ``DECODE_BURST_MAX``
records.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast

import fastavro
import msgspec

from events import upcasters
from events.errors import (
    InvalidEvent,
    MalformedEvent,
    PoisonError,
    SchemaNotFetched,
    UnknownSchema,
    WrongType,
)
from events.integers import Integers
from events.types import EVENT_TYPES, EVENT_TYPES_OF_TOPIC, Event, checked_fields
from schemas import catalog
from schemas.catalog import NAMESPACE, AvroSchema, SchemaFile
from schemas.compat import incompatibilities

HEADER_BYTES = 5
DECODE_BURST_MAX = 2_000
UNKNOWN_IDS_MAX = 1_024
UNKNOWN_ID_SECONDS = 60.0
FETCHES_AT_ONCE_MAX = 8

_Decoder: TypeAlias = Callable[[bytes], Event]

# What fastavro raises on bytes that are not what the schema says.
_DECODE_ERRORS = (
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
    MemoryError,
    fastavro.schema.SchemaParseException,
)


class SchemaSource(Protocol):
    """Where the schema of an id comes from: the registry, or a table in a test."""

    async def schema_of(self, schema_id: int) -> AvroSchema | None:
        """The schema of an id; ``None`` when there is none.

        Raises:
            RegistryUnavailable: It could not be told.
        """
        ...


class Failure(msgspec.Struct, frozen=True):
    """One value of a batch that can never be read.

    Attributes:
        index: Place in the batch.
        error: Why.
    """

    index: int
    error: PoisonError


class Decoded(msgspec.Struct, frozen=True):
    """A decoded batch.

    Attributes:
        events: One entry per value; ``None`` for a tombstone and for a failure.
        failures: The values that can never be read, ascending by index.
    """

    events: list[Event | None]
    failures: list[Failure]


class Codec:
    """Encodes with the newest schemas, decodes with any that the registry knows.

    Args:
        ids: Registry id of the newest schema of each event, by event name; empty for a reader.
        source: Where unknown ids are looked up.
    """

    def __init__(self, ids: Mapping[str, int], source: SchemaSource) -> None:
        self._source = source
        self._writers: dict[type[Event], tuple[bytes, AvroSchema]] = {}
        self._decoders: dict[bytes, _Decoder] = {}
        self._together: dict[bytes, tuple[type[Event], Integers]] = {}
        self._unknown: dict[int, float] = {}
        self._names: dict[bytes, str] = {}
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)
        for name, schema_id in ids.items():
            header = _header(schema_id)
            self._writers[EVENT_TYPES[name]] = header, _newest(name)
            self._add(header, _newest_source(name))

    def encode(self, event: Event) -> bytes:
        """The record value of an event.

        Raises:
            InvalidEvent: A field is not what its schema allows; the error names it.
        """
        fields = checked_fields(event)
        header, schema = self._writers[type(event)]
        stream = io.BytesIO()
        stream.write(header)
        try:
            fastavro.schemaless_writer(stream, schema, fields)
        except UnicodeEncodeError as error:
            field = next((name for name, text in fields.items() if text == error.object), "")
            raise InvalidEvent(
                "is not encodable as UTF-8 (a lone surrogate)",
                event_type=type(event).__name__,
                field=field,
            ) from error
        return stream.getvalue()

    def decode(self, value: bytes) -> Event:
        """The event of a record value.

        Raises:
            PoisonError: These bytes can never be read.
            SchemaNotFetched: The schema was not fetched yet; see ``prepare``.
        """
        decoder = self._decoders.get(value[:HEADER_BYTES])
        if decoder is None:
            raise self._no_decoder(value)
        return decoder(value)

    def written_as(self, value: bytes) -> str | None:
        """The schema that a record value was written with, such as ``TweetPosted.v1``.

        None for one that is not known here (yet), or is no version of ours.
        """
        return self._names.get(value[:HEADER_BYTES])

    async def prepare(self, values: Sequence[bytes | None]) -> None:
        """Fetch the schemas of a batch that are not known yet, each once.

        Raises:
            RegistryUnavailable: The registry did not answer; nothing is wrong with the batch.
        """
        headers = {value[:HEADER_BYTES] for value in values if value is not None}
        missing = {
            int.from_bytes(header[1:])
            for header in headers - self._decoders.keys()
            if len(header) == HEADER_BYTES and header[0] == 0
        }
        now = time.monotonic()
        missing -= {schema_id for schema_id, until in self._unknown.items() if until > now}
        if missing:
            await asyncio.gather(*map(self._fetch, missing))

    async def decode_batch(
        self, values: Sequence[bytes | None], topic: str | None = None, *, anew: bool = False
    ) -> Decoded:
        """Decode the values of one partition's records, in order.

        Args:
            values: Record values; ``None`` is a tombstone.
            topic: Logical topic they come from; an event of another topic is then a ``WrongType``.
            anew: Ask the registry again for ids that it did not know a moment ago.

        Raises:
            RegistryUnavailable: The registry did not answer; nothing is wrong with the batch.
        """
        if anew:
            self._unknown.clear()
        await self.prepare(values)
        allowed = None if topic is None else frozenset(EVENT_TYPES_OF_TOPIC[topic])
        events: list[Event | None] = []
        failures: list[Failure] = []
        for start in range(0, len(values), DECODE_BURST_MAX):
            if start:
                await asyncio.sleep(0)
            burst = values[start : start + DECODE_BURST_MAX]
            events += self._decode_alike(burst, allowed)
            for index, value in enumerate(burst, start):
                if value is None or events[index] is not None:
                    continue
                try:
                    event = self.decode(value)
                    if allowed is not None and type(event) not in allowed:
                        raise WrongType(f"{type(event).__name__} does not belong in {topic}")
                    events[index] = event
                except PoisonError as error:
                    failures.append(Failure(index, error))
        return Decoded(events, failures)

    def _decode_alike(
        self, values: Sequence[bytes | None], allowed: frozenset[type[Event]] | None
    ) -> list[Event | None]:
        """Those events of a burst that can be decoded together; None for the others."""
        events: list[Event | None] = [None] * len(values)
        if not self._together:
            return events
        alike: dict[tuple[bytes, int], list[int]] = {}
        for index, value in enumerate(values):
            if value is not None:
                alike.setdefault((value[:HEADER_BYTES], len(value)), []).append(index)
        for (header, _), indexes in alike.items():
            kind, integers = self._together.get(header, (None, None))
            if integers is None or (allowed is not None and kind not in allowed):
                continue
            bodies = [cast("bytes", values[index])[HEADER_BYTES:] for index in indexes]
            for index, event in zip(indexes, integers.decode(bodies) or (), strict=False):
                events[index] = event
        return events

    def _add(self, header: bytes, schema: AvroSchema) -> None:
        self._decoders[header] = _decoder(schema)
        version = _version_of(schema)
        if version is not None:
            self._names[header] = f"{schema['name']}.v{version}"
        kind = EVENT_TYPES.get(schema.get("name", ""))
        if kind is not None and plain(schema) == plain(_newest_source(kind.__name__)):
            written = plain(schema)
            if Integers.suits(written):
                self._together[header] = kind, Integers(kind, written)

    async def _fetch(self, schema_id: int) -> None:
        async with self._fetches:
            schema = await self._source.schema_of(schema_id)
        if schema is not None:
            self._add(_header(schema_id), schema)
            return
        if len(self._unknown) >= UNKNOWN_IDS_MAX:
            self._unknown.clear()
        self._unknown[schema_id] = time.monotonic() + UNKNOWN_ID_SECONDS

    def _no_decoder(self, value: bytes) -> Exception:
        if len(value) < HEADER_BYTES:
            return MalformedEvent(f"{len(value)} bytes; the wire format has a header of 5")
        if value[0] != 0:
            return MalformedEvent(f"starts with byte {value[0]:#04x}; the wire format with 0x00")
        schema_id = int.from_bytes(value[1:HEADER_BYTES])
        return (UnknownSchema if schema_id in self._unknown else SchemaNotFetched)(schema_id)


def plain(schema: Any) -> Any:
    """A schema without docs and logical types: the bytes are the same, and times stay integers."""
    if isinstance(schema, list):
        return [plain(branch) for branch in schema]
    if isinstance(schema, dict):
        shown = ("doc", "logicalType")
        return {
            key: value if key == "default" else plain(value)
            for key, value in schema.items()
            if key not in shown
        }
    return schema


def _header(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4)


def _newest_source(name: str) -> AvroSchema:
    return catalog.schemas()[name][-1].schema


def _newest(name: str) -> AvroSchema:
    parsed = fastavro.parse_schema(plain(_newest_source(name)))
    return cast("AvroSchema", parsed)  # a record's schema is a dict


def _decoder(writer: AvroSchema) -> _Decoder:
    """The function that reads what ``writer`` wrote as the newest struct of that event."""
    space, _, name = f"{writer.get('namespace', '')}.{writer.get('name', '')}".rpartition(".")
    kind = EVENT_TYPES.get(name)
    if kind is None or space != NAMESPACE:
        return _refuse(f"schema {space}.{name} is none of our events")
    files = catalog.schemas()[name]
    known = _version_of(writer) or _closest(writer, files)
    resolved_to, steps = upcasters.path(name, known, len(files))
    reader = files[resolved_to - 1].schema
    found = incompatibilities(reader, writer)
    if found:
        return _refuse(f"our {name} cannot read what this writer wrote: {found[0]}")
    written = fastavro.parse_schema(plain(writer))
    resolved = None if plain(writer) == plain(reader) else fastavro.parse_schema(plain(reader))
    build = _upcasting(steps, _builder(kind))

    def decode(value: bytes) -> Event:
        stream = io.BytesIO(value)
        stream.seek(HEADER_BYTES)
        try:
            row: Any = fastavro.schemaless_reader(stream, written, resolved)
            # Ids, times and offsets are never negative; what is would fail deep inside a unit.
            if any(value.__class__ is int and value < 0 for value in row.values()):
                raise MalformedEvent(f"{name}: a negative number")
            event = build(row)
        except _DECODE_ERRORS as error:
            raise MalformedEvent(f"{name}: {type(error).__name__}: {error}") from error
        if stream.tell() != len(value):
            raise MalformedEvent(f"{name}: {len(value) - stream.tell()} bytes after the event")
        return event

    return decode


def _version_of(schema: AvroSchema) -> int | None:
    """Which version of ours a schema is; None for another writer's own."""
    files = catalog.schemas().get(schema.get("name", ""), [])
    return next((file.version for file in files if plain(file.schema) == plain(schema)), None)


def _closest(writer: AvroSchema, files: Sequence[SchemaFile]) -> int:
    """The version of ours that drops the least of what another writer's schema says."""
    written = {field["name"] for field in writer.get("fields", [])}

    def dropped(file: SchemaFile) -> tuple[int, int]:
        lost = written - {field["name"] for field in file.schema["fields"]}
        return len(lost), -file.version

    return min(files, key=dropped).version


def _refuse(reason: str) -> _Decoder:
    def decode(value: bytes) -> Event:
        raise WrongType(reason)

    return decode


def _upcasting(
    steps: Sequence[upcasters.Upcaster], build: Callable[[Any], Event]
) -> Callable[[Any], Event]:
    if not steps:
        return build

    def upcast(row: Any) -> Event:
        for step in steps:
            row = step(row)
        return build(row)

    return upcast


def _builder(kind: type[Event]) -> Callable[[Any], Event]:
    nested = {
        field.name: part.cls
        for field in msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
        for part in getattr(field.type, "types", (field.type,))
        if isinstance(part, msgspec.inspect.StructType)
    }
    if not nested:
        return lambda row: kind(**row)

    def build(row: Any) -> Event:
        for name, struct in nested.items():
            if row[name] is not None:
                row[name] = struct(**row[name])
        return kind(**row)

    return build
