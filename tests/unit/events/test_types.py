"""The structs, the schemas and the topic table say the same thing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.errors import InvalidEvent
from events.types import (
    EVENT_TYPES,
    EVENT_TYPES_OF_TOPIC,
    Coordinates,
    Event,
    FanOutChunk,
    PreferencesChanged,
    RedriveRequested,
    TweetLiked,
    TweetPosted,
    UsernameClaimed,
    checked_fields,
    from_object,
    key_of,
    topic_of,
)
from schemas import catalog

LIKED = TweetLiked(event_id=1, occurred_at=2, tweet_id=3, tweet_author_id=4, user_id=5)


def posted(**changes: Any) -> TweetPosted:
    fields: dict[str, Any] = {
        "event_id": 1,
        "occurred_at": 2,
        "tweet_id": 3,
        "user_id": 4,
        "text": "hello",
        "created_at": 2,
        "conversation_id": 3,
    }
    return TweetPosted(**{**fields, **changes})


def test_every_schema_has_a_struct_and_every_struct_a_schema() -> None:
    assert set(EVENT_TYPES) == set(catalog.schemas())


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_struct_and_newest_schema_have_the_same_fields_in_the_same_order(name: str) -> None:
    fields = catalog.schemas()[name][-1].schema["fields"]
    struct = msgspec.structs.fields(EVENT_TYPES[name])
    assert {field["name"] for field in fields} == {field.name for field in struct}
    optional = {field["name"] for field in fields if "default" in field}
    assert optional == {field.name for field in struct if not field.required}
    assert [field["name"] for field in fields[:2]] == ["event_id", "occurred_at"]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_defaults_of_struct_and_schema_agree(name: str) -> None:
    for field in catalog.schemas()[name][-1].schema["fields"]:
        if "default" in field:
            struct = {one.name: one for one in msgspec.structs.fields(EVENT_TYPES[name])}
            held = struct[field["name"]]
            factory = held.default_factory
            default = held.default if factory is msgspec.NODEFAULT else factory()
            assert default == field["default"]


def test_every_event_is_in_one_topic_and_has_a_key() -> None:
    for topic, kinds in EVENT_TYPES_OF_TOPIC.items():
        for kind in kinds:
            key = catalog.topic(topic).key
            assert key
            assert set(key) <= set(kind.__struct_fields__)


def test_keys_are_text_so_that_other_producers_agree() -> None:
    assert (topic_of(LIKED), key_of(LIKED)) == ("engagements", b"3")
    claimed = UsernameClaimed(
        event_id=1, occurred_at=2, username_key="straße", username="Straße", user_id=4
    )
    assert key_of(claimed) == "straße".encode()
    chunk = FanOutChunk(event_id=1, occurred_at=2, tweet_id=3, author_id=4, first_follower_id=9)
    assert key_of(chunk) == b"4:9"
    redrive = RedriveRequested(
        event_id=1, occurred_at=2, unit="tweets", topic="users", partition=1, offset=7
    )
    assert key_of(redrive) == b"users:1:7"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (posted(user_id=-1), "user_id"),
        (posted(tweet_id=2**63), "tweet_id"),
        (posted(event_id=2**70), "event_id"),
        (posted(text=b"bytes"), "text"),
        (posted(lang=7), "lang"),
        (posted(media_ids=["a", 2]), "media_ids[1]"),
        (posted(coordinates=Coordinates(91.0, 0.0)), "coordinates.latitude"),
        (posted(created_at=1.5), "created_at"),
        (
            PreferencesChanged(event_id=1, occurred_at=2, user_id=3, preferences={"a": 1}),  # type: ignore[dict-item]
            "preferences[...]",
        ),
    ],
)
def test_an_invalid_event_names_its_field(event: Event, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        checked_fields(event)
    assert caught.value.field == field
    assert type(event).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "TweetLicked"}, "type"),
        ({}, "type"),
        ({"type": ["TweetLiked"]}, "type"),
        ({"type": "TweetViewed", "event_id": 1, "occurred_at": 2}, "tweet_id"),
        ({"type": "UserErased", "event_id": 1, "occurred_at": 2, "user_id": "3"}, "user_id"),
        ({"type": "UserErased", "event_id": 1, "occurred_at": 2, "user_id": 3, "x": 1}, "x"),
    ],
)
def test_an_object_that_is_no_event_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        from_object(fields)
    assert caught.value.field == field
