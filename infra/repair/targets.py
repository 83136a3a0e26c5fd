"""What can be repaired: one key of a unit, where the log speaks of it, and what readers keep of it.

A target names

- the partitions of the log that speak of it, and which of their records do;
- the statements that those come to, which are the unit's own;
- the rows where it is kept, whatever should be there;
- the cache entries that are drawn from it, and the questions that readers ask about it.

Those of timelines are in :mod:`infra.repair.ties`; counts are made of more than rows, and have a
module of their own (:mod:`infra.repair.counts`).

Bounded by: the records of one key (:mod:`infra.repair.log`), held until it is repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from events.slices import LogRecord, Record
from events.types import Event, TweetPosted
from infra.demo.convergence import Offsets
from infra.diff.keys import Key
from infra.repair.cells import Row, Stored, Write
from infra.repair.log import KeyLog, Place, order
from infra.repair.rows import Part
from projections.accounts import layout as accounts
from projections.accounts.unit import rows_of as account_rows
from projections.accounts.usernames import name_rows
from projections.collections import layout as collections
from projections.collections.unit import rows_of as collection_rows
from projections.tweets.layout import TWEET
from projections.tweets.unit import rows_of as tweet_rows

Fact: TypeAlias = tuple[Sequence[LogRecord], Write]
"""What is written once these records are applied; without any, what may be written and need not."""

Facts: TypeAlias = Iterable[Fact]


class Target(Protocol):
    """One key to be repaired."""

    @property
    def unit(self) -> str:
        """The unit whose key it is."""
        ...

    @property
    def words(self) -> str:
        """What it is called."""
        ...

    @property
    def questions(self) -> Sequence[tuple[str, Key]]:
        """Kinds of questions and keys that show what readers see of it."""
        ...

    @property
    def topics(self) -> Sequence[str]:
        """The topics that speak of it."""
        ...

    def places(self, log: KeyLog) -> set[Place]:
        """Returns the partitions that may speak of it."""
        ...

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """Returns what the log says of it below ends."""
        ...

    async def extended(
        self, log: KeyLog, records: list[LogRecord], start: Offsets, ends: Offsets
    ) -> list[LogRecord]:
        """Returns the same up to other ends: soon, so that a repair is not behind its worker."""
        ...

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """Yields the statements that each record comes to.

        Args:
            records: What the log says of it below ``ends``.
            stored: What is stored of it.
            ends: Where the log ends.
        """
        ...

    def owns(self, row: Row) -> bool:
        """Says whether a row that its facts write, or that is stored with it, is its own."""
        ...

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """Returns where it is kept besides ``rows``, those that the log gives it."""
        ...

    def also(self, stored: Stored) -> list[Part]:
        """Returns where it is kept as well, by what was found in :meth:`parts`."""
        ...

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """Returns the cache entries that are drawn from it, as kind and id."""
        ...


class Keyed:
    """A target whose records are those of some partitions that a predicate picks."""

    unit: str
    topics: Sequence[str]

    def __init__(self, key: int | str) -> None:
        self.key = key
        self.words = f"{type(self).__name__.lower()} {key}"
        self.questions: Sequence[tuple[str, Key]] = ()

    def places(self, log: KeyLog) -> set[Place]:
        """Returns the partitions that speak of it: by its key, in each of its topics."""
        return {place for topic in self.topics for place in log.places(topic, [self.key])}

    def speaks(self, event: Event) -> bool:
        """Says whether an event is about it."""
        return getattr(event, "user_id", None) == self.key

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`Target`."""
        return await log.read(self.places(log), ends, self.speaks)

    async def extended(
        self, log: KeyLog, records: list[LogRecord], start: Offsets, ends: Offsets
    ) -> list[LogRecord]:
        """See :class:`Target`."""
        return sorted(
            records + await log.read(self.places(log), ends, self.speaks, start), key=order
        )

    def owns(self, row: Row) -> bool:
        """See :class:`Target`."""
        return True

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`Target`."""
        return []


def sliced(record: LogRecord) -> Record:
    """Returns a record as a slice holds it."""
    return Record(record.offset, 0, record.event)


class Account(Keyed):
    """A user's profile and pin."""

    unit = "accounts"
    topics = ("users",)

    def __init__(self, user_id: int) -> None:
        super().__init__(user_id)
        self.questions = (("user", user_id),)

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in account_rows(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        return [Part(table, (("user_id", self.key),)) for table in ("accounts", "pins")]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`."""
        return [(accounts.USER, int(self.key))]


class Username(Keyed):
    """Who holds a name, by its claims and releases."""

    unit = "accounts"
    topics = ("usernames",)

    def __init__(self, name: str) -> None:
        super().__init__(name.casefold())
        self.questions = (("username", self.key),)

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        return getattr(event, "username_key", None) == self.key

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in name_rows(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        return [Part("username_claims", (("username_key", self.key),))]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`; names are not cached."""
        return []


class Tweet(Keyed):
    """A tweet's content, and whom it speaks to. Its author is the key of its partition."""

    unit = "tweets"
    topics = ("new-tweets",)

    def __init__(self, tweet_id: int, authors_known: Iterable[int]) -> None:
        super().__init__(tweet_id)
        self.questions = (("tweet", tweet_id),)
        self._authors = frozenset(authors_known)
        self._read: set[Place] = set()
        self._place_of: Callable[[int], set[Place]] = lambda author: set()

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`Target`: where its authors are; everywhere, where none of them posted it."""
        self._place_of = lambda author: log.places("new-tweets", [author])
        self._read = log.places("new-tweets", self._authors)
        found = await super().records(log, ends)
        if any(isinstance(record.event, TweetPosted) for record in found):
            return found
        self._read = log.every("new-tweets")
        return await super().records(log, ends)

    def places(self, log: KeyLog) -> set[Place]:
        """See :class:`Target`."""
        return self._read

    def owns(self, row: Row) -> bool:
        """See :class:`Target`: what was said in partitions that were read."""
        return row[0] != "tweets" or self._place_of(row[1][1]) <= self._read

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        return getattr(event, "tweet_id", None) == self.key

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in tweet_rows([sliced(one)]))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`; of mentions those that the log gives, for others are not shown."""
        spoken = [row for row in rows if row[0] != "tweets"]
        names = {
            "mentions": ("addressee", "span", "tweet_id"),
            "mention_spans": ("addressee", "span"),
        }
        mentions = [Part(t, tuple(zip(names[t], key, strict=True))) for t, key in spoken]
        return [Part("tweets", (("tweet_id", self.key),)), *mentions]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`."""
        return [(TWEET, int(self.key))]


class Bookmarks(Keyed):
    """What a user has bookmarked."""

    unit = "collections"
    topics = ("bookmarks",)

    def __init__(self, user_id: int) -> None:
        super().__init__(user_id)
        self.questions = (("user", user_id),)

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in collection_rows(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        return [Part(table, (("user_id", self.key),)) for table in ("bookmarks", "bookmarks_of")]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`; bookmarks are not cached."""
        return []


class List(Keyed):
    """A list, its members, and its place among its owner's."""

    unit = "collections"
    topics = ("lists",)

    def __init__(self, list_id: int) -> None:
        super().__init__(list_id)
        self.questions = (("list", list_id), ("members", (list_id, 0)))

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        return getattr(event, "list_id", None) == self.key

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in collection_rows(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        speakers = {key[1] for table, key in rows if table == "lists"}
        speakers |= {key[0] for table, key in rows if table == "lists_of"}
        speakers |= {key[1] for table, key in rows if table == "list_members"}
        return [Part("lists", (("list_id", self.key),)), *self._of(speakers)]

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`Target`: of those who have a row about it, whoever they are."""
        return self._of({key[1] for table, key in stored if table == "lists"})

    def _of(self, speakers: Iterable[int]) -> list[Part]:
        parts: list[Part] = []
        for user in speakers:
            parts.append(Part("list_members", (("list_id", self.key), ("user_id", user))))
            parts.append(Part("lists_of", (("user_id", user), ("list_id", self.key))))
        return parts

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`."""
        return [(kind, int(self.key)) for kind in (collections.LIST, collections.MEMBERS)]
