"""Records of the past as today's events: nothing they said is lost, nothing is made up."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import upcasters
from events.codec import Codec, plain
from events.errors import MalformedEvent
from events.types import EVENT_TYPES, Coordinates, Event, Place, TweetPosted
from events.upcasters import UPCASTERS
from schemas import catalog
from schemas.catalog import AvroSchema
from tests.unit.events.doubles import MemorySchemas, local_codec
from tests.unit.events.strategies import events_of

V1_ID = 1_000
OTHERS_ID = 1_001
V1 = catalog.schemas()["TweetPosted"][0].schema
OTHERS = {**V1, "fields": [*V1["fields"], {"name": "mood", "type": "string"}]}


def written(schema: AvroSchema, schema_id: int, fields: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    stream.write(b"\0" + schema_id.to_bytes(4))
    fastavro.schemaless_writer(stream, fastavro.parse_schema(plain(schema)), fields)
    return stream.getvalue()


async def codec() -> Codec:
    """One that has met a writer of v1, and one of its own making."""
    source = MemorySchemas()
    found = local_codec(source)
    source.table[V1_ID] = V1
    source.table[OTHERS_ID] = OTHERS
    await found.prepare([b"\0" + V1_ID.to_bytes(4), b"\0" + OTHERS_ID.to_bytes(4)])
    return found


READING = asyncio.run(codec())


def v1_fields(event: TweetPosted, geo: Mapping[str, Any] | None) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    del fields["coordinates"], fields["place"]
    return {**fields, "geo": geo}


GEOS = st.none() | st.fixed_dictionaries(
    {
        "latitude": st.floats(-90, 90),
        "longitude": st.floats(-180, 180),
        "woeid": st.none() | st.integers(0, 2**63 - 1),
    }
)


def today(event: TweetPosted, geo: Mapping[str, Any] | None) -> TweetPosted:
    """What v1 says with a geo, as today's event; written down without the upcaster."""
    if geo is None:
        return msgspec.structs.replace(event, coordinates=None, place=None)
    return msgspec.structs.replace(
        event,
        coordinates=Coordinates(geo["latitude"], geo["longitude"]),
        place=None if geo["woeid"] is None else Place(geo["woeid"]),
    )


@given(events_of(TweetPosted), GEOS)
def test_a_tweet_of_v1_says_today_what_it_said(
    event: TweetPosted, geo: Mapping[str, Any] | None
) -> None:
    reading = READING
    value = written(V1, V1_ID, v1_fields(event, geo))
    assert reading.decode(value) == today(event, geo)
    assert reading.written_as(value) == "TweetPosted.v1"
    again = reading.encode(reading.decode(value))
    assert reading.decode(again) == today(event, geo)
    assert reading.written_as(again) == "TweetPosted.v2"


async def test_a_batch_mixes_versions_and_keeps_its_order() -> None:
    reading = READING
    plain_tweet = TweetPosted(
        event_id=1, occurred_at=2, tweet_id=3, user_id=4, text="x", created_at=5, conversation_id=3
    )
    geo = {"latitude": 1.0, "longitude": 2.0, "woeid": 44418}
    new = msgspec.structs.replace(plain_tweet, place=Place(44418, 23424975))
    values = [
        written(V1, V1_ID, v1_fields(plain_tweet, geo)),
        reading.encode(new),
        written(V1, V1_ID, v1_fields(plain_tweet, None)),
        written(V1, V1_ID, v1_fields(plain_tweet, geo)) + b"!",
    ]
    decoded = await reading.decode_batch(values, "new-tweets")
    assert decoded.events == [today(plain_tweet, geo), new, plain_tweet, None]
    assert isinstance(decoded.failures[0].error, MalformedEvent)


def test_another_writers_schema_is_read_as_the_version_that_it_is_nearest_to() -> None:
    reading = READING
    geo = {"latitude": 1.0, "longitude": 2.0, "woeid": 44418}
    event = TweetPosted(
        event_id=1, occurred_at=2, tweet_id=3, user_id=4, text="x", created_at=5, conversation_id=3
    )
    value = written(OTHERS, OTHERS_ID, {**v1_fields(event, geo), "mood": "blue"})
    assert reading.decode(value) == today(event, geo)
    assert reading.written_as(value) is None


def _example(name: str, version: int) -> tuple[AvroSchema, dict[str, Any]]:
    file = catalog.schemas()[name][version - 1]
    fields = catalog.load_example(file)
    del fields["type"]
    return file.schema, fields


@pytest.mark.parametrize(("name", "version"), UPCASTERS)
def test_every_upcaster_makes_what_the_next_version_can_write(name: str, version: int) -> None:
    _, fields = _example(name, version)
    before = msgspec.json.decode(msgspec.json.encode(fields))
    following = catalog.schemas()[name][version].schema
    defaults = {field["name"]: field.get("default") for field in _schema(name, version)["fields"]}
    result = UPCASTERS[name, version]({**defaults, **before})
    assert set(result) == {field["name"] for field in following["fields"]}
    written(following, 1, result)


def _schema(name: str, version: int) -> AvroSchema:
    return catalog.schemas()[name][version - 1].schema


def test_after_an_upcaster_every_step_has_one() -> None:
    for name in EVENT_TYPES:
        newest = len(catalog.schemas()[name])
        for version in range(1, newest + 1):
            resolved, steps = upcasters.path(name, version, newest)
            assert resolved + len(steps) == newest
    assert all(version < len(catalog.schemas()[name]) for name, version in UPCASTERS)


@pytest.mark.parametrize("name", EVENT_TYPES)
async def test_the_example_of_every_version_is_read_as_todays_event(name: str) -> None:
    source = MemorySchemas()
    reading = local_codec(source)
    for file in catalog.schemas()[name]:
        schema_id = 2_000 + file.version
        source.table[schema_id] = file.schema
        await reading.prepare([b"\0" + schema_id.to_bytes(4)])
        _, fields = _example(name, file.version)
        bytes_fields = {
            field["name"]
            for field in file.schema["fields"]
            if field["type"] in ("bytes", ["null", "bytes"])
        }
        for field in bytes_fields & fields.keys():
            fields[field] = str(fields[field]).encode()
        value = written(file.schema, schema_id, fields)
        event: Event = reading.decode(value)
        assert type(event) is EVENT_TYPES[name]
        assert reading.written_as(value) == f"{name}.v{file.version}"
        assert event.event_id == fields["event_id"]
