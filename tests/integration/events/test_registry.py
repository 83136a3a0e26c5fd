"""Schemas in a real registry."""

from __future__ import annotations

import asyncio
import copy
import uuid

import httpx
import pytest

from events.errors import RegistryUnavailable, SchemaRefused
from events.registry import COMPATIBILITY, Registry
from schemas import catalog

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def test_publishing_again_changes_nothing(registry: Registry) -> None:
    first = await registry.publish()
    assert await registry.publish() == first
    assert set(first) == set(catalog.schemas())
    for name in ("TweetPosted", "UserErased"):
        assert await registry.schema_of(first[name]) == catalog.schemas()[name][-1].schema


async def test_subjects_are_named_by_topic_and_record_and_enforce_compatibility(
    registry: Registry,
) -> None:
    await registry.publish()
    subject = "new-tweets-murmuration.TweetPosted"
    assert await registry.compatibility_of(subject) == COMPATIBILITY


async def test_an_incompatible_schema_is_refused_with_its_field_named(registry: Registry) -> None:
    subject = f"test-{uuid.uuid4()}"
    schema = catalog.schemas()["TweetLiked"][0].schema
    first = await registry.register(subject, schema)
    assert await registry.register(subject, schema) == first
    better = copy.deepcopy(schema)
    better["fields"].append({"name": "why", "type": "string", "default": "", "doc": "Why."})
    assert await registry.register(subject, better) != first
    worse = copy.deepcopy(better)
    del worse["fields"][-1]["default"]
    with pytest.raises(SchemaRefused, match="version 1") as caught:
        await registry.register(subject, worse)
    assert caught.value.field == "why"
    assert caught.value.subject == subject


async def test_many_that_register_at_once_all_get_the_same_id(registry: Registry) -> None:
    schema = catalog.schemas()["TweetLiked"][0].schema
    for _ in range(5):
        subject = f"test-{uuid.uuid4()}"
        ids = await asyncio.gather(*(registry.register(subject, schema) for _ in range(8)))
        assert len(set(ids)) == 1
        assert await registry.compatibility_of(subject) == COMPATIBILITY


async def test_an_id_that_nobody_has_is_none(registry: Registry) -> None:
    assert await registry.schema_of(2**31 - 1) is None


async def test_a_registry_that_is_away_is_retryable() -> None:
    async with httpx.AsyncClient(timeout=5) as client:
        registry = Registry("http://127.0.0.1:1/apis/ccompat/v7", client)
        with pytest.raises(RegistryUnavailable):
            await registry.schema_of(1)
