"""Who used one term, as trends are counted from: the uses that are kept, and where they are listed.

Anybody may use a term, so all of ``new-tweets`` is read, from when the oldest use that counts was
appended. What trended follows from the uses (:mod:`infra.repair.history`).

Rows of ``trend_slots`` say where to look; one too many is left, for its deletion would hide the
same row of a tweet that is still to come.

Bounded by: the uses of one term in ``KEPT_MS``; the slots of that time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from events.slices import LogRecord, Record
from events.types import Event, TweetPosted
from infra.demo.convergence import Offsets
from infra.repair.cells import Row, Stored
from infra.repair.log import KeyLog
from infra.repair.rows import Part
from infra.repair.targets import Facts, Keyed
from projections.text.folding import fold
from projections.trends.layout import DAY_MS, OWN_SECONDS, USES_SECONDS, Shape, shard_of
from projections.trends.terms import said, term_of
from projections.trends.unit import slot_row, use_rows

MARGIN_S = 3600
"""A use that is about to expire may have done so where it was written early."""

KEPT_MS = (USES_SECONDS - MARGIN_S) * 1000
OWN_MS = (OWN_SECONDS - MARGIN_S) * 1000


_LEFT = "INSERT INTO {trend_slots} (scope, day, slot) VALUES (?, ?, ?)"
"""As a row stands that is left, wherever it is."""


class Uses(Keyed):
    """See the module.

    Args:
        term: A hashtag or phrase, as somebody types it.
        scope: Of the unit's rows.
        shape: How time is cut.
        now_ms: The time; what was used in the ``KEPT_MS`` before is looked at.
    """

    unit = "trends"
    topics = ("new-tweets",)

    def __init__(self, term: str, scope: str, shape: Shape, now_ms: int | None = None) -> None:
        self.term = term_of(term)
        super().__init__(self.term)
        self.words = f"trends {self.term}"
        self._scope = scope
        self._shape = shape
        self._now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self.first_slot = shape.slot(self._now_ms - KEPT_MS) + 1
        self._parts_of_term = self.term.removeprefix("#").split()
        self._log: KeyLog | None = None

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        self._log = log
        begin = self.first_slot * self._shape.slot_ms - self._shape.ahead_ms
        start = await log.since(self.topics, begin)
        return await log.read(log.every("new-tweets"), ends, self.speaks, start)

    def places(self, log: KeyLog) -> set[tuple[str, int]]:
        """See :class:`Keyed`."""
        return log.every("new-tweets")

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        if not isinstance(event, TweetPosted) or event.retweet_of_id is not None:
            return False
        if self._shape.slot(event.created_at) < self.first_slot:
            return False
        folded = fold(event.text)
        if not all(word in folded for word in self._parts_of_term):
            return False
        return any(term.text == self.term for term in said(event.text, event.lang).terms)

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`infra.repair.targets.Target`."""
        assert self._log is not None  # who read the records
        own_from = self._shape.slot(self._now_ms - OWN_MS) + 1
        for record in records:
            event = record.event
            assert isinstance(event, TweetPosted)
            # Of a body that an operator sent nobody kept when its place was appended.
            is_sure = record.appended_at != 0 or self._log.sent_back(record) is None
            if is_sure and not self._shape.in_time(event.created_at, record.appended_at):
                continue
            slot = self._shape.slot(event.created_at)
            one = Record(record.offset, record.appended_at, event)
            for write in use_rows(one, self._scope, self._shape):
                is_kept = "{trend_uses}" in write[0] or slot >= own_from
                yield [record] if is_sure and is_kept else [], write
            yield [record] if is_sure else [], slot_row(self._scope, slot, self._shape)
        for table, key in stored:
            if table == "trend_slots":
                yield [], (_LEFT, key)

    def owns(self, row: Row) -> bool:
        """See :class:`infra.repair.targets.Target`: of what a tweet uses this one term."""
        table, key = row
        if table == "trend_slots":
            return True
        term, slot = (key[3], key[1]) if table == "trend_uses" else (key[2], key[1])
        return bool(term == self.term and slot >= self.first_slot)

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`infra.repair.targets.Target`."""
        first, last = (at // DAY_MS for at in (self._now_ms - KEPT_MS, self._now_ms + DAY_MS))
        days = (
            Part("trend_slots", (("scope", self._scope), ("day", day)))
            for day in range(first, last + 1)
        )
        return [*days, *self._parts(rows)]

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`infra.repair.targets.Target`: every slot, and all whom it names."""
        return self._parts(stored)

    def _parts(self, rows: Iterable[Row]) -> list[Part]:
        slots: dict[int, None] = {}
        authors: dict[int, None] = {}
        for table, key in rows:
            if table == "trend_uses_of":
                authors[key[0]] = None
            elif table == "trend_uses":
                slots[key[1]] = authors[key[4]] = None
            else:
                slots[key[2]] = None
        shard = shard_of(self.term)
        return [
            *(
                Part(
                    "trend_uses",
                    (("scope", self._scope), ("slot", slot), ("shard", shard), ("term", self.term)),
                )
                for slot in slots
                if slot >= self.first_slot
            ),
            *(Part("trend_uses_of", (("author_id", author),)) for author in authors),
        ]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`infra.repair.targets.Target`; uses are not cached, and trends by place."""
        return []
