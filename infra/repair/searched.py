"""What search finds one tweet by, in both tiers; and the names that a user is found by.

A posting stands in ``rare_postings`` or by span, as the worker had counted that wrote it (decision
0166); either is right, and so are both. What is in neither goes to where a worker would put it that
has counted nothing: by span if the term has rows there.

The real-time tier is no cache that could be forgotten: a tweet's entry is read term by term, and
put right in place unless a worker has changed it since (``projections/search/entries.py``).

What is found is found from the tweet's side: a posting under a word that the tweet does not say is
seen by ``murmur diff search``, and by nobody who looks at the tweet.

Bounded by: as :mod:`infra.repair.targets`; the terms of a tweet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from events.slices import LogRecord
from events.types import Event, TweetDeleted, TweetPosted
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.repair.cells import Row, Stored, Write
from infra.repair.log import KeyLog
from infra.repair.rows import Part
from infra.repair.targets import Fact, Facts, Keyed, Tweet
from projections.bus import Command
from projections.search import people
from projections.search.entries import Entries, Entry
from projections.search.layout import SPAN_BITS, Document, document
from projections.search.unit import (
    deleted_row,
    document_row,
    places_of,
    posting_row,
    rare_row,
    span_row,
)

UNIT = "search"


class Fix(msgspec.Struct, frozen=True):
    """What is wrong in Redis where nothing is a cache, and the command that puts it right."""

    words: str
    command: Command


class Searched(Tweet):
    """See the module.

    Args:
        tweet_id: The tweet.
        authors_known: Who is known to have posted it, rightly or not.
        entries: The real-time tier.
    """

    unit = UNIT

    def __init__(self, tweet_id: int, authors_known: Iterable[int], entries: Entries) -> None:
        super().__init__(tweet_id, authors_known)
        self.words = f"search {tweet_id}"
        self.questions = ()
        self._entries = entries
        self._log: KeyLog | None = None
        self._heard: list[LogRecord] = []
        self._seen: dict[int, tuple[Entry | None, list[Document]]] = {}

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        self._log = log
        self._heard = await super().records(log, ends)
        return self._heard

    async def extended(
        self, log: KeyLog, records: list[LogRecord], start: Offsets, ends: Offsets
    ) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        self._heard = await super().extended(log, records, start, ends)
        return self._heard

    # --- the archive ---

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`infra.repair.targets.Target`."""
        for record in records:
            if isinstance(record.event, TweetDeleted):
                yield [record], deleted_row(record.event, record.offset)
            if isinstance(record.event, TweetPosted):
                one = document(record.event, record.offset)
                yield [record], document_row(one)
                for term, places in places_of(one).items():
                    yield from self._posting(record, one, term, places, stored)

    def _posting(
        self, record: LogRecord, one: Document, term: str, places: bytes, stored: Stored
    ) -> Iterator[Fact]:
        span = one.tweet_id >> SPAN_BITS
        cells = (one.tweet_id, one.author_id, one.posted_at)
        is_rare = ("rare_postings", (term, *cells)) in stored
        is_by_span = ("postings", (term, span, *cells)) in stored
        if not is_rare and not is_by_span:
            is_by_span = ("posting_spans", (term, span)) in stored
            is_rare = not is_by_span
        rare: tuple[bool, Write] = (is_rare, rare_row(term, one, places))
        by_span = ((is_by_span, posting_row(term, span, one, places)),)
        for needs, write in (rare, *by_span, (is_by_span, span_row(term, span))):
            yield [record] if needs else [], write

    def owns(self, row: Row) -> bool:
        """See :class:`infra.repair.targets.Target`: what was said in partitions that were read."""
        table, key = row
        if table == "posting_spans":
            return True
        author = key[1] if table == "documents" else key[-2]
        return self._place_of(author) <= self._read

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`infra.repair.targets.Target`."""
        found = [Part("documents", (("tweet_id", self.key),))]
        for table, key in rows:
            if table == "rare_postings":
                found.append(Part(table, (("term", key[0]), ("tweet_id", self.key))))
            elif table == "postings":
                where = (("term", key[0]), ("span", key[1]), ("tweet_id", self.key))
                found.append(Part(table, where))
            elif table == "posting_spans":
                found.append(Part(table, (("term", key[0]), ("span", key[1]))))
        return list(dict.fromkeys(found))

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`infra.repair.targets.Target`; what search finds is not cached."""
        return []

    # --- the real-time tier ---

    async def look(self) -> None:
        """Reads what the real-time tier holds of the tweet; :meth:`fixes` is about that.

        Raises:
            RetryableError: Redis is away.
        """
        self._seen = {}
        said = {getattr(record.event, "user_id", 0) for record in self._heard}
        for author in {*said, *self._authors}:
            posts = self._posts(author)
            terms = (term for one in posts for term, _ in one.terms)
            self._seen[author] = await self._entries.read(int(self.key), author, terms), posts

    def fixes(self, applied: Offsets) -> list[Fix]:
        """Returns what is wrong in what was seen.

        Args:
            applied: How far the unit had surely come before it was seen.
        """
        found = []
        for author, (entry, asked) in self._seen.items():
            right = self._right(author)
            if entry is None or self._fits(author, entry, asked, applied):
                continue
            tweet = int(self.key)
            if right is None:
                command = self._entries.nothing(entry, tweet, author)
            elif isinstance(right, Document):
                command = self._entries.posted(entry, right)
            else:
                command = self._entries.deleted(entry, tweet, author)
            words = f"recent[{tweet}, {author}]: {_short(entry)} -> {_short(right)}"
            found.append(Fix(words, command))
        return found

    def _fits(self, author: int, entry: Entry, asked: list[Document], applied: Offsets) -> bool:
        """Whether an entry is as some worker, on time or late, has made it."""
        posts, gone = self._posts(author), self._deletions(author)
        if entry.is_deleted or self._surely(gone, applied):
            return entry.is_deleted and bool(gone)
        first = min((r.offset for r in self._surely(self._of(author), applied)), default=None)
        if not entry.is_there:
            return first is None
        return any(
            (entry.holds(one) if one in asked else entry.is_of(one))
            for one in posts
            if first is None or one.posted_at <= first
        )

    def _right(self, author: int) -> Document | TweetDeleted | None:
        for record in self._deletions(author):
            assert isinstance(record.event, TweetDeleted)
            return record.event
        return min(self._posts(author), key=lambda one: one.posted_at, default=None)

    def _of(self, author: int, kind: type[Event] = TweetPosted) -> list[LogRecord]:
        return [
            record
            for record in self._heard
            if isinstance(record.event, kind) and getattr(record.event, "user_id", 0) == author
        ]

    def _posts(self, author: int) -> list[Document]:
        return [
            document(record.event, record.offset)
            for record in self._of(author)
            if isinstance(record.event, TweetPosted)
        ]

    def _deletions(self, author: int) -> list[LogRecord]:
        return self._of(author, TweetDeleted)

    def _surely(self, records: Iterable[LogRecord], applied: Offsets) -> list[LogRecord]:
        assert self._log is not None  # who read the records
        return [record for record in records if self._log.is_applied(record, applied)]


