"""The operators' side of dead letters: who decides what, and the log as it is then meant.

Keeps true: about one record every unit is told the same, in the same order of attempts (its
*course*), for the oracle has one answer for all of them. A unit that is behind gets its part of the
course when its letter is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from events.letters import Book, Letter
from events.types import (
    Event,
    LetterDiscarded,
    RedriveRequested,
    TweetPosted,
    UserRegistered,
)
from projections.accounts.unit import Accounts
from projections.collections.unit import Collections
from projections.engagement.unit import Engagement
from projections.notifications.unit import Notifications
from projections.search.unit import Search
from projections.timelines.unit import Timelines
from projections.trends.unit import Trends
from projections.tweets.unit import Tweets
from streams.decisions import REDRIVE
from tests.model.log import MemoryLog, Place
from tests.oracle import LogRecord
from tests.oracle_redrive import meant

Way = Literal["as it is", "mended", "edited", "without"]
"""Sent back with its own bytes, with what was meant, with other words; or done without."""

WAYS: tuple[Way, ...] = ("mended", "edited", "without", "as it is")
_LAST: frozenset[Way] = frozenset({"mended", "edited"})
"""What comes through, so that nothing is left to decide."""

UNIT_OF = {
    "users": "accounts",
    "usernames": "accounts",
    "new-tweets": "tweets",
    "social-graph": "timelines",
    "user-activity": "timelines",
    "engagements": "engagement",
    "lists": "collections",
    "bookmarks": "collections",
}
"""Of each topic a unit that reads it."""

READERS = {
    topic: {
        unit.name
        for unit in (
            *(Accounts, Tweets, Timelines, Engagement, Collections, Search),
            *(Notifications, Trends),
        )
        if topic in unit.topics
    }
    for topic in UNIT_OF
}
"""Of each topic the units that put what they cannot read of it into dead letters, each its own."""

Say = Callable[..., int]


class Desk:
    """Reads letters and decides.

    Args:
        log: The broker.
        say: Appends an event.
    """

    def __init__(self, log: MemoryLog, say: Say) -> None:
        self._log = log
        self._say = say
        self._book = Book()
        self._buried = self._ruled = 0
        self._courses: dict[Place, list[Way]] = {}
        self._told: dict[Place, set[str]] = defaultdict(set)

    async def decide(self, pick: int, way: Way, *, twice: bool) -> None:
        """Decides about a letter that waits; by another operator at once as well, in another way.

        Args:
            pick: Which, among those that wait.
            way: What is to become of it, unless another unit was told already.
            twice: Whether somebody else decides the same moment.
        """
        waiting = await self._waiting()
        if not waiting:
            return
        letter = waiting[pick % len(waiting)]
        course = self._courses.setdefault(_place(letter), [])
        if letter.next_attempt > len(course):
            course.append(way)
        self._tell(letter, course[letter.next_attempt - 1])
        if twice:
            self._tell(letter, WAYS[(WAYS.index(way) + 1) % len(WAYS)])

    async def clear(self) -> bool:
        """Tells every unit what others were told by now; returns whether anybody had to be."""
        behind = [
            letter
            for letter in await self._waiting()
            if letter.next_attempt <= len(self._courses.get(_place(letter), ()))
        ]
        for letter in behind:
            self._tell(letter, self._courses[_place(letter)][letter.next_attempt - 1])
        return bool(behind)

    async def _waiting(self) -> list[Letter]:
        """Returns the letters about which something can be decided, by origin."""
        await self._refresh()
        return sorted((one for one in self._book if self._waits(one)), key=lambda letter: letter.id)

    def _waits(self, letter: Letter) -> bool:
        # How far a unit has come decides between redriven and applied, which nobody waits for.
        if letter.state({}) not in ("open", "discarded"):
            return False
        course = self._courses.get(_place(letter), ())
        return letter.next_attempt <= len(course) or not _LAST.intersection(course)

    async def _refresh(self) -> None:
        log = self._log
        for raw in log.letters[self._buried :]:
            self._book.bury(0, raw)
        self._buried = len(log.letters)
        for partition, (_, end) in (await log.bounds(REDRIVE)).items():
            assert partition == 0, "one partition"
            for raw in await log.read(REDRIVE, partition, self._ruled, end):
                event = log.shelf.decode(raw.value or b"")
                assert isinstance(event, RedriveRequested | LetterDiscarded)
                self._book.rule(partition, raw.offset, 0, event)
            self._ruled = end

    def _tell(self, letter: Letter, way: Way) -> None:
        self._note(letter)
        said = {**letter.id._asdict(), "attempt": letter.next_attempt}
        if way == "without":
            self._say(LetterDiscarded, **said)
            return
        event = self._log.garbled[_place(letter)]
        body = None
        if way != "as it is":
            body = self._log.shelf.encode(event if way == "mended" else _edited(event))
        self._say(RedriveRequested, **said, payload=body)

    def _note(self, letter: Letter) -> None:
        """Once every unit was told about a record, a release comes that could read it."""
        place = _place(letter)
        told = self._told[place]
        told.add(letter.id.unit)
        if told == READERS[place.topic]:
            self._log.shelf.understand(self._log.garbled[place])

    @property
    def is_undecided(self) -> bool:
        """Whether no tweet was sent back: one that was may come after its window."""
        return not any(
            isinstance(record.event, RedriveRequested) and record.event.topic == "new-tweets"
            for record in self._log.records(REDRIVE)
        )

    def told(self) -> list[LogRecord]:
        """Returns the log as it is meant, by all that was decided."""
        told = (self.told_to(unit, topic) for topic, unit in UNIT_OF.items())
        return [record for records in told for record in records]

    def told_to(self, unit: str, topic: str) -> list[LogRecord]:
        """Returns a topic as a unit is to take it: what is decided for others is at other times."""
        log = self._log
        decisions = [
            record.event
            for record in log.records(REDRIVE)
            if isinstance(record.event, RedriveRequested | LetterDiscarded)
            and record.event.topic == topic
        ]
        return meant(unit, log.records(topic), decisions, log.shelf.decode, {})


def _place(letter: Letter) -> Place:
    return Place(letter.id.topic, letter.id.partition, letter.id.offset)


def _edited(event: Event) -> Event:
    match event:
        case TweetPosted():
            return replace(event, text=f"{event.text} edited")
        case UserRegistered():
            return replace(event, name=f"{event.name} edited")
    return event
