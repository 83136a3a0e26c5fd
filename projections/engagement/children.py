"""A slice of ``new-tweets``: replies, retweets and quotes of other tweets.

1. Read what is known of the tweets that the slice posts or deletes. A deletion finds here what the
   deleted tweet referred to; a post finds whether its deletion came first.
2. *Then* read the registers that this partition has of their parents, and count.
3. Write the registers, *then* the referrals and the lists of children.
4. *Then* look for what redrives said of the same children (:mod:`.redriven`).
5. Tell Redis, with the position: an entry replaces this partition's register by the new one.

Exactly-once effect: a register is a pure function of its partition's log (see :mod:`.tally`), in
the store and in each entry, whatever is repeated or late. Partitions share no register, so they
need no order between them.

Bounded by: one row a tweet that refers to others, and one a deletion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from events.slices import Record
from events.types import TweetPosted
from projections.engagement.layout import COUNTS, IDS_PER_QUERY, KINDS, TTL_MS, Family
from projections.engagement.redriven import Redriven
from projections.engagement.tally import (
    UNKNOWN,
    Change,
    Child,
    Referral,
    advance,
    child_of,
    parents_of,
    replay,
    retally,
)
from projections.keys import Keys
from projections.positions import Effect
from projections.store import Store
from projections.versions import first, latest

_REFERRALS = (
    "SELECT tweet_id, author_id, reply_to_id, retweet_of_id, quote_of_id, deleted "
    "FROM {referrals} WHERE tweet_id IN ?"
)
_REGISTERS = (
    "SELECT tweet_id, position, replies, retweets, quotes FROM {tallies} "
    "WHERE tweet_id IN ? AND source = ?"
)
_REGISTER = (
    "UPDATE {tallies} USING TIMESTAMP ? SET position = ?, replies = ?, retweets = ?, quotes = ? "
    "WHERE tweet_id = ? AND source = ?"
)
_POSTED = (
    "UPDATE {referrals} USING TIMESTAMP ? SET reply_to_id = ?, retweet_of_id = ?, quote_of_id = ? "
    "WHERE tweet_id = ? AND author_id = ?"
)
_DELETED = (
    "UPDATE {referrals} USING TIMESTAMP ? SET deleted = true WHERE tweet_id = ? AND author_id = ?"
)
_CHILD = (
    "INSERT INTO {children} (parent_id, kind, tweet_id, author_id) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_CHILD_DELETED = (
    "UPDATE {children} USING TIMESTAMP ? SET deleted = true "
    "WHERE parent_id = ? AND kind = ? AND tweet_id = ? AND author_id = ?"
)

Write = tuple[str, Sequence[Any]]


class Referrals:
    """Applies records of ``new-tweets`` but for the position, which the unit moves."""

    def __init__(self, store: Store, keys: Keys, redriven: Redriven) -> None:
        self._store = store
        self._keys = keys
        self._redriven = redriven

    async def apply(self, source: str, records: Sequence[Record]) -> list[tuple[int, Effect]]:
        """Makes records durable; returns what Redis is to be told with the position.

        Raises:
            RetryableError: the store is away; apply the whole slice again.
        """
        about = [record for record in records if child_of(record) is not None]
        known = await self._known(about)  # 1
        changes = replay(known, about)
        registers = retally(await self._registers(source, changes), changes)  # 2
        await self._store.write(register_rows(source, registers))  # 3
        await self._store.write(list(child_rows(known, about)))
        late = await self._redriven.late(source, about) if about else ()  # 4
        return [*self._effects(registers), *self._redriven.forgotten(late)]  # 5

    async def _known(self, records: Sequence[Record]) -> dict[Child, Referral]:
        ids = list(dict.fromkeys(record.event.tweet_id for record in records))  # type: ignore[attr-defined]
        rows = await self._store.execute_in(_REFERRALS, ids, per_query=IDS_PER_QUERY)
        return {
            (tweet_id, author): Referral(
                None if reply_to is None else (reply_to, original, quoted), bool(deleted)
            )
            for tweet_id, author, reply_to, original, quoted, deleted in rows
        }

    async def _registers(self, source: str, changes: Sequence[Change]) -> dict[int, Family]:
        parents = list({change.parent_id for change in changes})
        rows = await self._store.execute_in(_REGISTERS, parents, source, per_query=IDS_PER_QUERY)
        return {
            tweet_id: Family(position, (replies, retweets, quotes))
            for tweet_id, position, replies, retweets, quotes in rows
        }

    def _effects(self, registers: dict[int, Family]) -> Iterator[tuple[int, Effect]]:
        for parent, now in registers.items():
            operation = ("C", now.position, *now.counts, TTL_MS)
            yield self._keys.bucket(parent), ((self._keys.of(COUNTS, parent),), operation)


def register_rows(source: str, registers: dict[int, Family]) -> list[Write]:
    """Returns the rows of registers of one source partition, by parent."""
    return [
        (_REGISTER, (now.position, now.position, *now.counts, parent, source))
        for parent, now in registers.items()
    ]


def child_rows(known: dict[Child, Referral], records: Sequence[Record]) -> Iterator[Write]:
    """Yields the facts of each record, and the rows of its parents' lists."""
    state = dict(known)
    for record in records:
        child = child_of(record)
        if child is None:
            continue
        before = state.get(child, UNKNOWN)
        now = state[child] = advance(before, record)
        if isinstance(record.event, TweetPosted):
            at = first(record.offset)
            yield _POSTED, (at, *parents_of(record.event), *child)
        else:
            yield _DELETED, (latest(record.offset), *child)
        for kind, parent in zip(KINDS, now.parents or (), strict=False):
            if not parent:
                continue
            if isinstance(record.event, TweetPosted):
                yield _CHILD, (parent, kind, *child, first(record.offset))
            if now.deleted:
                yield _CHILD_DELETED, (latest(record.offset), parent, kind, *child)
