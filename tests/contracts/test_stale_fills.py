"""A reader that loaded facts before a change cannot fill a cache with them after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from secrets import randbits
from typing import Any

from events.slices import Record, Slice
from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ProfileChanged,
    TweetDeleted,
    TweetPosted,
    UserRegistered,
)
from projections.accounts.read import AccountsReader
from projections.accounts.unit import Accounts
from projections.base import Unit
from projections.collections.read import CollectionsReader
from projections.collections.unit import Collections
from projections.store import Row, Store
from projections.tweets.read import TweetsReader
from projections.tweets.unit import Tweets
from tests.contracts.case import World
from tests.contracts.history import TOPIC_ID


class SlowStore(Store):
    """A store whose answers reach the reader only when they are let through."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.generation = inner.generation
        self.read = asyncio.Event()
        self.let_through = asyncio.Event()

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        rows = await self._inner.execute(cql, values)
        self.read.set()
        await self.let_through.wait()
        return rows


async def apply(unit: Unit, topic: str, partition: int, offset: int, event: Event) -> None:
    records = [Record(offset, 0, event)]
    await unit.apply(Slice(topic, partition, TOPIC_ID, offset, offset + 1, records))


async def test_a_deleted_tweet_is_not_filled_back(world: World) -> None:
    tweet_id, author, partition = randbits(60), randbits(60), randbits(30)
    keys = world.keys("tweets")
    unit = Tweets(world.bus, world.store, keys)
    await unit.open()
    common: dict[str, Any] = {"occurred_at": 1, "tweet_id": tweet_id, "user_id": author}
    post = TweetPosted(
        event_id=1, **common, text="soon gone", created_at=1, conversation_id=tweet_id
    )
    await apply(unit, "new-tweets", partition, 0, post)

    slow = SlowStore(world.store)
    reading = asyncio.create_task(TweetsReader(world.bus, slow, keys).get([tweet_id]))
    await asyncio.wait_for(slow.read.wait(), 10)
    await apply(unit, "new-tweets", partition, 1, TweetDeleted(event_id=2, **common))
    slow.let_through.set()
    await reading

    reader = TweetsReader(world.bus, world.store, keys)
    assert await reader.get([tweet_id]) == {}
    assert await reader.author_of([tweet_id]) == {tweet_id: author}


async def test_an_old_profile_is_not_filled_back(world: World) -> None:
    user_id, partition = randbits(60), randbits(30)
    keys = world.keys("accounts")
    unit = Accounts(world.bus, world.store, keys)
    await unit.open()
    common: dict[str, Any] = {"occurred_at": 1, "user_id": user_id}
    registered = UserRegistered(event_id=1, **common, username="a", name="old", created_at=1)
    await apply(unit, "users", partition, 0, registered)

    slow = SlowStore(world.store)
    reading = asyncio.create_task(AccountsReader(world.bus, slow, keys).get([user_id]))
    await asyncio.wait_for(slow.read.wait(), 10)
    await apply(unit, "users", partition, 1, ProfileChanged(event_id=2, **common, name="new"))
    slow.let_through.set()
    await reading

    found = await AccountsReader(world.bus, world.store, keys).get([user_id])
    assert b'"name":"new"' in found[user_id].body


async def test_an_old_list_is_not_filled_back(world: World) -> None:
    list_id, partition = randbits(60), randbits(30)
    keys = world.keys("collections")
    unit = Collections(world.bus, world.store, keys)
    await unit.open()
    common: dict[str, Any] = {"occurred_at": 1, "list_id": list_id, "user_id": 7}
    made = ListCreated(event_id=1, **common, name="old", description="", private=False)
    await apply(unit, "lists", partition, 0, made)

    slow = SlowStore(world.store)
    reading = asyncio.create_task(CollectionsReader(world.bus, slow, keys).lists([list_id]))
    await asyncio.wait_for(slow.read.wait(), 10)
    await apply(unit, "lists", partition, 1, ListChanged(event_id=2, **common, private=True))
    slow.let_through.set()
    await reading

    found = await CollectionsReader(world.bus, world.store, keys).lists([list_id])
    assert found[list_id].private
