"""Stand-ins for the engines that the event library talks to."""

from __future__ import annotations

import uuid

import msgspec

from events.codec import Codec
from events.errors import NoMachineId, RegistryUnavailable, StoreUnavailable
from events.idempotency import StoredAppend
from events.position import Position
from events.snowflake import Lease
from events.types import EVENT_TYPES
from schemas import catalog
from schemas.catalog import AvroSchema


class MemorySchemas:
    """A schema source over a table; counts what it was asked."""

    def __init__(self) -> None:
        self.table: dict[int, AvroSchema] = {}
        self.asked: list[int] = []
        self.away = False

    async def schema_of(self, schema_id: int) -> AvroSchema | None:
        self.asked.append(schema_id)
        if self.away:
            raise RegistryUnavailable("away")
        return self.table.get(schema_id)


def local_codec(source: MemorySchemas | None = None) -> Codec:
    """A codec whose ids count the event names from 1."""
    schemas = source or MemorySchemas()
    ids = {name: number for number, name in enumerate(EVENT_TYPES, start=1)}
    for name, number in ids.items():
        schemas.table[number] = catalog.schemas()[name][-1].schema
    return Codec(ids, schemas)


class MemoryLeases:
    """A lease store in memory: holder and end of the last range by machine id."""

    def __init__(self, machines: int = 2) -> None:
        self._machines = machines
        self.rows: dict[int, tuple[str, int]] = {}
        self.away = False

    async def claim(self, now_ms: int, lease_ms: int) -> Lease:
        self._ask()
        for machine in range(self._machines):
            if machine not in self.rows or self.rows[machine][1] < now_ms:
                holder = str(uuid.uuid4())
                self.rows[machine] = holder, now_ms + lease_ms
                return Lease(machine, holder, now_ms, now_ms + lease_ms)
        raise NoMachineId("none is free")

    async def extend(self, lease: Lease, until_ms: int) -> Lease | None:
        self._ask()
        if self.rows[lease.machine][0] != lease.holder:
            return None
        self.rows[lease.machine] = lease.holder, until_ms
        return Lease(lease.machine, lease.holder, lease.from_ms, until_ms)

    async def release(self, lease: Lease, used_until_ms: int) -> None:
        self._ask()
        if self.rows[lease.machine][0] == lease.holder:
            self.rows[lease.machine] = "", used_until_ms

    def _ask(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class MemoryIdempotency:
    """An idempotency store in memory; ``away`` makes it fail, ``deaf`` makes ``settle`` fail."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredAppend] = {}
        self.away = False
        self.deaf = False

    async def put(self, key: str, append: StoredAppend) -> StoredAppend | None:
        if self.away:
            raise StoreUnavailable("away")
        if key in self.rows:
            return self.rows[key]
        self.rows[key] = append
        return None

    async def get(self, key: str) -> StoredAppend | None:
        if self.away:
            raise StoreUnavailable("away")
        return self.rows.get(key)

    async def settle(self, key: str, append: StoredAppend, position: Position) -> Position:
        if self.away or self.deaf:
            raise StoreUnavailable("away")
        held = self.rows[key]
        if held.position is None:
            self.rows[key] = msgspec.structs.replace(held, position=position)
        return self.rows[key].position or position
