"""What was sent: a row per notification, so that none is sent twice, whoever comes to it again.

Keeps true:
- Of two who come to one notification one *claims* it, by a lightweight transaction, before anything
  is sent. Nobody else sends it.
- Who claimed and died before he *ended* it leaves a row that says so. After ``RETAKE_SECONDS``
  another takes it over, so what was under way at a crash may be sent twice. It is never lost if
  whoever is told that it is under way asks again, and holds his position until it has ended.
- Not more than ``limit`` pushes an hour to one user are counted as sent; two routers that push to
  one user in the same moment may exceed it by one each.
- The position in the log is written when everything below it has ended. What began to trend has
  one as well: the end of a window, in ms.

These tables belong to no generation: what was sent stays sent, whatever is rebuilt. Bounded by:
``KEPT_SECONDS`` for each row; nothing that is older than ``infra.router.route.AGE_MAX_MS`` is sent.
"""

from __future__ import annotations

import enum

from events.cassandra import Statements

RETAKE_SECONDS = 60
KEPT_SECONDS = 40 * 86_400
TAKEN_OVER_MAX = 10
"""Pushes of one hour to one user that are looked at beyond the limit: those that were taken over
stand twice."""

HOUR_MS = 3_600_000
_SECOND_MS = 1000

_CREATE = (
    """
CREATE TABLE IF NOT EXISTS {keyspace}.router_ledger (
    scope text, user_id bigint, notice text, state text, at_ms bigint,
    PRIMARY KEY ((scope, user_id), notice))""",
    """
CREATE TABLE IF NOT EXISTS {keyspace}.router_pushes (
    scope text, user_id bigint, at_ms bigint, notice text,
    PRIMARY KEY ((scope, user_id), at_ms, notice))""",
    """
CREATE TABLE IF NOT EXISTS {keyspace}.router_positions (
    scope text, topic text, partition int, next_offset bigint,
    PRIMARY KEY (scope, topic, partition))""",
)
_CLAIM = (
    "INSERT INTO {keyspace}.router_ledger (scope, user_id, notice, state, at_ms) "
    "VALUES (?, ?, ?, 'begun', ?) IF NOT EXISTS USING TTL ?"
)
_READ = (
    "SELECT state, at_ms FROM {keyspace}.router_ledger "
    "WHERE scope = ? AND user_id = ? AND notice = ?"
)
_RETAKE = (
    "UPDATE {keyspace}.router_ledger USING TTL ? SET state = 'begun', at_ms = ? "
    "WHERE scope = ? AND user_id = ? AND notice = ? IF state = 'begun' AND at_ms = ?"
)
_END = (
    "UPDATE {keyspace}.router_ledger USING TTL ? SET state = ? "
    "WHERE scope = ? AND user_id = ? AND notice = ? IF state = 'begun' AND at_ms = ?"
)
_PUSHED = (
    "INSERT INTO {keyspace}.router_pushes (scope, user_id, at_ms, notice) VALUES (?, ?, ?, ?) "
    "USING TTL ?"
)
_PUSHES = (
    "SELECT notice FROM {keyspace}.router_pushes "
    "WHERE scope = ? AND user_id = ? AND at_ms > ? LIMIT ?"
)
_POSITION = (
    "INSERT INTO {keyspace}.router_positions (scope, topic, partition, next_offset) "
    "VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
)
_POSITIONS = "SELECT topic, partition, next_offset FROM {keyspace}.router_positions WHERE scope = ?"


class Claim(enum.Enum):
    """What became of a claim."""

    OURS = "ours"
    """It is ours to send."""
    UNDER_WAY = "under way"
    """Another sends it, or died while he did: ask again."""
    ENDED = "ended"
    """It was sent, or decided that it is not."""


class Ledger:
    """What was sent, and how far the log was read.

    Args:
        statements: Run lightweight transactions.
        scope: Of the log; what another one's users were sent is none of this one's business.
    """

    def __init__(self, statements: Statements, scope: str) -> None:
        self._statements = statements
        self._scope = scope

    async def create(self) -> None:
        """Creates the tables where they are missing."""
        for cql in _CREATE:
            await self._statements.create(cql)

    async def claim(self, user_id: int, notice: str, now_ms: int) -> Claim:
        """Says whether the caller is the one to send this; nobody else is then.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        key = (self._scope, user_id, notice)
        said = await self._statements.run(_CLAIM, (*key, now_ms, KEPT_SECONDS))
        if said[0]["applied"]:
            return Claim.OURS
        rows = await self._statements.run(_READ, key, serial=True)
        if not rows or rows[0]["state"] != "begun":
            return Claim.ENDED
        at_ms = rows[0]["at_ms"]
        if now_ms - at_ms < RETAKE_SECONDS * _SECOND_MS:
            return Claim.UNDER_WAY
        said = await self._statements.run(_RETAKE, (KEPT_SECONDS, now_ms, *key, at_ms))
        return Claim.OURS if said[0]["applied"] else Claim.UNDER_WAY

    async def end(self, user_id: int, notice: str, claimed_ms: int, state: str) -> None:
        """Says what became of what was claimed."""
        values = (KEPT_SECONDS, state, self._scope, user_id, notice, claimed_ms)
        await self._statements.run(_END, values)

    async def pushed(self, user_id: int, notice: str, now_ms: int) -> None:
        """Counts a push."""
        values = (self._scope, user_id, now_ms, notice, 2 * HOUR_MS // _SECOND_MS)
        await self._statements.run(_PUSHED, values)

    async def pushes(self, user_id: int, notice: str, now_ms: int, limit: int) -> int:
        """Returns how many other pushes a user got in the last hour, ``limit`` at most.

        Those of this notice were its own, by a router that died: it is counted once.
        """
        values = (self._scope, user_id, now_ms - HOUR_MS, limit + TAKEN_OVER_MAX)
        rows = await self._statements.run(_PUSHES, values)
        return min(limit, len({row["notice"] for row in rows} - {notice}))

    async def positions(self) -> dict[tuple[str, int], int]:
        """Returns the next offset by topic and partition; empty before the first run."""
        rows = await self._statements.run(_POSITIONS, (self._scope,))
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def reached(self, positions: dict[tuple[str, int], int]) -> None:
        """Says that everything below was dealt with."""
        for (topic, partition), offset in positions.items():
            values = (self._scope, topic, partition, offset, offset + 1)
            await self._statements.run(_POSITION, values)
