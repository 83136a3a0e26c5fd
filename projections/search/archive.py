"""The archive's reading side: postings by term, and by term and span, from the newest down.

1. Read what each term of the query has in ``rare_postings``, and its newest spans.
2. Read what each has in those spans, the newest first.
3. Ask the documents of the candidates: which post counts, whether it was deleted, its language and
   flags.

Where a term has more than is read at once, the step ends at what it has read.

Keeps true: what a step returns is whole from its floor upwards.

Bounded by: ``SPANS_MAX`` spans; ``POSTINGS_MAX`` postings of a term, and of a term and span.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from projections.search.layout import SPAN_BITS
from projections.search.matching import Found, Posting, candidates, matches
from projections.search.part import NEWEST, Part
from projections.search.program import Program, terms_of
from projections.store import Row, Store

SPANS_MAX = 8
POSTINGS_MAX = 500

_SPANS = "SELECT span FROM {posting_spans} WHERE term = ? AND span <= ? AND span >= ? LIMIT ?"
_RARE = (
    "SELECT tweet_id, author_id, posted_at, places FROM {rare_postings} "
    "WHERE term = ? AND tweet_id < ? AND tweet_id > ? LIMIT ?"
)
_POSTINGS = (
    "SELECT tweet_id, author_id, posted_at, places FROM {postings} "
    "WHERE term = ? AND span = ? AND tweet_id < ? AND tweet_id > ? LIMIT ?"
)
_DOCUMENTS = (
    "SELECT tweet_id, author_id, posted_at, language, flags, deleted FROM {documents} "
    "WHERE tweet_id IN ?"
)


class ArchiveReader:
    """Reads the archive.

    Args:
        store: The generation's tables.
        spans_max: Spans in one step.
        postings_max: Postings of one term, and of one term in one span, in one step.
        span_bits: As the unit writes them.
    """

    def __init__(
        self,
        store: Store,
        *,
        spans_max: int = SPANS_MAX,
        postings_max: int = POSTINGS_MAX,
        span_bits: int = SPAN_BITS,
    ) -> None:
        self._store = store
        self._spans_max = spans_max
        self._postings_max = postings_max
        self._bits = span_bits

    async def find(self, program: Program, below: int, above: int) -> Part:
        """Returns what one step finds under ``below``; it may be nothing, with a lower floor.

        Raises:
            RetryableError: the store is away.
        """
        terms = list(dict.fromkeys(terms_of(program)))
        most = self._postings_max
        rare, (spans, floor) = await asyncio.gather(
            self._store.execute_many(_RARE, [(term, below, above, most) for term in terms]),
            self._spans(terms, below, above),
        )  # 1
        found: Found = {}
        floor = max(floor, _taken(found, terms, rare, most))
        for span in spans:  # 2
            if (span + 1) << self._bits <= floor:
                break
            rows = await self._store.execute_many(
                _POSTINGS, [(term, span, below, above, most) for term in terms]
            )
            floor = max(floor, _taken(found, terms, rows, most))
        whole = {posting: of for posting, of in found.items() if posting.tweet_id >= floor}
        standing = await self._standing(candidates(program, whole))  # 3
        ids = [
            posting.tweet_id
            for posting, (language, flags) in standing.items()
            if matches(program, posting.tweet_id, whole[posting], language, flags)
        ]
        return Part.of(ids, floor)

    async def _spans(self, terms: Iterable[str], below: int, above: int) -> tuple[list[int], int]:
        """Returns the newest spans in which a term stands, and the id down to which these are
        all."""
        highest, lowest = (below - 1) >> self._bits, (above + 1) >> self._bits
        most = self._spans_max
        rows = await self._store.execute_many(
            _SPANS, [(term, highest, lowest, most) for term in terms]
        )
        floor = max((of[-1][0] << self._bits for of in rows if len(of) == most), default=above + 1)
        spans = sorted({span for of in rows for (span,) in of}, reverse=True)
        return [span for span in spans if (span + 1) << self._bits > floor], floor

    async def _standing(self, postings: list[Posting]) -> dict[Posting, tuple[str, int]]:
        """Returns language and flags of those that count: first of their author, not deleted."""
        ids = list(dict.fromkeys(posting.tweet_id for posting in postings))
        wanted = set(postings)
        found: dict[Posting, tuple[str, int]] = {}
        for (
            tweet_id,
            author_id,
            posted_at,
            language,
            flags,
            deleted,
        ) in await self._store.execute_in(_DOCUMENTS, ids):
            posting = Posting(tweet_id, author_id, posted_at)
            if not deleted and posting in wanted:
                found[posting] = (language, flags)
        return found


def _taken(found: Found, terms: Sequence[str], rows: Sequence[Sequence[Row]], most: int) -> int:
    """Adds rows to what was found; returns from which id on they are all, 0 for any."""
    floor = 0
    for term, of in zip(terms, rows, strict=True):
        for tweet_id, author_id, posted_at, places in of:
            found.setdefault(Posting(tweet_id, author_id, posted_at), {})[term] = places
        if len(of) == most:
            # Of the last id that was read another author's row may be missing.
            floor = max(floor, of[-1][0] + 1)
    return floor


async def all_of(
    archive: ArchiveReader, program: Program, below: int = NEWEST, above: int = 0
) -> list[int]:
    """Returns all that a query finds in the archive, for whoever has the time."""
    ids: list[int] = []
    while below > above + 1:
        part = await archive.find(program, below, above)
        ids += part.ids
        below = part.floor
    return ids
