"""The social graph: follows, blocks and mutes as facts, and the cached answers drawn from them.

The writer's order, for one slice (the design's "each records its own fact where the other side
looks, then reads the other's"):

1. facts into ``graph_out`` and ``graph_in``, at QUORUM;
2. forget every cached answer that they change, the chunks of large accounts among them;
3. only then may anyone read the followee's tweets for the backfill.

A tweet whose fan-out read the followers before step 2 was in its author's timeline before step 3.

Bounded by: a user's edges are read in one page (5,000 followees is X's limit). The followers of an
account that is not large are counted in its partition; those of a large one chunk by chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from events.slices import Record
from events.types import (
    UserBlocked,
    UserFollowed,
    UserMuted,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)
from projections.bus import RedisBus
from projections.cache import Cache, forgetting
from projections.keys import Keys
from projections.store import Store, id_timestamp
from projections.timelines.chunks import Chunks
from projections.timelines.layout import (
    FOLLOWER_COUNT,
    FOLLOWERS,
    RELATIONS,
    Relations,
    in_force,
)
from projections.versions import latest

_FOLLOW_OUT = (
    "UPDATE {graph_out} USING TIMESTAMP ? SET follow_id = ? WHERE user_id = ? AND other_id = ?"
)
_FOLLOW_IN = (
    "UPDATE {graph_in} USING TIMESTAMP ? SET follow_id = ? WHERE user_id = ? AND follower_id = ?"
)
_MUTE = "UPDATE {graph_out} USING TIMESTAMP ? SET mute_id = ? WHERE user_id = ? AND other_id = ?"
_BLOCK = "UPDATE {graph_out} USING TIMESTAMP ? SET block_id = ? WHERE user_id = ? AND other_id = ?"
_BLOCKED_BY = (
    "UPDATE {graph_out} USING TIMESTAMP ? SET blocked_by_id = ? WHERE user_id = ? AND other_id = ?"
)
_LAST_BLOCK_OUT = (
    "UPDATE {graph_out} USING TIMESTAMP ? SET last_block_id = ? WHERE user_id = ? AND other_id = ?"
)
_LAST_BLOCK_IN = (
    "UPDATE {graph_in} USING TIMESTAMP ? SET last_block_id = ? "
    "WHERE user_id = ? AND follower_id = ?"
)

Fact = tuple[str, Sequence[Any]]
GraphEvent = UserFollowed | UserUnfollowed | UserBlocked | UserUnblocked | UserMuted | UserUnmuted


def facts(record: Record) -> list[Fact]:
    """Returns the upserts of one record of ``social-graph``; none for what is not of the graph."""
    event, at = record.event, latest(record.offset)
    if isinstance(event, GraphEvent) and event.user_id == event.target_user_id:
        return []  # nobody follows, blocks or mutes himself
    match event:
        case UserFollowed(user_id=user, target_user_id=other):
            return [
                (_FOLLOW_OUT, (at, event.event_id, user, other)),
                (_FOLLOW_IN, (at, event.event_id, other, user)),
            ]
        case UserUnfollowed(user_id=user, target_user_id=other):
            return [(_FOLLOW_OUT, (at, 0, user, other)), (_FOLLOW_IN, (at, 0, other, user))]
        case UserBlocked(user_id=user, target_user_id=other):
            block, highest = event.event_id, id_timestamp(event.event_id)
            return [
                (_BLOCK, (at, block, user, other)),
                (_BLOCKED_BY, (at, block, other, user)),
                (_LAST_BLOCK_OUT, (highest, block, user, other)),
                (_LAST_BLOCK_OUT, (highest, block, other, user)),
                (_LAST_BLOCK_IN, (highest, block, user, other)),
                (_LAST_BLOCK_IN, (highest, block, other, user)),
            ]
        case UserUnblocked(user_id=user, target_user_id=other):
            return [(_BLOCK, (at, 0, user, other)), (_BLOCKED_BY, (at, 0, other, user))]
        case UserMuted(user_id=user, target_user_id=other):
            return [(_MUTE, (at, event.event_id, user, other))]
        case UserUnmuted(user_id=user, target_user_id=other):
            return [(_MUTE, (at, 0, user, other))]
    return []


class Graph:
    """Reads the graph through its caches; the writer tells it what to forget."""

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys
        self.chunks = Chunks(bus, store, keys)
        self.relations = Cache(bus, keys, RELATIONS, self._load_relations)
        self.follower_count = Cache(bus, keys, FOLLOWER_COUNT, self._load_follower_counts)

    async def record(self, records: Iterable[Record]) -> None:
        """Writes the facts of a slice (1) and forgets the answers that they change (2)."""
        found = [(record.event, facts(record)) for record in records]
        await self._store.write([fact for _, written in found for fact in written])
        stale: dict[bytes, None] = {}
        follows: set[tuple[int, int]] = set()
        for event, written in found:
            if written and isinstance(event, GraphEvent):
                stale.update(dict.fromkeys(self._stale_after(event)))
                follows.update(_followed(event))
        # What is counted of chunks is forgotten after them: by now nobody fills it from old ones.
        for keys in (await self.chunks.stale_after(follows), stale):
            await self._bus.calls_strict(forgetting(keys))

    def _stale_after(self, event: GraphEvent) -> list[bytes]:
        user, other = event.user_id, event.target_user_id
        match event:
            case UserMuted() | UserUnmuted():
                return [self.relations.key(user)]
            case UserFollowed() | UserUnfollowed():
                touched: tuple[int, ...] = (other,)
                related: tuple[int, ...] = (user,)
            case _:
                touched = related = (user, other)
        keys = [self.relations.key(one) for one in related]
        for one in touched:
            keys += (self._keys.of(FOLLOWERS, one), self.follower_count.key(one))
        return keys

    async def relations_of(self, user_id: int) -> Relations:
        """Returns what decides which authors a user sees."""
        return Relations.unpack((await self.relations.get([user_id]))[user_id])

    async def counts(self, user_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Returns (followers, following) of users: follows in force, whoever is active."""
        followers, relations = await asyncio.gather(
            self.follower_counts(user_ids), self.relations.get(user_ids)
        )
        return {
            user: (followers[user], Relations.following_in(relations[user])) for user in user_ids
        }

    async def follower_counts(self, user_ids: Sequence[int]) -> dict[int, int]:
        """Returns how many follow each of the users."""
        counts = await self.follower_count.get(user_ids)
        return {user: int(counts[user]) for user in user_ids}

    async def follower_page(self, user_id: int, below: int, limit: int) -> list[int]:
        """Returns up to ``limit`` followers with ids under ``below``, descending."""
        return await self._page(
            "SELECT follower_id, follow_id, last_block_id FROM {graph_in} WHERE user_id = ? "
            "AND follower_id < ? ORDER BY follower_id DESC LIMIT ?",
            (user_id, below, limit),
        )

    async def following_page(self, user_id: int, below: int, limit: int) -> list[int]:
        """Returns up to ``limit`` followees with ids under ``below``, descending."""
        return await self._page(
            "SELECT other_id, follow_id, last_block_id FROM {graph_out} WHERE user_id = ? "
            "AND other_id < ? ORDER BY other_id DESC LIMIT ?",
            (user_id, below, limit),
        )

    async def _page(self, cql: str, values: tuple[int, int, int]) -> list[int]:
        user_id, below, limit = values
        page: list[int] = []
        while len(page) < limit:
            rows = await self._store.execute(cql, (user_id, below, limit))
            page += [other for other, follow, block in rows if in_force(follow, block)]
            if len(rows) < limit:
                break
            below = rows[-1][0]
        return page[:limit]

    async def _load_relations(self, users: Sequence[int]) -> dict[int, bytes]:
        found = await self._store.execute_many(
            "SELECT other_id, follow_id, block_id, mute_id, blocked_by_id, last_block_id "
            "FROM {graph_out} WHERE user_id = ?",
            [(user,) for user in users],
        )
        return {user: _relations(rows).pack() for user, rows in zip(users, found, strict=True)}

    async def _load_follower_counts(self, users: Sequence[int]) -> dict[int, bytes]:
        cuts = await self.chunks.cuts(users)
        large = {user: cut for user, cut in cuts.items() if cut.active}
        counts = dict.fromkeys(large, 0)
        for (user, _, _), size in (await self.chunks.sizes(large)).items():
            counts[user] += size
        small = [user for user in users if user not in large]
        found = await self._store.execute_many(
            "SELECT follow_id, last_block_id FROM {graph_in} WHERE user_id = ?",
            [(user,) for user in small],
        )
        for user, rows in zip(small, found, strict=True):
            counts[user] = sum(in_force(follow, block) for follow, block in rows)
        return {user: b"%d" % count for user, count in counts.items()}


def _followed(event: GraphEvent) -> tuple[tuple[int, int], ...]:
    """Returns the pairs (followed, follower) that an event may change."""
    user, other = event.user_id, event.target_user_id
    match event:
        case UserFollowed() | UserUnfollowed():
            return ((other, user),)
        case UserBlocked() | UserUnblocked():
            return ((other, user), (user, other))
        case _:
            return ()


def _relations(rows: Sequence[Sequence[Any]]) -> Relations:
    following, blocked, blocking, muted = [], [], [], []
    for other, follow, block, mute, blocked_by, last_block in rows:
        if in_force(follow, last_block):
            following.append(other)
        if block:
            blocking.append(other)
        if block or blocked_by:
            blocked.append(other)
        if mute:
            muted.append(other)
    return Relations(
        frozenset(following), frozenset(blocked), frozenset(blocking), frozenset(muted)
    )
