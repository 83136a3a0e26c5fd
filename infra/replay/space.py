"""The space that a generation takes, and whether there is room for another one.

Redis is asked key by key, a sample of them weighed; the store is asked for what its tables take on
disk, where it can say (Cassandra's virtual table; ScyllaDB has none). Room on the store's disks is
known of the local stack only.

Bounded by: ``KEYS_MAX`` keys looked at and ``WEIGHED_MAX`` weighed; what is over is extrapolated.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

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
    generation = on.generation(unit)
    scope = on.settings.topic_prefix
    names: set[bytes] = set()
    for name, make in compose.UNITS.items():
        if state_of(name) == unit:
            names |= {kind.encode() for kind in make(on).kinds}
            names |= {f"{scope}{name}".encode(), f"{{{scope}{name}-tiers}}".encode()}
    async for keys in on.bus.scan(f"{generation}:*"):
        yield [key for key in keys if key.split(b":", 2)[1] in names]


async def space(on: Engines, unit: str) -> Space:
    """Returns what a unit's generation takes.

    Raises:
        RetryableError: an engine is away.
    """
    keys = weighed = weight = 0
    async for found in keys_of(on, unit):
        keys += len(found)
        sample = found[: min(WEIGHED_EACH, WEIGHED_MAX - weighed)]
        replies = await on.bus.calls_strict([("MEMORY", "USAGE", key) for key in sample])
        weight += sum(int(reply) for reply in replies if reply is not None)
        weighed += sum(reply is not None for reply in replies)
        if keys >= KEYS_MAX:
            total = sum(int(size) for size in await on.bus.ask_each("DBSIZE"))
            keys = max(keys, total)
            break
    return Space(keys, keys * weight // max(1, weighed), await _on_disk(on, unit))


async def _on_disk(on: Engines, unit: str) -> int | None:
    statements = Statements(on.session, on.settings.keyspace)
    try:
        rows = await statements.run(_DISK)
    except (StoreUnavailable, InvalidRequest):
        return None
    tables = {f"{name}_{on.generation(unit)}" for name in compose.UNITS[unit](on).tables}
    return sum(
        int(row["mebibytes"]) << 20
        for row in rows
        if row["keyspace_name"] == on.settings.keyspace and row["table_name"] in tables
    )


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
