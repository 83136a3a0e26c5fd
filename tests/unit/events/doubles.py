"""Stand-ins for the engines that the event library talks to."""

from __future__ import annotations

from events.codec import Codec
from events.errors import RegistryUnavailable
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
