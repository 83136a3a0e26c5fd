"""The accounts unit under the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

from events.types import (
    Event,
    ProfileChanged,
    TweetPinned,
    TweetUnpinned,
    UserDeactivated,
    UserErased,
    UsernameClaimed,
    UsernameReleased,
    UserReactivated,
    UserRegistered,
)
from projections.accounts.read import AccountsReader
from projections.accounts.unit import Accounts
from projections.base import Unit
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord, Oracle

PARTITIONS = 2
USERS = 8
NAMES = 5
STEPS = 90


class AccountsCase(UnitCase):
    """Lives of accounts in any order, and names that several users claim and release."""

    name = "accounts"

    def unit(self, world: World) -> Unit:
        return Accounts(world.bus, world.store, world.keys(self.name))

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        ids = count(base + 10_000)
        for _ in range(STEPS):
            user_id = base + rng.randrange(USERS)
            if rng.random() < 0.5:
                log.append("users", user_id % PARTITIONS, _life(rng, next(ids), user_id))
                continue
            number = rng.randrange(NAMES)
            event = _name(rng, next(ids), user_id, f"Name{number}_{base}")
            log.append("usernames", number % PARTITIONS, event)
            if rng.random() < 0.2:
                log.append("usernames", number % PARTITIONS, event)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = AccountsReader(world.bus, world.store, world.keys(self.name))
        ids, names = sorted(_users(history)), sorted(_names(history))
        users = await reader.users(ids)
        active = await reader.get(ids)
        return {
            "users": {
                user_id: (
                    "erased" if user.erased else "deactivated" if user.deactivated else "active",
                    json.loads(user.body + b"}"),
                    user.pinned_tweet_id,
                    user_id in active,
                )
                for user_id, user in users.items()
            },
            "holders": {name: await reader.holder(name) for name in names},
        }

    def expected(self, history: list[LogRecord]) -> Any:
        oracle = Oracle(history)
        users: dict[int, Any] = {}
        for user_id in sorted(_users(history)):
            profile = oracle.profile(user_id)
            if profile is None:
                continue
            body = {"id": str(user_id)}
            if profile.status != "erased":
                body |= {
                    "username": profile.username,
                    "name": profile.name,
                    "description": profile.description,
                    "location": profile.location,
                    "url": profile.url,
                    "profile_image_url": profile.profile_image_url,
                    "created_at": "2023-11-14T22:13:20.000Z",
                }
            pinned = oracle.pin(user_id)
            users[user_id] = (profile.status, body, pinned, profile.status == "active")
        holders = {name: oracle.holder(name) for name in sorted(_names(history))}
        return {"users": users, "holders": holders}

    async def size(self, world: World, history: list[LogRecord]) -> int:
        users = await world.store.execute(
            "SELECT user_id FROM {accounts} WHERE user_id IN ?", (sorted(_users(history)),)
        )
        pins = await world.store.execute(
            "SELECT user_id FROM {pins} WHERE user_id IN ?", (sorted(_users(history)),)
        )
        keys = sorted({name.casefold() for name in _names(history)})
        names = await world.store.execute(
            "SELECT username_key FROM {username_claims} WHERE username_key IN ?", (keys,)
        )
        return len(users) + len(pins) + len(names)

    def size_max(self, history: list[LogRecord]) -> int:
        """Two rows per user and one per claim and release of a name."""
        return 2 * len(_users(history)) + len(list(_names(history)))


def _life(rng: Random, event_id: int, user_id: int) -> Event:
    common: dict[str, Any] = {"event_id": event_id, "occurred_at": 1, "user_id": user_id}
    kind = rng.choices(
        (
            UserRegistered,
            ProfileChanged,
            UserDeactivated,
            UserReactivated,
            UserErased,
            TweetPinned,
            TweetUnpinned,
        ),
        (6, 6, 2, 2, 0.4, 3, 1.5),
    )[0]
    if kind is UserRegistered:
        return UserRegistered(
            **common, username=f"u{event_id}", name="first", created_at=1_700_000_000_000
        )
    if kind is ProfileChanged:
        fields = ("name", "description", "location", "url", "profile_image_url")
        changed: dict[str, Any] = {
            field: f"{field} {event_id}" for field in fields if rng.random() < 0.4
        }
        if rng.random() < 0.3:
            changed["description"] = ""
        return ProfileChanged(**common, **changed)
    if kind is TweetPinned:
        return TweetPinned(**common, tweet_id=event_id)
    return kind(**common)


def _name(rng: Random, event_id: int, user_id: int, name: str) -> Event:
    common = {"event_id": event_id, "occurred_at": 1, "user_id": user_id}
    if rng.random() < 0.6:
        written = name.upper() if rng.random() < 0.5 else name
        return UsernameClaimed(**common, username_key=name.casefold(), username=written)
    return UsernameReleased(**common, username_key=name.casefold())


def _users(history: list[LogRecord]) -> set[int]:
    return {record.event.user_id for record in history}  # type: ignore[attr-defined]


def _names(history: list[LogRecord]) -> Iterator[str]:
    for record in history:
        if isinstance(record.event, UsernameClaimed):
            yield record.event.username
        elif isinstance(record.event, UsernameReleased):
            yield record.event.username_key
