"""The notifications unit's reading side: candidates of an inbox, names, counts and settings.

What is read here knows nothing of blocks, mutes, accounts or tweets: who reads decides what of it
he is shown (``gateway.queries.notifications``). Candidates come by spans of ids, newest first; the
newest of each addressee are cached, so that an unread count costs a pass to Redis.

Bounded by: ``HEAD_MAX`` candidates cached, ``SPANS_MAX`` spans and ``GROUPS_MAX`` groups of a span
in one step, ``ACTS_MAX`` acts of a group; whoever wants more asks on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from projections.bus import RedisBus
from projections.cache import Cache, unpacked
from projections.keys import Keys
from projections.listing import NEWEST
from projections.notifications.acts import ACTORS_PER_QUERY, Doer, rows_of, standing
from projections.notifications.layout import (
    ADDRESSES_MAX,
    HEAD,
    SETTINGS,
    SHAPE,
    TAKER_SHARDS,
    Address,
    Group,
    GroupActs,
    Part,
    Proposal,
    Seen,
    Settings,
    Shape,
)
from projections.store import Store

HEAD_MAX = 50
SPANS_MAX = 16
GROUPS_MAX = 500
"""Groups of one span and addressee that are looked at, those about the newest tweets."""

ACTS_MAX = 10
GROUPS_PER_QUERY = 32
TAKERS_PER_QUERY = 1_000

_SPANS = "SELECT span FROM {inbox_spans} WHERE addressee = ? AND span <= ? LIMIT ?"
_TWEETS = (
    "SELECT tweet_id FROM {inbox_tweets} WHERE addressee = ? AND span IN ? AND tweet_id < ? "
    "PER PARTITION LIMIT ?"
)
_GROUPS = (
    "SELECT subject, kind FROM {inbox_groups} WHERE addressee = ? AND span IN ? "
    "PER PARTITION LIMIT ?"
)
_ACTS = (
    "SELECT act_group, act_id, actor FROM {acts_told} WHERE act_group IN ? AND act_id < ? "
    "PER PARTITION LIMIT ?"
)
_COUNTS = "SELECT act_group, acts FROM {act_counts} WHERE act_group IN ?"
_REDRIVEN = "SELECT act_group, subject, actor FROM {acts_redriven} WHERE act_group IN ?"
_TAKERS = (
    "SELECT user_id, enabled FROM {notice_takers} WHERE scope = ? AND name = ? AND shard = ? "
    "AND user_id > ? LIMIT ?"
)
_BY = "SELECT act_group, actor, act_id FROM {acts_by} WHERE act_group IN ? AND actor IN ?"

_HEAD = msgspec.msgpack.Decoder(Part)
_SETTINGS = msgspec.msgpack.Decoder(Settings)


class NotificationsReader:
    """What the gateway reads of the notifications unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        shape: As the unit writes.
        head_max: Candidates that are cached.
        spans_max: Spans in one step.
        acts_max: Acts of a group in one step.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        shape: Shape = SHAPE,
        *,
        head_max: int = HEAD_MAX,
        spans_max: int = SPANS_MAX,
        acts_max: int = ACTS_MAX,
    ) -> None:
        self._store = store
        self._scope = keys.unit
        self._shape = shape
        self._head_max = head_max
        self._spans_max = spans_max
        self._acts_max = acts_max
        self._heads = Cache(bus, keys, HEAD, self._load_heads)
        self._settings = Cache(bus, keys, SETTINGS, self._load_settings)

    async def part(self, user_id: int, names: Sequence[int], below: int, limit: int) -> Part:
        """Returns the next candidates of a user and of the names that he goes by.

        Args:
            user_id: The user.
            names: Made by :func:`projections.notifications.layout.of_name`.
            below: Ids under this one; the ``floor`` of the part before.
            limit: About how many.

        Raises:
            RetryableError: an engine is away.
        """
        addressees = [user_id, *names]
        heads = await unpacked(self._heads.get(addressees), _HEAD.decode)
        parts = await asyncio.gather(
            *(self._of(one, heads.get(one), below, limit) for one in addressees)
        )
        floor = max(part.floor for part in parts)
        tweets = {tweet for part in parts for tweet in part.tweets if floor <= tweet < below}
        return Part(sorted(tweets, reverse=True), parts[0].groups, floor)

    async def acts(self, group: Group, below: int, limit: int) -> tuple[list[Seen], int]:
        """Returns acts of a group that stand, newest first, and where to read on (0: the end)."""
        found = await self._newest([group], below, limit)
        return found[group]

    async def counts(self, groups: Iterable[Group], without: Iterable[int]) -> dict[Group, int]:
        """Returns how many acts of each group stand, but for those of some actors."""
        wanted = {group.name: group for group in groups}
        names, total = list(wanted), dict.fromkeys(wanted, 0)
        rows = await self._store.execute_in(_COUNTS, names, per_query=GROUPS_PER_QUERY)
        for name, acts in rows:
            total[name] += acts
        rows = await self._store.execute_in(_REDRIVEN, names, per_query=GROUPS_PER_QUERY)
        known = await rows_of(self._store, {(subject, actor) for _, subject, actor in rows})
        for name, subject, actor in rows:
            acts = known[subject, actor]
            with_them = standing(subject, acts)
            regular = standing(subject, (act for act in acts if not act.redriven))
            total[name] += (with_them is not None and with_them.group == name) - (
                regular is not None and regular.group == name
            )
        for name, number in (await self._by(wanted, sorted(set(without)))).items():
            total[name] -= number
        return {wanted[name]: number for name, number in total.items()}

    async def settings(self, user_id: int) -> Settings:
        """Returns how far a user read, and what he wants to be told."""
        found = await unpacked(self._settings.get([user_id]), _SETTINGS.decode)
        return found.get(user_id, Settings())

    async def addresses(self, user_id: int, channel: str) -> list[Address]:
        """Returns where a user wants to be reached, from the store itself."""
        rows = await self._store.execute(
            "SELECT address, p256dh, auth, wanted FROM {notice_addresses} "
            "WHERE user_id = ? AND channel = ?",
            (user_id, channel),
        )
        found = [Address(address, p256dh, auth) for address, p256dh, auth, wanted in rows if wanted]
        return found[:ADDRESSES_MAX]

    async def proposed(self, user_id: int, channel: str) -> Proposal | None:
        """Returns the address that waits to be confirmed, from the store itself."""
        rows = await self._store.execute(
            "SELECT event_id, address FROM {notice_proposals} WHERE user_id = ? AND channel = ?",
            (user_id, channel),
        )
        return next((Proposal(*row) for row in rows if row[1]), None)

    async def takers(self, name: str) -> AsyncIterator[int]:
        """Yields the users who turned a switch on that is in ``TAKEN``, from the store itself."""
        for shard in range(TAKER_SHARDS):
            above, full = -1, True
            while full:
                values = (self._scope, name, shard, above, TAKERS_PER_QUERY)
                rows = await self._store.execute(_TAKERS, values)
                full = len(rows) == TAKERS_PER_QUERY
                for user, enabled in rows:
                    above = user
                    if enabled:
                        yield user

    async def _by(self, groups: dict[str, Group], actors: Sequence[int]) -> dict[str, int]:
        """Returns how many acts of some actors stand in each group."""
        names, chunk = list(groups), ACTORS_PER_QUERY
        pages = await asyncio.gather(
            *(
                self._store.execute_in(
                    _BY, names, list(actors[at : at + chunk]), per_query=GROUPS_PER_QUERY
                )
                for at in range(0, len(actors), chunk)
            )
        )
        rows = [(name, Seen(at, actor)) for page in pages for name, actor, at in page]
        found = dict.fromkeys(names, 0)
        for name, _ in await self._standing(rows):
            found[name] += 1
        return found

    async def _standing(self, rows: Sequence[tuple[str, Seen]]) -> list[tuple[str, Seen]]:
        """Returns those of the candidates by group that still stand."""
        about: list[Doer] = [
            (Group.named(name).taken_back_in(seen.user_id, seen.at), seen.user_id)
            for name, seen in rows
        ]
        known = await rows_of(self._store, dict.fromkeys(about))
        found = []
        for (name, seen), doer in zip(rows, about, strict=True):
            act = standing(doer[0], known[doer])
            if act is not None and (act.group, act.act_id) == (name, seen.at):
                found.append((name, seen))
        return found

    async def _newest(
        self, groups: Iterable[Group], below: int, limit: int
    ) -> dict[Group, tuple[list[Seen], int]]:
        wanted = {group.name: group for group in groups}
        rows = await self._store.execute_in(
            _ACTS, list(wanted), below, limit, per_query=GROUPS_PER_QUERY
        )
        candidates = [(name, Seen(act_id, actor)) for name, act_id, actor in rows]
        floors: dict[str, list[int]] = {name: [] for name in wanted}
        for name, seen in candidates:
            floors[name].append(seen.at)
        found: dict[Group, tuple[list[Seen], int]] = {
            group: ([], min(floors[name]) if len(floors[name]) == limit else 0)
            for name, group in wanted.items()
        }
        for name, seen in await self._standing(candidates):
            found[wanted[name]][0].append(seen)
        return found

    async def _of(self, addressee: int, head: Part | None, below: int, limit: int) -> Part:
        if head is not None and below > head.floor:
            return head
        return await self._stored(addressee, below, limit)

    async def _stored(self, addressee: int, below: int, limit: int) -> Part:
        """Returns candidates from the store: of the newest span alone, then of several."""
        highest = (below - 1) >> self._shape.span_bits
        rows = await self._store.execute(_SPANS, (addressee, highest, self._spans_max))
        spans = [span for (span,) in rows]
        floor = 0
        tweets: list[int] = []
        groups: dict[tuple[str, int], Group] = {}
        for several in (spans[:1], spans[1:]):
            if not several:
                continue
            told, grouped = await asyncio.gather(
                self._store.execute(_TWEETS, (addressee, several, below, limit)),
                self._store.execute(_GROUPS, (addressee, several, GROUPS_MAX)),
            )
            ids = sorted((tweet for (tweet,) in told), reverse=True)
            tweets += ids[:limit]
            for subject, kind in grouped:
                groups[kind, subject] = Group(kind, addressee, subject)
            if len(ids) >= limit:
                floor = ids[limit - 1]
                break
            floor = several[-1] << self._shape.span_bits
            if len(tweets) + len(groups) >= limit:
                break
        if len(spans) < self._spans_max and floor == _lowest(spans, self._shape):
            floor = 0
        newest = await self._newest(groups.values(), NEWEST, self._acts_max)
        return Part(
            tweets, [GroupActs(g.kind, g.subject, *newest[g]) for g in groups.values()], floor
        )

    async def _load_heads(self, addressees: Sequence[int]) -> dict[int, bytes]:
        parts = await asyncio.gather(
            *(self._stored(one, NEWEST, self._head_max) for one in addressees)
        )
        return {
            one: msgspec.msgpack.encode(part) for one, part in zip(addressees, parts, strict=True)
        }

    async def _load_settings(self, users: Sequence[int]) -> dict[int, bytes]:
        read: dict[int, int] = dict(
            await self._store.execute_in(
                "SELECT user_id, up_to_id FROM {notices_read} WHERE user_id IN ?", list(users)
            )
        )
        rows = await self._store.execute_in(
            "SELECT user_id, name, enabled FROM {notice_preferences} WHERE user_id IN ?",
            list(users),
        )
        preferences: dict[int, dict[str, bool]] = {user: {} for user in users}
        for user, name, enabled in rows:
            preferences[user][name] = enabled
        return {
            user: msgspec.msgpack.encode(Settings(read.get(user, 0), preferences[user]))
            for user in users
        }


def _lowest(spans: Sequence[int], shape: Shape) -> int:
    return spans[-1] << shape.span_bits if spans else 0
