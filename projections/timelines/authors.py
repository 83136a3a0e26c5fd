"""Author timelines: every tweet under its author, newest first, whatever the author's tier.

They are the facts that all else in this unit is a cache of: a home timeline can always be read from
the author timelines of those who are followed (:meth:`Authors.merge`).

Bounded by: ``ROUNDS_MAX`` rounds of reading for one merge, ``AUTHORS_PER_QUERY`` partitions and
``ROWS_PER_AUTHOR_MAX`` rows of each in one query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from events.slices import Record
from events.types import TweetDeleted, TweetPosted
from projections.store import Store
from projections.timelines.layout import NO_REPLY, REPLY_TO_UNKNOWN, Entry, entries
from projections.versions import first, latest

AUTHORS_PER_QUERY = 50
ROWS_PER_AUTHOR_MAX = 800
ROWS_PER_AUTHOR_MIN = 2
FIRST_ROUND_ROWS = 800
"""Rows of the first round of a merge, where many authors share it; of few, 8 rows each."""

ROUNDS_MAX = 4
RETWEETS_WHOLE_MAX = 1_000
"""Retweets of an original that are read at once, where many authors are asked for."""

NEWEST = (1 << 63) - 1
"""Above every id: where reading from the top begins."""

_POST = (
    "UPDATE {author_tweets} USING TIMESTAMP ? SET reply_to_user_id = ?, retweet_of_id = ? "
    "WHERE author_id = ? AND tweet_id = ?"
)
_DELETE = (
    "UPDATE {author_tweets} USING TIMESTAMP ? SET deleted = true "
    "WHERE author_id = ? AND tweet_id = ?"
)
_RETWEET = (
    "INSERT INTO {retweets} (tweet_id, author_id, retweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
)
_COLUMNS = "SELECT author_id, tweet_id, reply_to_user_id, retweet_of_id, deleted "


def facts(record: Record) -> list[tuple[str, Sequence[Any]]]:
    """Returns the upserts of one record of ``new-tweets``."""
    match record.event:
        case TweetPosted() as tweet:
            unnamed = REPLY_TO_UNKNOWN if tweet.reply_to_id else NO_REPLY
            reply_to = tweet.reply_to_user_id or unnamed
            original = tweet.retweet_of_id or 0
            at = first(record.offset)
            written: list[tuple[str, Sequence[Any]]] = [
                (_POST, (at, reply_to, original, tweet.user_id, tweet.tweet_id))
            ]
            if original:
                written.append((_RETWEET, (original, tweet.user_id, tweet.tweet_id, at)))
            return written
        case TweetDeleted(user_id=author, tweet_id=tweet_id):
            # A deletion by another user lands in that user's timeline, where there is no post.
            return [(_DELETE, (latest(record.offset), author, tweet_id))]
    return []


class Merge(msgspec.Struct, frozen=True):
    """Part of a merged timeline.

    Attributes:
        entries: Newest first.
        floor: The merge is complete from this id upwards; 0 when it reaches the beginning.
    """

    entries: list[Entry]
    floor: int


class Authors:
    """Reads author timelines, one by one or merged."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, records: Iterable[Record]) -> None:
        """Writes the facts of a slice of ``new-tweets``."""
        await self._store.write([fact for record in records for fact in facts(record)])

    async def page(self, author_id: int, below: int, limit: int) -> Merge:
        """Returns the newest entries of one author under ``below``; deleted ones are left out."""
        rows = await self._store.execute(
            _COLUMNS + "FROM {author_tweets} WHERE author_id = ? AND tweet_id < ? LIMIT ?",
            (author_id, below, limit),
        )
        return Merge(entries(rows), rows[-1][1] if len(rows) == limit else 0)

    async def deleted(self, author_id: int, tweets: Collection[int]) -> set[int]:
        """Returns which of one author's tweets he has deleted."""
        rows = await self._store.execute(
            "SELECT tweet_id, deleted FROM {author_tweets} WHERE author_id = ? AND tweet_id IN ?",
            (author_id, list(tweets)),
        )
        return {tweet_id for tweet_id, deleted in rows if deleted}

    async def since(self, author_id: int, floor: int, limit: int) -> Merge:
        """Returns one author's newest entries from ``floor`` upwards, of ``limit`` rows at most.

        Deleted ones are left out, so that fewer entries than ``limit`` need not reach the floor.
        """
        rows = await self._store.execute(
            _COLUMNS + "FROM {author_tweets} WHERE author_id = ? AND tweet_id >= ? LIMIT ?",
            (author_id, floor, limit),
        )
        return Merge(entries(rows), rows[-1][1] if len(rows) == limit else floor)

    async def merge(self, authors: Collection[int], below: int, wanted: int) -> Merge:
        """Returns the newest entries of many authors under ``below``, merged.

        Each round reads the next few rows of every author who may still have one among the newest
        ``wanted``; the floor is the lowest id down to which nothing can be missing. It ends when
        no author may, or after ``ROUNDS_MAX`` rounds; a row of progress is made in any case.
        """
        count = max(1, len(authors))
        per_author = max(2 * wanted // count + 1, min(8, FIRST_ROUND_ROWS // count))
        per_author = min(ROWS_PER_AUTHOR_MAX, max(ROWS_PER_AUTHOR_MIN, per_author))
        reach = dict.fromkeys(authors, below)
        found: list[Entry] = []
        target = 0
        for _ in range(ROUNDS_MAX):
            await self._deepen(reach, target, per_author, found)
            found.sort(key=lambda entry: entry.tweet_id, reverse=True)
            target = found[wanted - 1].tweet_id if len(found) >= wanted else 0
            if all(at <= target for at in reach.values()):
                break
            per_author = min(ROWS_PER_AUTHOR_MAX, 2 * per_author)
        floor = max(reach.values(), default=0)
        return Merge([entry for entry in found if entry.tweet_id >= floor], floor)

    async def _deepen(
        self, reach: dict[int, int], target: int, per_author: int, found: list[Entry]
    ) -> None:
        """Reads on, of the authors who may have more above ``target``, under their ``reach``.

        ``reach`` keeps the id under which to read on; an author who has no more is taken out.
        """
        by_reach: dict[int, list[int]] = {}
        for author, at in reach.items():
            if at > target:
                by_reach.setdefault(at, []).append(author)
        queries = [
            (group[start : start + AUTHORS_PER_QUERY], at)
            for at, group in by_reach.items()
            for start in range(0, len(group), AUTHORS_PER_QUERY)
        ]
        pages = await asyncio.gather(*(self._pages(*query, per_author) for query in queries))
        for (group, _), rows in zip(queries, pages, strict=True):
            counts = dict.fromkeys(group, 0)
            for author, tweet_id, *_rest in rows:
                counts[author] += 1
                reach[author] = tweet_id
            for author, count in counts.items():
                if count < per_author:
                    del reach[author]
            found += entries(rows)

    async def _pages(self, authors: list[int], below: int, per_author: int) -> list[Any]:
        return await self._store.execute(
            _COLUMNS + "FROM {author_tweets} WHERE author_id IN ? AND tweet_id < ? "
            "PER PARTITION LIMIT ?",
            (authors, below, per_author),
        )

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns the retweets of originals by ``authors``: (retweet id, author), newest first.

        Deleted retweets are among them; whoever reads them finds that they are gone.
        """
        by_original: dict[int, list[tuple[int, int]]] = {}
        if len(authors) > 4 * AUTHORS_PER_QUERY:
            by_original = await self._whole_retweets(originals, frozenset(authors))
        queries = [
            (original, list(authors[start : start + AUTHORS_PER_QUERY]))
            for original in originals
            if original not in by_original
            for start in range(0, len(authors), AUTHORS_PER_QUERY)
        ]
        pages = await self._store.execute_many(
            "SELECT retweet_id, author_id FROM {retweets} WHERE tweet_id = ? AND author_id IN ?",
            queries,
        )
        for (original, _), rows in zip(queries, pages, strict=True):
            by_original.setdefault(original, []).extend((r, a) for r, a in rows)
        for found in by_original.values():
            found.sort(reverse=True)
        return by_original

    async def _whole_retweets(
        self, originals: Collection[int], authors: frozenset[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns the retweets by ``authors`` of those originals that have few in all.

        One query each, in place of one per ``AUTHORS_PER_QUERY`` authors.
        """
        wanted = list(originals)
        pages = await self._store.execute_many(
            "SELECT retweet_id, author_id FROM {retweets} WHERE tweet_id = ? LIMIT ?",
            [(original, RETWEETS_WHOLE_MAX) for original in wanted],
        )
        return {
            original: [(retweet, author) for retweet, author in rows if author in authors]
            for original, rows in zip(wanted, pages, strict=True)
            if len(rows) < RETWEETS_WHOLE_MAX
        }
