"""Bytes to events and back, and what becomes of bytes that are not events."""

from __future__ import annotations

import copy
import io

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import DECODE_BURST_MAX, Codec, plain
from events.errors import (
    InvalidEvent,
    MalformedEvent,
    PoisonError,
    RegistryUnavailable,
    SchemaNotFetched,
    UnknownSchema,
    WrongType,
)
from events.types import EVENT_TYPES, Event, TweetLiked, UserErased, UserRegistered, from_object
from schemas import catalog
from schemas.catalog import AvroSchema
from tests.unit.events.doubles import MemorySchemas, local_codec
from tests.unit.events.strategies import any_event

CODEC = local_codec()
LIKED = TweetLiked(event_id=1, occurred_at=2, tweet_id=3, tweet_author_id=4, user_id=5)


def written(schema: AvroSchema, schema_id: int, fields: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    stream.write(b"\0" + schema_id.to_bytes(4))
    fastavro.schemaless_writer(stream, fastavro.parse_schema(plain(schema)), fields)
    return stream.getvalue()


@given(any_event())
def test_what_is_encoded_decodes_to_the_same_event(event: Event) -> None:
    assert CODEC.decode(CODEC.encode(event)) == event


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_the_example_encodes_decodes_and_equals(name: str) -> None:
    event = from_object(catalog.load_example(catalog.schemas()[name][-1]))
    assert CODEC.decode(CODEC.encode(event)) == event


def test_the_wire_format_is_a_zero_byte_the_id_big_endian_and_the_avro_body() -> None:
    codec = Codec({"TweetLiked": 0x01020304}, MemorySchemas())
    assert codec.encode(LIKED) == bytes([0, 1, 2, 3, 4]) + bytes([2, 4, 6, 8, 10])


def test_a_lone_surrogate_is_an_invalid_event_with_its_field_named() -> None:
    event = UserRegistered(
        event_id=1, occurred_at=2, user_id=3, username="a", name="b\ud800", created_at=4
    )
    with pytest.raises(InvalidEvent) as caught:
        CODEC.encode(event)
    assert caught.value.field == "name"


@given(any_event(), st.data())
def test_damaged_bytes_are_poison_and_nothing_else(event: Event, data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(event))
    place = data.draw(st.integers(5, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    try:
        CODEC.decode(bytes(value))
    except MalformedEvent:
        return


@given(any_event(), st.data())
def test_cut_and_lengthened_bytes_are_malformed(event: Event, data: st.DataObject) -> None:
    value = CODEC.encode(event)
    with pytest.raises(MalformedEvent):
        CODEC.decode(value[: data.draw(st.integers(0, len(value) - 1))])
    with pytest.raises(MalformedEvent):
        CODEC.decode(value + b"\0")


async def test_a_batch_keeps_order_and_tells_what_failed() -> None:
    good = CODEC.encode(LIKED)
    decoded = await CODEC.decode_batch([good, None, b"", b"\x01abcdef", good + b"!", good])
    assert decoded.events == [LIKED, None, None, None, None, LIKED]
    assert [failure.index for failure in decoded.failures] == [2, 3, 4]
    assert all(isinstance(failure.error, MalformedEvent) for failure in decoded.failures)


async def test_a_batch_longer_than_a_burst_is_whole() -> None:
    good = CODEC.encode(LIKED)
    count = DECODE_BURST_MAX * 2 + 1
    decoded = await CODEC.decode_batch([good] * count)
    assert decoded.events == [LIKED] * count


async def test_an_event_of_another_topic_is_of_the_wrong_type() -> None:
    decoded = await CODEC.decode_batch([CODEC.encode(LIKED)], topic="users")
    assert decoded.events == [None]
    assert isinstance(decoded.failures[0].error, WrongType)
    assert (await CODEC.decode_batch([CODEC.encode(LIKED)], topic="engagements")).events == [LIKED]


async def test_an_id_is_fetched_once_before_the_batch() -> None:
    source = MemorySchemas()
    source.table[700] = catalog.schemas()["TweetLiked"][0].schema
    reader = Codec({}, source)
    value = b"\0" + (700).to_bytes(4) + CODEC.encode(LIKED)[5:]
    with pytest.raises(SchemaNotFetched):
        reader.decode(value)
    assert (await reader.decode_batch([value] * 3)).events == [LIKED] * 3
    await reader.decode_batch([value])
    assert source.asked == [700]


async def test_an_id_that_the_registry_does_not_know_is_poison_and_asked_once() -> None:
    source = MemorySchemas()
    reader = Codec({}, source)
    for _ in range(2):
        decoded = await reader.decode_batch([b"\0\0\0\x09\x09rest"])
        assert isinstance(decoded.failures[0].error, UnknownSchema)
    assert source.asked == [0x909]


async def test_a_registry_that_is_away_is_not_poison() -> None:
    source = MemorySchemas()
    source.away = True
    reader = Codec({}, source)
    with pytest.raises(RegistryUnavailable):
        await reader.decode_batch([b"\0\0\0\x09\x09rest"])
    assert not issubclass(RegistryUnavailable, PoisonError)
    source.away = False
    source.table[0x909] = catalog.schemas()["TweetLiked"][0].schema
    value = b"\0\0\0\x09\x09" + CODEC.encode(LIKED)[5:]
    assert (await reader.decode_batch([value])).events == [LIKED]


@pytest.mark.parametrize("name", EVENT_TYPES)
async def test_the_newest_example_decodes_whatever_its_id(name: str) -> None:
    file = catalog.schemas()[name][-1]  # older ones: test_upcasters
    source = MemorySchemas()
    source.table[1] = file.schema
    event = from_object(catalog.load_example(file))
    fields = msgspec.to_builtins(event, builtin_types=(bytes,))
    decoded = await Codec({}, source).decode_batch([written(file.schema, 1, fields)])
    assert decoded.events == [event]


async def test_old_bytes_decode_with_the_newest_reader() -> None:
    older = copy.deepcopy(catalog.schemas()["UserRegistered"][0].schema)
    older["fields"] = [
        field for field in older["fields"] if field["name"] not in ("url", "profile_image_url")
    ]
    source = MemorySchemas()
    source.table[1] = older
    fields: dict[str, object] = {
        "event_id": 1,
        "occurred_at": 2,
        "user_id": 3,
        "username": "a",
        "name": "b",
        "created_at": 4,
        "description": "c",
    }
    decoded = await Codec({}, source).decode_batch([written(older, 1, fields)])
    assert decoded.events == [
        UserRegistered(
            event_id=1,
            occurred_at=2,
            user_id=3,
            username="a",
            name="b",
            created_at=4,
            description="c",
        )
    ]


async def test_bytes_of_a_newer_writer_decode_while_we_can_read_them() -> None:
    newer = copy.deepcopy(catalog.schemas()["UserErased"][0].schema)
    newer["fields"].append({"name": "reason", "type": "string", "default": "", "doc": "Why."})
    source = MemorySchemas()
    source.table[1] = newer
    value = written(newer, 1, {"event_id": 1, "occurred_at": 2, "user_id": 3, "reason": "asked"})
    decoded = await Codec({}, source).decode_batch([value])
    assert decoded.events == [UserErased(event_id=1, occurred_at=2, user_id=3)]


async def test_a_schema_that_we_cannot_read_is_of_the_wrong_type_with_the_field_named() -> None:
    other = copy.deepcopy(catalog.schemas()["UserErased"][0].schema)
    other["fields"][2]["type"] = "string"
    source = MemorySchemas()
    source.table[1] = other
    value = written(other, 1, {"event_id": 1, "occurred_at": 2, "user_id": "3"})
    decoded = await Codec({}, source).decode_batch([value])
    assert isinstance(decoded.failures[0].error, WrongType)
    assert "user_id" in str(decoded.failures[0].error)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "namespace": "murmuration", "name": "Unheard", "fields": []},
        {"type": "record", "namespace": "elsewhere", "name": "TweetLiked", "fields": []},
        {"type": "string"},
        {"type": "PROTOBUF"},
    ],
)
async def test_a_schema_that_is_none_of_ours_is_of_the_wrong_type(schema: AvroSchema) -> None:
    source = MemorySchemas()
    source.table[1] = schema
    decoded = await Codec({}, source).decode_batch([b"\0\0\0\0\x01abc"])
    assert isinstance(decoded.failures[0].error, WrongType)


async def test_a_schema_that_was_unknown_a_moment_ago_is_asked_for_anew() -> None:
    schemas = MemorySchemas()
    codec = Codec({}, schemas)
    schema = catalog.schemas()["TweetLiked"][-1].schema
    value = written(schema, 77, {f: getattr(LIKED, f) for f in LIKED.__struct_fields__})
    (failure,) = (await codec.decode_batch([value], "engagements")).failures
    assert isinstance(failure.error, UnknownSchema)
    schemas.table[77] = schema
    assert len((await codec.decode_batch([value], "engagements")).failures) == 1
    assert (await codec.decode_batch([value], "engagements", anew=True)).events == [LIKED]


def test_a_negative_number_is_malformed() -> None:
    schema = catalog.schemas()["TweetLiked"][-1].schema
    fields = {f: getattr(LIKED, f) for f in LIKED.__struct_fields__} | {"user_id": -5}
    header = CODEC.encode(LIKED)[:5]
    value = written(schema, int.from_bytes(header[1:]), fields)
    with pytest.raises(MalformedEvent, match="negative"):
        CODEC.decode(value)