class People(Keyed):
    """The names that a user is found by. One too many is left: readers compare with the profile."""

    unit = UNIT
    topics = ("users",)

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`infra.repair.targets.Target`."""
        return (([one], write) for one in records for write in people.rows_of(one.event))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`infra.repair.targets.Target`."""
        names = ("start", "word", "user_id")
        return [Part(table, tuple(zip(names, key, strict=True))) for table, key in rows]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`infra.repair.targets.Target`; names are not cached."""
        return []


async def searched(on: Engines, tweet_id: int) -> Searched:
    """Returns a tweet as search has it; the tweets unit as well may know who posted it.

    Raises:
        RetryableError: an engine is away.
    """
    authors: set[int] = set()
    for unit, table in ((UNIT, "documents"), ("tweets", "tweets")):
        rows = await on.store_of(unit).execute(
            f"SELECT author_id FROM {{{table}}} WHERE tweet_id = ?", (tweet_id,)
        )
        authors |= {author for (author,) in rows}
    entries = Entries(on.bus, on.keys(UNIT), compose.search_window(on))
    return Searched(tweet_id, authors, entries)


def _short(what: Entry | Document | TweetDeleted | None) -> str:
    if isinstance(what, Entry):
        if not what.is_there:
            return "deleted" if what.is_deleted else "nothing"
        return f"{len(what.terms)} postings of version {what.version}"
    if isinstance(what, Document):
        return f"{len(what.terms)} postings of version {what.posted_at}"
    return "deleted" if what is not None else "nothing"
