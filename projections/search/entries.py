"""One tweet in the real-time tier, for whoever compares it with the log and puts it right.

What is read and written is one author's tweet; the functions are in ``mend.lua``. A write names
what was seen, and changes nothing where a worker has changed it since.

Bounded by: the terms of a tweet, each a look into one run of its segment.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from projections.bus import Command, RedisBus
from projections.keys import Keys
from projections.search.layout import (
    SCRIPTS,
    VERSION,
    Document,
    Window,
    author_mark,
    hash_of,
    index_key,
    packed_facts,
    packed_id,
    packed_terms,
    terms_packed,
)

_ENTRY = SCRIPTS.name("murmur_search_entry")
_MEND = SCRIPTS.name("murmur_search_mend")

REPLACED, DELETED = 0x8000, 0xC000
"""Flags of a record that counts no more, as ``index.lua`` has them."""


class Entry(msgspec.Struct, frozen=True):
    """What the tier holds of an author's tweet.

    Attributes:
        seen: Names this state to :meth:`Entries.mended`.
        is_there: Queries find it.
        is_deleted: Its author deleted it.
        version: See ``index.lua``.
        facts: Language and flags.
        terms: Hashes and places of those that were asked for and find it.
    """

    seen: bytes
    is_there: bool
    is_deleted: bool
    version: int
    facts: bytes
    terms: frozenset[tuple[bytes, int]]

    def holds(self, one: Document) -> bool:
        """Whether queries find what a post said."""
        return self.is_of(one) and self.terms == terms_packed(packed_terms(one.terms))

    def is_of(self, one: Document) -> bool:
        """Whether it is the entry of a post, whatever its terms are."""
        is_same = self.version == one.posted_at % VERSION and self.facts == packed_facts(one)
        return self.is_there and is_same


class Entries:
    """Reads entries, and says which commands put them right.

    Args:
        bus: The cluster.
        keys: The unit's names.
        window: Bounds of the tier, as the unit has them.
    """

    def __init__(self, bus: RedisBus, keys: Keys, window: Window) -> None:
        self._bus = bus
        self._keys = keys
        self._bounds = (window.tweets, window.segments, window.span)
        bus.use_library(SCRIPTS.source)

    async def read(self, tweet_id: int, author_id: int, terms: Iterable[str]) -> Entry | None:
        """Returns what is held of an author's tweet; None where it is not in the window.

        Raises:
            RetryableError: Redis is away.
        """
        hashes = b"".join(dict.fromkeys(hash_of(term) for term in terms))
        arguments = (packed_id(tweet_id), author_mark(author_id), hashes)
        reply = await self._bus.call("FCALL_RO", _ENTRY, 1, self._index(tweet_id), *arguments)
        if reply is None:
            return None
        seen, version, facts, found = reply
        flags = int.from_bytes(facts[2:], "big")
        return Entry(
            seen,
            is_there=bool(seen) and flags < REPLACED,
            is_deleted=flags >= DELETED,
            version=version,
            facts=facts,
            terms=frozenset(terms_packed(found)),
        )

    def posted(self, seen: Entry, one: Document) -> Command:
        """Returns what makes an entry what a post said."""
        put = (one.posted_at % VERSION, packed_facts(one), packed_terms(one.terms))
        return (*self._mend(seen, "T", one.tweet_id, one.author_id), *put)

    def deleted(self, seen: Entry, tweet_id: int, author_id: int) -> Command:
        """Returns what makes an entry that of a tweet that its author deleted."""
        return self._mend(seen, "X", tweet_id, author_id)

    def nothing(self, seen: Entry, tweet_id: int, author_id: int) -> Command:
        """Returns what makes an entry none."""
        return self._mend(seen, "N", tweet_id, author_id)

    def _mend(self, seen: Entry, kind: str, tweet_id: int, author_id: int) -> Command:
        call = ("FCALL", _MEND, 1, self._index(tweet_id), *self._bounds)
        return (*call, seen.seen, kind, packed_id(tweet_id), author_mark(author_id))

    def _index(self, tweet_id: int) -> bytes:
        return index_key(self._keys, self._keys.bucket(tweet_id))
