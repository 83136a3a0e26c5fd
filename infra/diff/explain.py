"""Which events speak of what differs: found in the log, in the partitions that the keys are in.

Each difference has a *subject*: the partitions to read, and which of their events speak of it. All
subjects are looked for in one reading of the log.

Bounded by: the differences that are shown, the last ``EVENTS_MAX`` events of each, ``RECORDS_MAX``
records read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from events.partitioner import partition_of
from events.slices import LogRecord
from events.types import Event
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.diff.fields import Field, ids_in
from infra.diff.looks import Suspect

EVENTS_MAX = 12
RECORDS_MAX = 5_000_000
LINE_MAX = 400

Place = tuple[str, int]


class Records(Protocol):
    """What `LogView` gives."""

    async def ends(self, topics: Iterable[str]) -> Offsets:
        """The next offset of every partition of topics."""
        ...

    async def since(self, topics: Iterable[str], at_ms: int) -> Offsets:
        """The first offset that was appended at or after a moment, of every partition."""
        ...

    def records(self, start: Offsets, end: Offsets) -> AsyncIterator[LogRecord]:
        """Every event between two sets of offsets."""
        ...


class Subject(msgspec.Struct, frozen=True):
    """What is looked for: partitions, and which of their events speak of it."""

    places: frozenset[Place]
    speaks: Callable[[Event], bool]


class Finder:
    """Says where to look for what explains a difference of one unit.

    Args:
        on: Engines that know who posted what.
        unit: The unit.
    """

    def __init__(self, on: Engines, unit: str) -> None:
        self._on = on
        self._subject = getattr(self, f"_{unit}")

    async def subject(self, suspect: Suspect, fields: list[Field]) -> Subject:
        """Returns the subject of a difference."""
        found: Subject = await self._subject(suspect, ids_in(fields))
        return found

    def _places(self, topic: str, keys: Iterable[object]) -> set[Place]:
        count = self._on.topics.partitions(topic)
        return {(topic, partition_of(str(key).encode(), count)) for key in keys}

    async def _posts(self, tweets: Iterable[int]) -> set[Place]:
        """Where tweets were posted; everywhere, where nobody knows by whom."""
        wanted = set(tweets)
        authors = await compose.tweets_reader(self._on).author_of(wanted)
        if wanted - authors.keys():
            return {("new-tweets", n) for n in range(self._on.topics.partitions("new-tweets"))}
        return self._places("new-tweets", authors.values())

    async def _accounts(self, one: Suspect, ids: set[int]) -> Subject:
        if one.kind.name == "user":
            return Subject(frozenset(self._places("users", [one.key])), _with(user_id=one.key))
        return Subject(frozenset(self._places("usernames", [one.key])), _with(username_key=one.key))

    async def _tweets(self, one: Suspect, ids: set[int]) -> Subject:
        tweets = {one.key} if isinstance(one.key, int) else ids
        authors = {side.get("author") for side in (one.a, one.b)} - {None}
        places = self._places("new-tweets", authors) if authors else await self._posts(tweets)
        return Subject(frozenset(places), _among("tweet_id", tweets))

    async def _search(self, one: Suspect, ids: set[int]) -> Subject:
        if one.kind.name == "people":
            return Subject(frozenset(self._places("users", ids)), _among("user_id", ids))
        return Subject(frozenset(await self._posts(ids)), _among("tweet_id", ids))

    async def _notifications(self, one: Suspect, ids: set[int]) -> Subject:
        user = one.key
        if one.kind.name == "settings":
            return Subject(frozenset(self._places("user-activity", [user])), _with(user_id=user))
        places = self._places("engagements", ids) | self._places("social-graph", ids)
        places |= await self._posts(ids)
        whose = (
            *("tweet_author_id", "target_user_id", "retweet_of_user_id"),
            *("reply_to_user_id", "quote_of_user_id"),
        )

        def speaks(event: Event) -> bool:
            said = {getattr(event, name, None) for name in ("tweet_id", "event_id", "user_id")}
            about = any(getattr(event, name, None) == user for name in whose)
            return not ids.isdisjoint(said) and (about or getattr(event, "tweet_id", 0) in ids)

        return Subject(frozenset(places), speaks)

    async def _trends(self, one: Suspect, ids: set[int]) -> Subject:
        return Subject(frozenset(await self._posts(ids)), _among("tweet_id", ids))

    async def _timelines(self, one: Suspect, ids: set[int]) -> Subject:
        user = one.key
        assert isinstance(user, int)
        authors = await compose.tweets_reader(self._on).author_of(ids)
        people = {*authors.values(), *(ids - authors.keys())} - {user}
        places = self._places("social-graph", {user, *people})
        if ids:
            places |= self._places("new-tweets", {*authors.values(), user})

        def speaks(event: Event) -> bool:
            if hasattr(event, "target_user_id"):
                pair = {getattr(event, "user_id", None), event.target_user_id}
                return user in pair and (not people or bool(pair & people))
            named = (getattr(event, "tweet_id", None), getattr(event, "retweet_of_id", None))
            return not ids.isdisjoint(named)

        return Subject(frozenset(places), speaks)

    async def _engagement(self, one: Suspect, ids: set[int]) -> Subject:
        if one.kind.name == "likes":
            about = _among("tweet_id", ids)
            places = self._places("engagements", ids)
            return Subject(
                frozenset(places), lambda e: about(e) and getattr(e, "user_id", None) == one.key
            )
        tweet = one.key[0] if isinstance(one.key, tuple) else one.key
        if one.kind.name == "counts":
            places = self._places("engagements", [tweet])
            fields = {"replies", "retweets", "quotes", "answers"}
            if any(one.a[field] != one.b[field] for field in fields if field in one.a):
                places |= await self._posts([0])  # anybody's
        else:
            places = await self._posts(ids)
        names = ("reply_to_id", "retweet_of_id", "quote_of_id")

        def speaks(event: Event) -> bool:
            if getattr(event, "tweet_id", None) in {tweet, *ids}:
                return True
            return any(getattr(event, name, None) == tweet for name in names)

        return Subject(frozenset(places), speaks)

    async def _collections(self, one: Suspect, ids: set[int]) -> Subject:
        if one.kind.name != "user":
            list_id = one.key[0] if isinstance(one.key, tuple) else one.key
            return Subject(frozenset(self._places("lists", [list_id])), _with(list_id=list_id))
        places = self._places("bookmarks", [one.key]) | self._places("lists", ids)

        def speaks(event: Event) -> bool:
            named = {getattr(event, "tweet_id", None), getattr(event, "list_id", None)}
            return getattr(event, "user_id", None) == one.key and (not ids or bool(named & ids))

        return Subject(frozenset(places), speaks)


def _with(**fields: Any) -> Callable[[Event], bool]:
    return lambda event: all(getattr(event, k, None) == v for k, v in fields.items())


def _among(field: str, values: set[int]) -> Callable[[Event], bool]:
    return lambda event: getattr(event, field, None) in values


async def events(view: Records, subjects: Sequence[Subject]) -> list[list[str]]:
    """Returns the lines of each subject's events, oldest first in each partition.

    Raises:
        BrokerUnreachable, KafkaException: the broker did not answer.
    """
    found: list[deque[str]] = [deque(maxlen=EVENTS_MAX) for _ in subjects]
    places = set().union(*(subject.places for subject in subjects))
    if places:
        ends = await view.ends({topic for topic, _ in places})
        upto = {place: end for place, end in ends.items() if place in places}
        read = 0
        async for record in view.records({}, upto):
            read += 1
            if read > RECORDS_MAX:
                break
            place = (record.topic, record.partition)
            for subject, lines in zip(subjects, found, strict=True):
                if place in subject.places and subject.speaks(record.event):
                    lines.append(words(record))
    return [list(lines) for lines in found]


def words(record: LogRecord) -> str:
    """Returns an event and its place in one line."""
    fields = msgspec.to_builtins(record.event)
    told = " ".join(f"{k}={v}" for k, v in fields.items() if v not in (None, "", []))
    return f"{record.topic}/{record.partition}@{record.offset} {told}"[:LINE_MAX]
