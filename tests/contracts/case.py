"""What a unit brings along to be held to the contract: one ``UnitCase`` per unit.

To add a unit: write a subclass, and name it in ``CASES`` of ``test_units.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import Any, ClassVar

from projections.base import Unit
from projections.bus import RedisBus
from projections.keys import Keys
from projections.store import Store
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord

BUCKETS = 16


class World:
    """One generation, on the real engines or in memory.

    Args:
        bus: The Redis cluster.
        store: The generation's tables.
    """

    def __init__(self, bus: RedisBus, store: Store) -> None:
        self.bus = bus
        self.store = store

    def keys(self, unit: str) -> Keys:
        """Returns the names of a unit's keys in this generation."""
        return Keys(self.store.generation, unit, BUCKETS)

    def with_store(self, store: Store) -> World:
        """Returns the same generation seen through another store."""
        return World(self.bus, store)


class UnitCase(ABC):
    """One unit under the contract."""

    name: ClassVar[str]
    """The unit's name."""

    @abstractmethod
    def unit(self, world: World) -> Unit:
        """Returns a new instance of the unit's writing side, as another worker would have."""

    @abstractmethod
    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        """Appends a history to the log: mixed, with repeated events and what must change nothing.

        All ids of tweets and users lie in ``[base, base + 2**20)``, so that no other test knows
        them.
        """

    @abstractmethod
    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        """Returns, as plain data, all that readers can see of what the history is about."""

    @abstractmethod
    def expected(self, history: list[LogRecord]) -> Any:
        """Returns what :meth:`seen` must be once the whole history is applied."""

    @abstractmethod
    async def size(self, world: World, history: list[LogRecord]) -> int:
        """Returns how many rows the unit keeps about the history."""

    @abstractmethod
    def size_max(self, history: list[LogRecord]) -> int:
        """Returns the most rows that it may keep, by what the history is about."""
