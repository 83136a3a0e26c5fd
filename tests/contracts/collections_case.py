"""The collections unit under the contract."""

from __future__ import annotations

import json
from itertools import count
from random import Random
from typing import Any

from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
    TweetBookmarked,
    TweetUnbookmarked,
)
from projections.base import Unit
from projections.collections.layout import Limits
from projections.collections.read import CollectionsReader
from projections.collections.unit import Collections
from projections.fragments import rfc3339
from projections.listing import NEWEST
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord
from tests.oracle_collections import CollectionsOracle

PARTITIONS = 3
USERS = 9
LISTS = 8
TWEETS = 6
STEPS = 140
PAGE = 2
MEMBERS_MAX = 4


class CollectionsCase(UnitCase):
    """Lists changed by owners and by strangers, before, after and twice; bookmarks to and fro."""

    name = "collections"

    def unit(self, world: World) -> Unit:
        return Collections(world.bus, world.store, world.keys(self.name))

    def reader(self, world: World) -> CollectionsReader:
        """Returns a reader under the case's own bounds."""
        limits = Limits(members_max=MEMBERS_MAX)
        return CollectionsReader(world.bus, world.store, world.keys(self.name), limits)

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        ids = count(base + 10_000)
        for _ in range(STEPS):
            user = base + rng.randrange(USERS)
            if rng.random() < 0.7:
                list_id = base + 1000 + rng.randrange(LISTS)
                topic, key = "lists", list_id
                event = said_of_list(rng, next(ids), list_id, base)
            else:
                topic, key = "bookmarks", user
                event = said_of_bookmarks(rng, next(ids), user, base + 2000 + rng.randrange(TWEETS))
            log.append(topic, key % PARTITIONS, event)
            if rng.random() < 0.15:  # a producer's retry
                log.append(topic, key % PARTITIONS, event)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = self.reader(world)
        lists, users, tweets = _named(history)
        found = await reader.lists(lists)
        return {
            "lists": {i: json.loads(fragment.body + b"}") for i, fragment in found.items()},
            "private": {i for i, fragment in found.items() if fragment.private},
            "members": {i: list(await reader.members(i)) for i in lists},
            "owned": {user: await _owned(reader, user) for user in users},
            "owned_count": {user: await reader.owned_count(user) for user in users},
            "bookmarks": {user: await _bookmarks(reader, user) for user in users},
            "bookmarked": {user: await reader.bookmarked(user, tweets) for user in users},
        }

    def expected(self, history: list[LogRecord]) -> Any:
        oracle = CollectionsOracle(history, MEMBERS_MAX)
        lists, users, _ = _named(history)
        views = {i: view for i in lists if (view := oracle.view(i)) is not None}
        return {
            "lists": {
                i: {
                    "id": str(i),
                    "name": view.name,
                    "description": view.description,
                    "private": view.private,
                    "owner_id": str(view.owner_id),
                    "created_at": rfc3339(view.created_at),
                    "member_count": view.member_count,
                }
                for i, view in views.items()
            },
            "private": {i for i, view in views.items() if view.private},
            "members": {i: oracle.members(i) for i in lists},
            "owned": {user: oracle.owned(user, user) for user in users},
            "owned_count": {user: oracle.owned_count(user) for user in users},
            "bookmarks": {user: oracle.bookmarks(user) for user in users},
            "bookmarked": {user: set(oracle.bookmarks(user)) for user in users},
        }

    async def size(self, world: World, history: list[LogRecord]) -> int:
        lists, users, _ = _named(history)
        total = 0
        for cql, values in (
            ("SELECT list_id FROM {lists} WHERE list_id IN ?", (lists,)),
            (
                "SELECT list_id FROM {list_members} WHERE list_id IN ? AND user_id IN ?",
                (lists, users),
            ),
            ("SELECT list_id FROM {lists_of} WHERE user_id IN ?", (users,)),
            ("SELECT tweet_id FROM {bookmarks} WHERE user_id IN ?", (users,)),
            ("SELECT tweet_id FROM {bookmarks_of} WHERE user_id IN ?", (users,)),
        ):
            total += len(await world.store.execute(cql, values))
        return total

    def size_max(self, history: list[LogRecord]) -> int:
        """Per list and who speaks of it two rows, one a member; two a bookmark."""
        rows: set[tuple[object, ...]] = set()
        for record in history:
            event: Any = record.event
            match event:
                case TweetBookmarked() | TweetUnbookmarked():
                    rows |= {("one", event.user_id, event.tweet_id), ("two", event.event_id)}
                case ListMemberAdded() | ListMemberRemoved():
                    rows.add((event.list_id, event.user_id, event.member_id))
                case _:
                    rows |= {(n, event.list_id, event.user_id) for n in ("one", "two")}
        return len(rows)


async def _owned(reader: CollectionsReader, user: int) -> list[int]:
    found: list[int] = []
    below = NEWEST
    while page := await reader.owned(user, below, PAGE):
        assert len(page) <= PAGE
        found += page
        below = found[-1]
    return found


async def _bookmarks(reader: CollectionsReader, user: int) -> list[int]:
    found: list[int] = []
    below: int | None = NEWEST
    while below is not None:
        page = await reader.bookmarks(user, below, PAGE)
        assert len(page.entries) <= PAGE
        found += [entry.tweet_id for entry in page.entries]
        below = page.below
    return found


def _named(history: list[LogRecord]) -> tuple[list[int], list[int], list[int]]:
    """Returns the lists, the users who say something, and the tweets that a history names."""
    events: list[Any] = [record.event for record in history]
    lists = {event.list_id for event in events if hasattr(event, "list_id")}
    tweets = {event.tweet_id for event in events if hasattr(event, "tweet_id")}
    return sorted(lists), sorted({event.user_id for event in events}), sorted(tweets)


def said_of_list(rng: Random, event_id: int, list_id: int, base: int) -> Event:
    """Something that somebody says of a list."""
    # Mostly by the one who creates it in most histories; else by a stranger, or a second creator.
    who = base + (list_id % USERS if rng.random() < 0.8 else rng.randrange(USERS))
    about: dict[str, Any] = {
        "event_id": event_id,
        "occurred_at": 1_700_000_000_000 + event_id % 1_000_000,
        "list_id": list_id,
        "user_id": who,
    }
    kind = rng.choices(("create", "change", "delete", "add", "remove"), (5, 4, 1, 12, 5))[0]
    texts: dict[str, Any] = {
        "name": rng.choice(("Birds", "Fish", "名前")),
        "description": rng.choice(("", "what they say")),
        "private": rng.random() < 0.5,
    }
    match kind:
        case "create":
            return ListCreated(**about, **texts)
        case "change":
            kept = {name: value for name, value in texts.items() if rng.random() < 0.5}
            return ListChanged(**about, **kept)
        case "delete":
            return ListDeleted(**about)
    made = ListMemberAdded if kind == "add" else ListMemberRemoved
    return made(**about, member_id=base + rng.randrange(USERS))


def said_of_bookmarks(rng: Random, event_id: int, user: int, tweet: int) -> Event:
    """A bookmark made or taken back."""
    made = TweetBookmarked if rng.random() < 0.65 else TweetUnbookmarked
    return made(event_id=event_id, occurred_at=1, user_id=user, tweet_id=tweet)
