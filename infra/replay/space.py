"""The space that a generation takes, and whether there is room for another one.

Redis is asked key by key, a sample of them weighed; the store is asked for what its tables take on
disk, where it can say (Cassandra's virtual table; ScyllaDB has none). Room on the store's disks is
known of the local stack only.

Bounded by: ``KEYS_MAX`` keys looked at in one scan for all generations that are asked for, and
``WEIGHED_MAX`` of each weighed; what is over is extrapolated.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from os.path import commonprefix

import msgspec
from cassandra import InvalidRequest

from events.cassandra import Statements
from events.errors import StoreUnavailable
from infra import compose
from infra.compose import Engines
from infra.generations import state_of
from infra.settings import addresses_in
from projections.base import RetryableError

KEYS_MAX = 1_000_000
WEIGHED_MAX = 1_000
WEIGHED_EACH = 50
"""Keys of one answer of the scan that are weighed: a sample from all over."""

REDIS_SHARE_MAX = 0.9
"""Of Redis' memory that may be in use in the end; the rest is its own, and caches' to breathe."""

DISK_FACTOR = 2
"""A table needs its size again while it is compacted (Cassandra, size-tiered compaction)."""

DISK_BYTES_MIN = 256 << 20

_DISK = "SELECT keyspace_name, table_name, mebibytes FROM system_views.disk_usage"


Owner = tuple[str, str]
"""A unit and the name of a generation of it."""


class Space(msgspec.Struct, frozen=True):
    """What a generation takes.

    Attributes:
        keys: Of Redis.
        redis_bytes: Of Redis.
        store_bytes: Of the store's disks, on the node that was asked; None where it cannot say.
    """

    keys: int
    redis_bytes: int
    store_bytes: int | None


async def keys_of(on: Engines, unit: str) -> AsyncIterator[list[bytes]]:
    """Yields the keys of a unit's generation, positions among them; some may come twice."""
    names = _names(on, unit)
    async for keys in on.bus.scan(f"{on.generation(unit)}:*"):
        yield [key for key in keys if key.split(b":", 2)[1] in names]


def _names(on: Engines, unit: str) -> set[bytes]:
    """Returns what the keys of a unit are called after their generation."""
    scope = on.settings.topic_prefix
    names: set[bytes] = set()
    for name, make in compose.UNITS.items():
        if state_of(name) == unit:
            names |= {kind.encode() for kind in make(on).kinds}
            names |= {f"{scope}{name}".encode(), f"{{{scope}{name}-tiers}}".encode()}
    return names


async def space(on: Engines, unit: str) -> Space:
    """Returns what a unit's generation takes.

    Raises:
        RetryableError: an engine is away.
    """
    one = (unit, on.generation(unit))
    return (await spaces(on, [one]))[one]


async def spaces(on: Engines, wanted: Iterable[Owner]) -> dict[Owner, Space]:
    """Returns what generations take, by unit and generation; Redis is scanned once for all.

    Raises:
        RetryableError: an engine is away.
    """
    weights = {one: _Weight() for one in wanted}
    named = {unit: _names(on, unit) for unit in {unit for unit, _ in weights}}
    owners = {
        (generation.encode(), name): (unit, generation)
        for unit, generation in weights
        for name in named[unit]
    }
    # Character by character is what is wanted: a pattern of Redis that all of them match.
    beginning = commonprefix([generation for _, generation in weights])  # noqa: RUF071
    looked = 0
    share = 1.0
    async for keys in on.bus.scan(f"{beginning}*:*"):
        looked += len(keys)
        by_owner: dict[Owner, list[bytes]] = {}
        for key in keys:
            generation, _, rest = key.partition(b":")
            owner = owners.get((generation, rest.partition(b":")[0]))
            if owner is not None:
                by_owner.setdefault(owner, []).append(key)
        for owner, found in by_owner.items():
            await weights[owner].add(on, found)
        if looked >= KEYS_MAX:
            total = sum(int(size) for size in await on.bus.ask_each("DBSIZE"))
            share = max(1.0, total / looked)
            break
    disk = await _on_disk(on)
    return {one: _space(on, one, weight, share, disk) for one, weight in weights.items()}


class _Weight:
    """Keys of one generation that were seen, and what a sample of them weighs."""

    def __init__(self) -> None:
        self.keys = 0
        self.weighed = 0
        self.bytes = 0

    async def add(self, on: Engines, found: Sequence[bytes]) -> None:
        self.keys += len(found)
        sample = found[: min(WEIGHED_EACH, WEIGHED_MAX - self.weighed)]
        replies = await on.bus.calls_strict([("MEMORY", "USAGE", key) for key in sample])
        self.bytes += sum(int(reply) for reply in replies if reply is not None)
        self.weighed += sum(reply is not None for reply in replies)


def _space(
    on: Engines, one: Owner, weight: _Weight, share: float, disk: Mapping[str, int] | None
) -> Space:
    unit, generation = one
    keys = int(weight.keys * share)
    size = keys * weight.bytes // max(1, weight.weighed)
    if disk is None:
        return Space(keys, size, None)
    tables = (f"{name}_{generation}" for name in compose.UNITS[unit](on).tables)
    return Space(keys, size, sum(disk.get(table, 0) for table in tables))


async def _on_disk(on: Engines) -> dict[str, int] | None:
    """Returns the bytes of every table of the keyspace; None where the store cannot say."""
    statements = Statements(on.session, on.settings.keyspace)
    try:
        rows = await statements.run(_DISK)
    except (StoreUnavailable, InvalidRequest):
        return None
    return {
        row["table_name"]: int(row["mebibytes"]) << 20
        for row in rows
        if row["keyspace_name"] == on.settings.keyspace
    }


async def shortage(on: Engines, needed: Space) -> str | None:
    """Returns why there is no room for as much again, None when there is as far as can be told."""
    for number, reply in enumerate(await on.bus.ask_each("INFO", "memory"), start=1):
        facts = _facts(reply)
        used, most = int(facts["used_memory"]), int(facts["maxmemory"])
        share = needed.redis_bytes // max(1, len(await on.bus.nodes()))
        if most and used + share > REDIS_SHARE_MAX * most:
            return (
                f"Redis (primary {number}) uses {used >> 20} of {most >> 20} MiB and would need "
                f"{share >> 20} MiB more; give it more memory, or drop a generation"
            )
    if addresses_in(on.settings.data_dir) and needed.store_bytes is not None:
        free = shutil.disk_usage(on.settings.data_dir).free
        wanted = max(DISK_BYTES_MIN, DISK_FACTOR * needed.store_bytes)
        if free < wanted:
            return (
                f"the disk of {on.settings.data_dir} has {free >> 20} MiB left, and "
                f"{wanted >> 20} MiB are needed; free some, or drop a generation"
            )
    return None


def _facts(info: object) -> dict[str, str]:
    if not isinstance(info, bytes):
        raise RetryableError(f"Redis answered INFO with {info!r}")
    lines = info.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
