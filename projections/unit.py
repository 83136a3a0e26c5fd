"""What every unit shares: its tables, its positions, and how a worker takes it up.

A unit says its name, its topics, its tables and keys, and what one slice does to them (``apply``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from events.slices import Slice
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import Positions
from projections.store import Store


class StoredUnit(ABC):
    """Base of the writing sides; all but ``apply`` of :class:`projections.base.Unit`.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        positions: The unit's positions, where they are not moved by the ordinary script.
    """

    name: ClassVar[str]
    topics: ClassVar[frozenset[str]]
    tables: ClassVar[Mapping[str, str]]
    """Definitions by name; ``{table}`` stands for the table's name in the generation."""
    added_columns: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Columns and their types that tables got since they were first made, by table."""
    kinds: ClassVar[frozenset[str]]
    """First parts of its keys in Redis, after the generation; no two units share one."""
    layout: ClassVar[int] = 1
    """Version of tables and keys: a worker with another one must not write to a generation."""

    def __init__(
        self, bus: RedisBus, store: Store, keys: Keys, positions: Positions | None = None
    ) -> None:
        self._bus = bus
        self._store = store
        self._keys = keys
        self._positions = positions or Positions(bus, store, keys)

    async def open(self) -> None:
        """Creates the generation's tables where they are missing and loads the scripts."""
        await self._positions.open()
        for name, ddl in self.tables.items():
            await self._store.create(name, ddl)
        for name, columns in self.added_columns.items():
            await self._store.add_columns(name, columns)

    async def close(self) -> None:
        """Releases what the unit took, which is nothing by default."""
        return

    @abstractmethod
    async def apply(self, piece: Slice) -> None:
        """Applies a slice; see :meth:`projections.base.Unit.apply`."""

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        """Returns the next offset to read; see :meth:`Positions.resume`."""
        return await self._positions.resume(topic, partition, topic_id)

    async def heartbeat(self) -> None:
        """Carries positions to the buckets that had nothing to do."""
        await self._positions.heartbeat()
