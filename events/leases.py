"""Leases of Snowflake machine ids, in Cassandra or Scylla.

Keeps true: the ranges of time granted for one machine id never overlap. Each grant is one
lightweight transaction that compares the row with what was read, and the row keeps the end of the
last range for ever: whoever comes next starts above it. Neither clocks nor timeouts can break
that, only the loss of an acknowledged write at QUORUM, which is why the leases are here and not in
Redis, whose failover loses acknowledged writes.

Bounded: 1,024 rows; ``ATTEMPTS_MAX`` transactions a claim.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

from events.cassandra import Statements
from events.errors import NoMachineId
from events.snowflake import MACHINES, Lease

ATTEMPTS_MAX = 32

_CREATE = """
CREATE TABLE IF NOT EXISTS {keyspace}.snowflake_leases (
    machine int PRIMARY KEY, holder text, until_ms bigint
)"""
_ALL = "SELECT machine, holder, until_ms FROM {keyspace}.snowflake_leases"
_INSERT = """
INSERT INTO {keyspace}.snowflake_leases (machine, holder, until_ms) VALUES (?, ?, ?)
IF NOT EXISTS"""
_TAKE = """
UPDATE {keyspace}.snowflake_leases SET holder = ?, until_ms = ? WHERE machine = ?
IF holder = ? AND until_ms = ?"""
_MOVE = """
UPDATE {keyspace}.snowflake_leases SET holder = ?, until_ms = ? WHERE machine = ?
IF holder = ?"""


class CassandraLeases:
    """The ``LeaseStore`` of a keyspace.

    Args:
        statements: Where to run statements.
        machines: Machine ids to choose from; a datacenter takes its own 32.
    """

    def __init__(self, statements: Statements, machines: Sequence[int] = range(MACHINES)) -> None:
        self._statements = statements
        self._machines = machines

    async def create(self) -> None:
        """Create the table when it is missing."""
        await self._statements.create(_CREATE)

    async def claim(self, now_ms: int, lease_ms: int) -> Lease:
        """Take a machine id whose last range is over; see ``LeaseStore``."""
        rows = {int(row["machine"]): row for row in await self._statements.run(_ALL)}
        free = [m for m in self._machines if m not in rows or rows[m]["until_ms"] < now_ms]
        random.shuffle(free)  # so that processes that start together seldom meet
        holder, until_ms = str(uuid.uuid4()), now_ms + lease_ms
        for machine in free[:ATTEMPTS_MAX]:
            row = rows.get(machine)
            if row is None:
                answer = await self._statements.run(_INSERT, (machine, holder, until_ms))
            else:
                values = (holder, until_ms, machine, row["holder"], row["until_ms"])
                answer = await self._statements.run(_TAKE, values)
            if answer[0]["applied"]:
                return Lease(machine, holder, now_ms, until_ms)
        raise NoMachineId(f"none of {len(self._machines)} machine ids is free")

    async def extend(self, lease: Lease, until_ms: int) -> Lease | None:
        """Move the end of a range; see ``LeaseStore``."""
        values = (lease.holder, until_ms, lease.machine, lease.holder)
        answer = await self._statements.run(_MOVE, values)
        if not answer[0]["applied"]:
            return None
        return Lease(lease.machine, lease.holder, lease.from_ms, until_ms)

    async def release(self, lease: Lease, used_until_ms: int) -> None:
        """Give a machine id back; see ``LeaseStore``."""
        values = ("", used_until_ms, lease.machine, lease.holder)
        await self._statements.run(_MOVE, values)
