"""The oracle's sentence for redrives: a log in which each record is what was decided about it.

- Of the decisions about one record and unit the first with the highest attempt counts.
- A record that is sent back with other bytes is what these say, at its own place in its partition;
  one that is discarded says nothing; whatever is decided, the unit ignores what the record said by
  itself.
- A record that cannot be read, and about which nothing counts, says nothing.

So the whole of redriving is a substitution before anything is fed: `meant` makes the log that the
other parts of the oracle are fed with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from events.types import Event, LetterDiscarded, RedriveRequested
from tests.oracle_log import LogRecord

Decision = RedriveRequested | LetterDiscarded
Place = tuple[str, int, int]


def counting(unit: str, decisions: Iterable[Decision]) -> dict[Place, Decision]:
    """The decision that counts for a unit, by origin; decisions in the order of the log."""
    found: dict[Place, Decision] = {}
    for one in decisions:
        place = (one.topic, one.partition, one.offset)
        if one.unit == unit and (place not in found or one.attempt > found[place].attempt):
            found[place] = one
    return found


def meant(
    unit: str,
    records: Iterable[LogRecord],
    decisions: Iterable[Decision],
    decode: Callable[[bytes], Event | None],
    originals: Mapping[Place, Event],
) -> list[LogRecord]:
    """The log as a unit is to take it, each partition in order.

    Args:
        unit: The unit.
        records: What can be read of the log.
        decisions: All of them, in order.
        decode: Reads the bytes of a redrive; None for those that cannot be read.
        originals: What records say whose own bytes were sent back.
    """
    decided = counting(unit, decisions)
    times = {(one.topic, one.partition, one.offset): one.appended_at for one in records}
    found = [one for one in records if (one.topic, one.partition, one.offset) not in decided]
    for place, one in decided.items():
        if isinstance(one, RedriveRequested):
            own = one.payload is None
            event = originals.get(place) if own else decode(one.payload or b"")
            at_ms = times.get(place, 0) if own else one.occurred_at
            if event is not None:
                found.append(LogRecord(*place, event, at_ms))
    return sorted(found, key=lambda one: (one.topic, one.partition, one.offset))
