"""A Redis that is looked at and not touched: what a comparison reads through.

Readers fill what they find missing, and fan-out then keeps what they filled for a month. Whoever
compares every key of a generation would fill its Redis with what nobody asked for, and evict what
people did. This bus answers as a cluster in which somebody else is about to fill everything that is
missing: what is cached is read as any reader reads it, what is not is read from the store, and
nothing is written. So a comparison costs Redis no memory, whatever it reads.

Keeps true: no command but those of ``READS`` reaches the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

from projections.bus import Command, RedisBus, Reply
from projections.functions import EFFECTS

READS = frozenset({"GET", "MGET", "GETRANGE", "HGET", "HGETALL", "STRLEN", "EXISTS", "FCALL_RO"})

_LEASE = EFFECTS.name("murmur_lease")
_HELD = 0
"""What the script says of a lease that is another's: read the store, and fill nothing."""


class QuietBus(RedisBus):
    """Reads of a cluster; see the module.

    Args:
        inner: The cluster.
    """

    def __init__(self, inner: RedisBus) -> None:  # the connections are the inner one's
        self._inner = inner

    def use_library(self, source: str) -> None:
        """Adds a library, of which only what writes nothing is run."""
        self._inner.use_library(source)

    def by_owner(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """Returns keys by node; see :meth:`RedisBus.by_owner`."""
        return self._inner.by_owner(keys)

    async def call(self, *command: object) -> Reply:
        """Runs or answers one command."""
        return (await self.calls_strict([command]))[0]  # type: ignore[list-item]

    async def calls_strict(self, commands: Sequence[Command]) -> list[Reply]:
        """Runs the reads and answers the rest, in one round trip.

        Raises:
            RetryableError: the cluster is away.
        """
        reads = [command for command in commands if command[0] in READS]
        replies = iter(await self._inner.calls_strict(reads))
        return [next(replies) if c[0] in READS else _untouched(c) for c in commands]

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        """As :meth:`calls_strict`: what is read here is refused by no cluster."""
        return await self.calls_strict(commands)


class EmptyBus(QuietBus):
    """As a cluster that holds nothing: everything is read from the store."""

    async def calls_strict(self, commands: Sequence[Command]) -> list[Reply]:
        """Answers every command."""
        return [_nothing(c) if c[0] in READS else _untouched(c) for c in commands]


def _nothing(command: Command) -> Reply:
    return [None] * (len(command) - 1) if command[0] == "MGET" else None


def _untouched(command: Command) -> Reply:
    if command[0] == "FCALL":
        return [_HELD] * int(command[2]) if command[1] == _LEASE else _HELD
    if command[0] == "SET":  # only where nothing is there yet: a mark, a version
        return None
    if command[0] == "DEL":
        return 0
    raise AssertionError(f"a comparison does not need {command[0]!s}")
