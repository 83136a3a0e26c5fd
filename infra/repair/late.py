"""What redrives say of one tweet's counts: facts of their own, beside what is counted in order.

The rows are those of :mod:`projections.engagement.redriven`, from the same functions. Views are a
register of each partition of ``redrive``; likes are upserts at the offsets of their origins; what
is listed of a child follows from all that its posts and deletions said, in order or late.

Bounded by: the records of one tweet and its children that were sent back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from events.slices import LogRecord
from events.types import TweetPosted, TweetViewed
from infra.repair.log import KeyLog
from infra.repair.targets import Fact, sliced
from projections.engagement import redriven
from projections.engagement.tally import UNKNOWN, Child, advance, child_of, parents_of
from projections.versions import first
from streams.decisions import REDRIVE


def late_facts(log: KeyLog, records: Sequence[LogRecord], tweet_id: int) -> Iterator[Fact]:
    """Yields what the records that were sent back come to.

    Args:
        log: Knows which those are.
        records: What the log says of the tweet and its children, in order and late.
        tweet_id: The tweet.
    """
    engaged = [r for r in records if r.topic == "engagements" and log.sent_back(r)]
    yield from _views(log, engaged, tweet_id)
    for record in engaged:
        for write in redriven.engaged_rows(sliced(record)):
            yield [record], write
    by_child: dict[Child, list[LogRecord]] = {}
    for record in records:
        child = child_of(sliced(record)) if record.topic == "new-tweets" else None
        if child is not None:
            by_child.setdefault(child, []).append(record)
    for child, about in by_child.items():
        if any(log.sent_back(record) for record in about):
            yield from _child(log, child, about)


def _views(log: KeyLog, engaged: Sequence[LogRecord], tweet_id: int) -> Iterator[Fact]:
    requests = sorted(
        (*at, record)
        for record in engaged
        if isinstance(record.event, TweetViewed) and (at := log.sent_back(record))
    )
    views: dict[int, int] = {}
    for partition, offset, record in requests:
        views[partition] = views.get(partition, 0) + 1
        # Its place is that of the request: a register is fenced by positions in `redrive`.
        request = LogRecord(REDRIVE, partition, offset, record.event)
        source = f"{REDRIVE}/{partition}"
        yield [request], redriven.views_row(tweet_id, source, offset + 1, views[partition])


def _child(log: KeyLog, child: Child, about: Sequence[LogRecord]) -> Iterator[Fact]:
    known, at = UNKNOWN, None
    late: tuple[Any, int] | None = None
    is_late_deleted = False
    for record in about:
        event = record.event
        if not log.sent_back(record):
            if isinstance(event, TweetPosted) and known.parents is None:
                at = first(record.offset)
            known = advance(known, sliced(record))
            continue
        origin = f"{record.topic}/{record.partition}"
        for write in redriven.referred_rows(sliced(record), child, origin):
            yield [record], write
        if not isinstance(event, TweetPosted):
            is_late_deleted = True
        elif late is None:  # of two posts the lower offset counts, and comes first here
            late = parents_of(event), first(record.offset)
    parents, late_at = late or ((None,) * 3, None)
    row = (*child, *(known.parents or (None,) * 3), at, known.deleted)
    one = redriven.referred((*row, *parents, late_at, is_late_deleted))
    for write in redriven.parent_rows(one):
        yield about, write
