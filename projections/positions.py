"""Applied positions: how far a unit has come in each source partition, kept with its state.

Three records, written in this order when a slice is applied (step numbers recur in the code):

1. in each bucket that the slice touched, by the same script that wrote its effects; buckets with
   nothing to do follow with the next heartbeat;
2. in the store, once facts and effects are durable: everything below it is applied everywhere;
3. in one Redis hash for readers that wait for a position (`X-Wait-For`) and for `murmur status`.

A worker resumes from the lowest of the store's position and those of the buckets. So a Redis
failover that lost acknowledged writes is refilled from the log. Positions name the topic's id, so a
recreated topic is not taken for the old one.

What a bucket without a position means is told by the bucket itself:

- *No position of any partition*: it is new or came back empty, and holds nothing that is stale.
  Whoever resumes first begins it at the store's positions, those of every partition at once.
- *Positions of others, not this one*: it is as it was before this partition's first slice, and what
  it holds lacks all of them. This one is at 0, and is read from the start.

The two are told apart because a worker begins a partition in every bucket before it applies any of
it, and never writes where it began and finds no position any more (``StateLost``). What is left: a
Redis that goes back to a moment when readers had filled entries of a bucket and no worker had begun
it yet, which is before a generation's workers first ran, or the seconds after a Redis was emptied.

Bounded by: one hash field per source partition and bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from events.slices import Slice
from projections.base import ForeignTopic, StateLost
from projections.bus import Argument, Command, RedisBus
from projections.functions import EFFECTS, Library

if TYPE_CHECKING:
    from projections.keys import Keys
    from projections.store import Store

ARGUMENTS_PER_CALL_MAX = 2_000
"""Keys and arguments of one script call: 1,000 to 2,000 deliveries at 1 to 3 µs of Redis keep it
under about 5 ms, so that nobody behind it waits longer; a call more costs some 20 µs."""

POSITIONS_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    unit text, topic text, partition int, topic_id text, next_offset bigint,
    PRIMARY KEY ((unit, topic), partition)
)"""

_STORE_POSITION = (
    "INSERT INTO {positions} (unit, topic, partition, topic_id, next_offset) "
    "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
)

UNBEGUN = -1
"""What is expected of a bucket by whoever did not resume there, so that nothing can be lost."""

_BEGIN = EFFECTS.name("murmur_begin")

Effect = tuple[Sequence[bytes], Sequence[Argument]]
"""Keys of a bucket, and the operation on them in the words of ``effects.lua``."""


def forget(key: bytes) -> Effect:
    """Drops a cache entry and refuses any fill of it that is under way."""
    return (key,), ("D",)


def put(key: bytes, value: bytes, ttl_ms: int) -> Effect:
    """Replaces a cache entry and refuses any fill of it that is under way."""
    return (key,), ("P", ttl_ms, value)


