"""A slice of ``engagements``: likes and views become memberships and registers.

1. Cut the slice by tweet: of each user the last record, of views their number.
2. Where a tweet is hot, one operation per tweet in one script call per bucket changes its likers
   and counts. The entry's own position says what it holds already; what is ahead of the slice's
   first record is trimmed off and tried again.
3. Where it is cold, read its likers (those of the slice, or all when few) and *then* its register,
   and count here.
4. Write the registers, *then* the memberships and lists: no membership is ever ahead of its
   register. Both are written even where the script had nothing left to do.
5. Tell Redis, with the position: what it counted is in the store; cold entries are put.

Exactly-once effect: a register is a pure function of the log (see :mod:`.tally`), so the store
needs no fence; Redis is fenced by the position in each entry, and by the bucket's position where
Redis lost writes.

Bounded by: ``RECORDS_MAX`` records at once (the unit cuts), ``ARGUMENTS_PER_CALL_MAX`` per script
call, ``Limits`` for what is loaded.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from events.slices import Record
from projections.base import RetryableError, StateLost
from projections.bus import Argument, Command, RedisBus
from projections.cache import LEASE_SECONDS
from projections.engagement.layout import (
    COUNTS,
    ENGAGED,
    ENGAGEMENT,
    IDS_PER_QUERY,
    MARK,
    TTL_MS,
    Likes,
    Limits,
    members,
    pack,
    packed,
)
from projections.engagement.lists import Lists
from projections.engagement.redriven import Redriven
from projections.engagement.tally import Touched, gather, recount
from projections.keys import Keys
from projections.positions import ARGUMENTS_PER_CALL_MAX, Effect, Positions
from projections.store import Row, Store

TRIMS_MAX = 5
"""Rounds of trimming; two writers (one of them late) can only move an entry upwards."""

FEW_MEMBERS = 200
"""Likers of a cold tweet that are read at once with those of others."""

_ENGAGE = ENGAGEMENT.name("murmur_engage")

_REGISTER = (
    "UPDATE {tallies} USING TIMESTAMP ? SET position = ?, likes = ?, views = ? "
    "WHERE tweet_id = ? AND source = ?"
)
TALLIES = (
    "SELECT tweet_id, source, position, likes, views, replies, retweets, quotes FROM {tallies} "
    "WHERE tweet_id IN ?"
)
_MEMBERS = (
    "SELECT tweet_id, user_id, event_id FROM {likes} WHERE tweet_id IN ? PER PARTITION LIMIT ?"
)
_SOME_MEMBERS = (
    "SELECT tweet_id, user_id, event_id FROM {likes} WHERE tweet_id = ? AND user_id IN ?"
)

Owned = tuple[int, Effect]
"""An effect and its bucket."""

_Told = list[tuple[int, Likes | None]]
"""Tweets, and the register that the entry of each holds after the script; None where absent."""


class Engagements:
    """Applies records of ``engagements`` but for the position, which the unit moves."""

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        positions: Positions,
        limits: Limits,
        lists: Lists,
        redriven: Redriven,
    ) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys
        self._prefixes = [keys.prefix(COUNTS, bucket) for bucket in range(keys.buckets)]
        self._positions = positions
        self._limits = limits
        self._lists = lists
        self._redriven = redriven

    async def apply(self, source: str, records: Sequence[Record]) -> list[Owned]:
        """Makes records durable; returns what Redis is to be told with the position.

        Raises:
            StateLost: a bucket is behind what this worker wrote there.
            RetryableError: an engine is away; apply the whole slice again.
        """
        token = secrets.token_hex(8)
        touched = gather(records)  # 1
        hot, cold = await self._count_hot(source, records, touched, token)  # 2
        counted = _Cold(source, {t: touched[t] for t in cold}, token)
        await counted.load(self._store, self._limits)  # 3
        counted.count(records)
        registers = hot | counted.registers
        await self._store.write(register_rows(source, registers))  # 4
        await self._lists.write(touched)
        return [*_durable(hot, touched), *self._filled(counted)]  # 5

    async def _count_hot(
        self, source: str, records: Sequence[Record], touched: dict[int, Touched], token: str
    ) -> tuple[dict[int, Likes], list[int]]:
        """Runs the scripts; returns the registers of hot tweets, and the tweets that are cold."""
        hot: dict[int, Likes] = {}
        cold: list[int] = []
        left = touched
        for _ in range(TRIMS_MAX):
            above: dict[int, int] = {}
            for tweet_id, register in await self._engage(source, left, token):
                if register is None:
                    cold.append(tweet_id)
                    continue
                wanted = left[tweet_id]
                if register.position >= wanted.finish:
                    hot[tweet_id] = register
                elif register.position <= wanted.first:  # its likers are not known
                    cold.append(tweet_id)
                else:
                    above[tweet_id] = register.position
            if not above:
                return hot, cold
            left = gather(records, above)
        raise RetryableError(f"{source}: somebody else kept moving {len(above)} tweets; try again")

    async def _engage(self, source: str, touched: dict[int, Touched], token: str) -> _Told:
        by_bucket: dict[int, list[int]] = {}
        bucket_of, prefixes = self._keys.bucket, self._prefixes
        for tweet_id, seen in touched.items():
            seen.bucket = bucket_of(tweet_id)
            seen.key = b"%s%d" % (prefixes[seen.bucket], tweet_id)
            by_bucket.setdefault(seen.bucket, []).append(tweet_id)
        expected = self._positions.expected(source)
        tasks: list[asyncio.Task[_Told]] = []
        for bucket, tweets in by_bucket.items():
            head = (source, expected[bucket], token, LEASE_SECONDS * 1000)
            for part in _parts(tweets, touched):
                command = self._command(bucket, head, part, touched)
                tasks.append(asyncio.create_task(self._ask(command, bucket, head, part)))
                await asyncio.sleep(0)  # Redis works on this one while the next is made
        return [one for told in await asyncio.gather(*tasks) for one in told]

    async def _ask(
        self, command: Command, bucket: int, head: Sequence[Argument], part: list[int]
    ) -> _Told:
        (reply,) = await self._bus.calls_strict([command])
        if reply[0] == b"lost":
            raise StateLost(
                f"{self._keys.unit}: bucket {bucket} of Redis is at {head[0]!s}@{int(reply[1])}, "
                f"but this worker had written {head[1]!s}: acknowledged writes were lost"
            )
        unpack = Likes.unpack  # while Redis works on the next bucket
        return [
            (tweet_id, None if value is None else unpack(value))
            for tweet_id, value in zip(part, reply[1:], strict=True)
        ]

    def _command(
        self, bucket: int, head: Sequence[Argument], part: list[int], touched: dict[int, Touched]
    ) -> Command:
        command: list[Argument] = [
            "FCALL",
            _ENGAGE,
            1 + len(part),
            self._keys.positions(bucket),
            *[touched[tweet_id].key for tweet_id in part],
            *head,
            TTL_MS,
            self._limits.members_hot_max,
        ]
        for tweet_id in part:
            seen = touched[tweet_id]
            likers, others = seen.split()
            head = ENGAGED.pack(seen.first, seen.finish, seen.views, len(likers))
            likers += others
            command.append(head + packed(likers))
        return command

    def _filled(self, cold: _Cold) -> Iterator[Owned]:
        yield from self._redriven.forgotten(cold.marked)
        for tweet_id, register in cold.registers.items():
            if tweet_id in cold.marked:
                continue  # what redrives add follows from memberships that are written by now
            bucket, key = self._keys.bucket(tweet_id), (self._keys.of(COUNTS, tweet_id),)
            counts = (register.position, register.likes, register.views)
            head = ("G", *counts, TTL_MS, cold.token, cold.entry(tweet_id))
            likers = cold.all_likers(tweet_id)
            if likers is None:
                yield bucket, (key, (*head, -1))
                continue
            first = members(likers[:ARGUMENTS_PER_CALL_MAX])
            yield bucket, (key, (*head, len(first), *first))
            for at in range(len(first), len(likers), ARGUMENTS_PER_CALL_MAX):
                some = members(likers[at : at + ARGUMENTS_PER_CALL_MAX])
                yield bucket, (key, ("F", register.position, len(some), *some))


class _Cold:
    """Tweets of a slice whose likers Redis does not have."""

    def __init__(self, source: str, touched: dict[int, Touched], token: str) -> None:
        self._source = source
        self._touched = touched
        self._likers: dict[int, set[int]] = {tweet_id: set() for tweet_id in touched}
        self._whole = {tweet_id for tweet_id, seen in touched.items() if seen.last}
        self._tallies: dict[int, list[Row]] = {tweet_id: [] for tweet_id in touched}
        self.token = token
        self.registers: dict[int, Likes] = {}
        self.marked: set[int] = set()
        """Tweets that redrives have something to add to."""

    async def load(self, store: Store, limits: Limits) -> None:
        """Reads memberships, and only then registers: a row is never ahead of its register."""
        few = min(FEW_MEMBERS, limits.members_load_max) + 1
        rows = await store.execute_in(_MEMBERS, list(self._whole), few, per_query=IDS_PER_QUERY)
        many = self._keep(rows, few)
        if many:
            most = limits.members_load_max + 1
            self._likers.update((tweet_id, set()) for tweet_id in many)
            rows = await store.execute_in(_MEMBERS, many, most, per_query=1)
            larger = self._keep(rows, most)
            self._whole.difference_update(larger)
            await asyncio.gather(*(self._look_up(store, tweet_id) for tweet_id in larger))
        tallies = await store.execute_in(TALLIES, list(self._touched), per_query=IDS_PER_QUERY)
        for row in tallies:
            self._tallies[row[0]].append(row[1:])
            if row[1] == MARK:
                self.marked.add(row[0])

    def count(self, records: Iterable[Record]) -> None:
        """Sets the registers to what they are after the slice."""
        if not self._touched:
            return
        by_tweet: dict[int, list[Record]] = {tweet_id: [] for tweet_id in self._touched}
        for record in records:
            found = by_tweet.get(record.event.tweet_id)  # type: ignore[attr-defined]
            if found is not None:
                found.append(record)
        for tweet_id, about in by_tweet.items():
            stored = next((row for row in self._tallies[tweet_id] if row[0] == self._source), None)
            register = Likes(*stored[1:4]) if stored else Likes()
            self.registers[tweet_id] = recount(register, about, self._likers[tweet_id])

    def entry(self, tweet_id: int) -> bytes:
        """Returns the whole cache entry, with the new register in it."""
        now = self.registers[tweet_id]
        others = [row for row in self._tallies[tweet_id] if row[0] != self._source]
        mine = (self._source, now.position, now.likes, now.views, None, None, None)
        return pack([mine, *others])

    def all_likers(self, tweet_id: int) -> list[int] | None:
        """Returns the likers as of the new register, or None where not all are known.

        A register ahead of the slice holds records whose memberships may not be written yet.
        """
        ahead = self.registers[tweet_id].position > self._touched[tweet_id].finish
        return None if ahead or tweet_id not in self._whole else list(self._likers[tweet_id])

    def _keep(self, rows: Sequence[Row], limit: int) -> list[int]:
        """Takes in memberships; returns the tweets that have more than were read."""
        numbers: dict[int, int] = {}
        for tweet_id, user_id, event_id in rows:
            numbers[tweet_id] = numbers.get(tweet_id, 0) + 1
            if event_id:
                self._likers[tweet_id].add(user_id)
        return [tweet_id for tweet_id, number in numbers.items() if number >= limit]

    async def _look_up(self, store: Store, tweet_id: int) -> None:
        users = list(self._touched[tweet_id].last)
        rows = await store.execute(_SOME_MEMBERS, (tweet_id, users))
        self._likers[tweet_id] = {user_id for _, user_id, event_id in rows if event_id}


def _durable(hot: dict[int, Likes], touched: dict[int, Touched]) -> Iterator[Owned]:
    by_bucket: dict[int, list[int]] = {}
    for tweet_id in hot:
        by_bucket.setdefault(touched[tweet_id].bucket, []).append(tweet_id)
    for bucket, tweets in by_bucket.items():
        for at in range(0, len(tweets), ARGUMENTS_PER_CALL_MAX):
            part = tweets[at : at + ARGUMENTS_PER_CALL_MAX]
            keys = [touched[tweet_id].key for tweet_id in part]
            yield bucket, (keys, ("E", len(part), *[hot[tweet_id].position for tweet_id in part]))


def register_rows(source: str, registers: dict[int, Likes]) -> list[tuple[str, Sequence[Any]]]:
    """Returns the rows of registers of one source partition, by tweet."""
    return [
        (_REGISTER, (now.position, now.position, now.likes, now.views, tweet_id, source))
        for tweet_id, now in registers.items()
    ]


def _parts(tweets: list[int], touched: dict[int, Touched]) -> Iterator[list[int]]:
    """Cuts the tweets of a bucket into script calls of bounded length."""
    begin, weight = 0, 0
    for at, tweet_id in enumerate(tweets):
        if weight >= ARGUMENTS_PER_CALL_MAX:
            yield tweets[begin:at]
            begin, weight = at, 0
        weight += 6 + len(touched[tweet_id].last)
    yield tweets[begin:]