class Positions:
    """The applied positions of one unit, as its worker writes them.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        commit: Library and function that write effects and move a bucket's position, for a unit
            with operations of its own.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        commit: tuple[Library, str] = (EFFECTS, "murmur_commit"),
    ) -> None:
        self._bus = bus
        self._library, function = commit
        self._function = self._library.name(function)
        self._store = store
        self._keys = keys
        self._applied: dict[str, int] = {}
        self._in_bucket: dict[str, list[int]] = {}

    async def open(self) -> None:
        """Creates the table of positions where it is missing and loads the scripts."""
        self._bus.use_library(EFFECTS.source)
        self._bus.use_library(self._library.source)
        await self._store.create("positions", POSITIONS_TABLE)

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        """Returns the next offset to read, or None when nothing was ever applied.

        Raises:
            ForeignTopic: the position on record is of another topic of the same name.
        """
        source = f"{topic}/{partition}"
        rows = await self._store.execute(
            "SELECT topic_id, next_offset FROM {positions} "
            "WHERE unit = ? AND topic = ? AND partition = ?",
            (self._keys.unit, topic, partition),
        )
        if rows and rows[0][0] != topic_id:
            raise ForeignTopic(
                f"{self._keys.unit}: the position of {source} belongs to topic id {rows[0][0]}, "
                f"but the log now has {topic_id}; rebuild the unit in a new generation, or point "
                f"MURMUR_KAFKA_BOOTSTRAP at the log that this state was built from"
            )
        durable = rows[0][1] if rows else 0
        replies = await self._bus.calls_strict(
            [("HGET", self._keys.positions(b), source) for b in range(self._keys.buckets)]
        )
        missing = [bucket for bucket, reply in enumerate(replies) if reply is None]
        begun = await self._begin(source, missing) if missing else {}
        known = [begun[b] if reply is None else int(reply) for b, reply in enumerate(replies)]
        start = self._applied[source] = min(durable, *known)
        self._in_bucket[source] = known
        return start if rows else None

    async def _begin(self, source: str, buckets: Sequence[int]) -> dict[int, int]:
        """Gives a partition its position in buckets that have none; returns it by bucket.

        The store is read before the buckets are looked at: a position that is too low only repeats.
        """
        stored = await stored_positions(self._store, self._keys.unit)
        known: list[Argument] = [part for pair in stored.items() for part in pair]
        replies = await self._bus.calls_strict(
            [("FCALL", _BEGIN, 1, self._keys.positions(b), source, *known) for b in buckets]
        )
        return {bucket: int(reply) for bucket, reply in zip(buckets, replies, strict=True)}

    def expected(self, source: str) -> Sequence[int]:
        """Returns what this worker last saw of a source partition in each bucket."""
        return self._in_bucket.setdefault(source, [UNBEGUN] * self._keys.buckets)

    async def commit(self, piece: Slice, effects: Mapping[int, Sequence[Effect]]) -> int:
        """Writes a slice's effects and moves its position; its facts must be durable already.

        Args:
            piece: The slice.
            effects: Operations by bucket.

        Returns:
            How many timeline entries were new.

        Raises:
            StateLost: a bucket is behind what this worker wrote there.
            RetryableError: an engine is away; repeat the whole slice.
        """
        added = await self.show(piece, effects)
        await self.settle(piece)
        return added

    async def show(self, piece: Slice, effects: Mapping[int, Sequence[Effect]]) -> int:
        """Writes a slice's effects and moves the position of their buckets (1).

        By itself for effects that say nothing about facts: they may be seen before these are
        durable, since whoever resumes begins at the store's position.

        Returns:
            How many timeline entries were new.

        Raises:
            StateLost: a bucket is behind what this worker wrote there.
            RetryableError: Redis is away; repeat the whole slice.
        """
        return await self._commit_buckets(piece.source, piece.end, effects)

    async def settle(self, piece: Slice) -> None:
        """Says that a slice is durable (2, 3): its facts are, and its effects were shown.

        Raises:
            RetryableError: an engine is away; repeat the whole slice.
        """
        await self._store.execute(
            _STORE_POSITION,
            (self._keys.unit, piece.topic, piece.partition, piece.topic_id, piece.end, piece.end),
        )
        self._applied[piece.source] = piece.end
        await self._bus.call("HSET", self._keys.applied, piece.source, piece.end)

    async def heartbeat(self) -> None:
        """Carries every partition's position to the buckets that had nothing to do.

        Raises:
            StateLost: a bucket is behind what this worker wrote there.
        """
        nothing: dict[int, Sequence[Effect]] = dict.fromkeys(range(self._keys.buckets), ())
        for source, end in list(self._applied.items()):
            await self._commit_buckets(source, end, nothing)
        if self._applied:
            fields = [part for pair in self._applied.items() for part in pair]
            await self._bus.call("HSET", self._keys.applied, *fields)

    async def _commit_buckets(
        self, source: str, end: int, effects: Mapping[int, Sequence[Effect]]
    ) -> int:
        expected = self._in_bucket.setdefault(source, [UNBEGUN] * self._keys.buckets)
        commands: list[Command] = []
        owners: list[int] = []
        for bucket, wanted in effects.items():
            for part, last in _parts(wanted):
                commands.append(self._command(bucket, source, expected[bucket], end, part, last))
                owners.append(bucket)
        added = 0
        for bucket, reply in zip(owners, await self._bus.aside.calls_strict(commands), strict=True):
            verdict, value = reply[0], int(reply[1])
            if verdict == b"lost":
                raise StateLost(
                    f"{self._keys.unit}: bucket {bucket} of Redis is at {source}@{value}, but this "
                    f"worker had written {expected[bucket]}: acknowledged writes were lost. "
                    f"The worker ends, and resumes from what is left."
                )
            if verdict == b"ok":
                added += value
        for bucket in effects:
            expected[bucket] = max(expected[bucket], end)
        return added

    def _command(
        self,
        bucket: int,
        source: str,
        expected: int,
        end: int,
        effects: Sequence[Effect],
        moves: bool,
    ) -> Command:
        keys = [key for keys, _ in effects for key in keys]
        command: list[Argument] = [
            "FCALL",
            self._function,
            1 + len(keys),
            self._keys.positions(bucket),
        ]
        command += keys
        command += (source, expected, end, int(moves))
        for _, operation in effects:
            command += operation
        return command


def _parts(effects: Sequence[Effect]) -> Iterator[tuple[Sequence[Effect], bool]]:
    """Cuts a bucket's effects into script calls of bounded length; True marks the last.

    Only the last moves the bucket's position, so a crash in between repeats the slice.
    """
    begin, weight = 0, 0
    for at, (keys, operation) in enumerate(effects):
        if weight >= ARGUMENTS_PER_CALL_MAX:
            yield effects[begin:at], False
            begin, weight = at, 0
        weight += len(keys) + len(operation)
    yield effects[begin:], True


class AppliedPositions:
    """The applied positions of one unit, as a reader sees them."""

    def __init__(self, bus: RedisBus, store: Store, keys: Keys) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys

    async def at(self, source: str) -> int:
        """Returns the next offset that the unit will apply of ``topic/partition``; 0 if none yet.

        Redis answers in the ordinary case; where it has lost the hash, the store does, which is at
        most
        one heartbeat behind.
        """
        reply = await self._bus.call("HGET", self._keys.applied, source)
        if reply is not None:
            return int(reply)
        return (await self.all()).get(source, 0)

    async def all(self) -> dict[str, int]:
        """Returns the store's position of every source partition, by ``topic/partition``."""
        return await stored_positions(self._store, self._keys.unit)


async def begin_at(
    store: Store, unit: str, topic: str, offsets: Mapping[int, int], topic_id: str
) -> None:
    """Has a unit that never applied anything of a topic begin at offsets other than the first."""
    await store.write(
        [
            (_STORE_POSITION, (unit, topic, partition, topic_id, offset, offset))
            for partition, offset in offsets.items()
        ]
    )


async def forget_positions(store: Store, unit: str, topics: Iterable[str]) -> None:
    """Removes the store's positions of a unit whose generation is dropped."""
    await store.create("positions", POSITIONS_TABLE)  # one that was hardly begun may have none
    for topic in topics:
        await store.execute("DELETE FROM {positions} WHERE unit = ? AND topic = ?", (unit, topic))


async def stored_positions(store: Store, unit: str) -> dict[str, int]:
    """Returns the store's position of every source partition, by ``topic/partition``."""
    rows = await store.execute(
        "SELECT topic, partition, next_offset FROM {positions} WHERE unit = ? ALLOW FILTERING",
        (unit,),
    )
    return {f"{topic}/{partition}": end for topic, partition, end in rows}


def reached(applied: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether positions are all at or past others; what nothing was applied of counts as 0."""
    return all(applied.get(source, 0) >= end for source, end in wanted.items())
