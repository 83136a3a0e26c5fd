"""Tables, keys and encodings of the search unit; writers and readers share this page.

Facts (Cassandra), the archive:

- ``documents`` by tweet and author: the offset of the post (the first counts, ``first``), language
  and flags; apart from it whether the author deleted it (``latest``).
- ``rare_postings`` by term, newest first: tweet, author, the post's offset, and the term's places.
  The first ``FEW`` postings that a worker writes of a term in a span are here.
- ``postings`` by term and span: the others. A span is 2^SPAN_BITS ids, 4.7 hours. So a word that
  is rare costs one row and is read at once, and a partition stays bounded (decision 0166).
- A row of both counts only while ``documents`` names its offset and no deletion, so neither a
  deletion nor a second post of an id has to find its terms.
- ``posting_spans`` by term: which spans ``postings`` has anything in.
- ``highest`` by source partition: the highest id of a tweet in it, whose write timestamp it is.
  What an index that was lost had, and lacks when it begins anew, lies at or below these.

Cache (Redis): ``recent`` by bucket, the index of the newest tweets (``index.lua``). It is no
leased entry: a worker fills it, and its floor says from which id upwards it is whole.

A term is a text. Words, tags, mentions, hosts and emoji are those of
:mod:`projections.search.analysis`; who wrote a tweet, whom it answers and which conversation it
belongs to are terms with a colon, which no word has.

Bounded by: ``TERMS_MAX`` terms a tweet; ``Window``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

import msgspec

from events.types import TweetPosted
from projections.functions import Library
from projections.keys import Keys
from projections.search.analysis.terms import Term, indexed
from projections.text import entities
from projections.text.folding import language_of

TABLES = {
    "documents": """
        CREATE TABLE IF NOT EXISTS {table} (
            tweet_id bigint, author_id bigint, posted_at bigint, language text, flags int,
            deleted boolean, PRIMARY KEY (tweet_id, author_id))""",
    "rare_postings": """
        CREATE TABLE IF NOT EXISTS {table} (
            term text, tweet_id bigint, author_id bigint, posted_at bigint, places blob,
            PRIMARY KEY (term, tweet_id, author_id, posted_at))
        WITH CLUSTERING ORDER BY (tweet_id DESC, author_id DESC, posted_at DESC)""",
    "postings": """
        CREATE TABLE IF NOT EXISTS {table} (
            term text, span bigint, tweet_id bigint, author_id bigint, posted_at bigint,
            places blob,
            PRIMARY KEY ((term, span), tweet_id, author_id, posted_at))
        WITH CLUSTERING ORDER BY (tweet_id DESC, author_id DESC, posted_at DESC)""",
    "posting_spans": """
        CREATE TABLE IF NOT EXISTS {table} (
            term text, span bigint, PRIMARY KEY (term, span))
        WITH CLUSTERING ORDER BY (span DESC)""",
    "highest": """
        CREATE TABLE IF NOT EXISTS {table} (source text PRIMARY KEY, tweet_id bigint)""",
}

SPAN_BITS = 46
"""2^24 ms of Snowflake ids. Never changed within a generation."""

FEW = 8
"""Postings of a term in a span that a worker writes before the term has rows by span. Some
thousand spans a year bound a partition of ``rare_postings`` to this many rows a span and worker."""

INDEX = "recent"
"""Kind of the keys in Redis."""

SCRIPTS = Library("search/index.lua", "search/find.lua", "search/mend.lua")

IS = {"reply": 1, "retweet": 2, "quote": 4}
HAS = {"media": 8, "links": 16, "hashtags": 32, "mentions": 64}
"""Flags of a tweet."""

VERSION = 1 << 32
"""A version is an offset modulo this; see ``index.lua``."""

RUNS = 1024
"""Runs of postings in a segment; ``index.lua`` has the same number."""

TERMS_REMEMBERED_MAX = 100_000

_ID = Struct(">Q")
_FACTS = Struct(">HH")


class Window(msgspec.Struct, frozen=True):
    """Bounds of the real-time tier, for each bucket.

    Attributes:
        tweets: Of one segment; at most 65,535.
        segments: Of one bucket; at least 2.
        hours: A segment of which all is older than this, by the newest tweet, is dropped when the
            next one begins.
    """

    tweets: int = 32_768
    segments: int = 16
    hours: int = 168

    @property
    def span(self) -> int:
        """The hours in units of the upper half of an id, 2^10 ms each."""
        return self.hours * 3_600_000 >> 10


class Document(msgspec.Struct, frozen=True, gc=False):
    """What is known of a post: who, since which record, its language and flags, and its terms."""

    tweet_id: int
    author_id: int
    posted_at: int
    language: str
    flags: int
    terms: list[Term]


def document(event: TweetPosted, offset: int) -> Document:
    """Returns what a post is indexed by."""
    parsed = entities.parse(event.text)
    terms = indexed(event.text, event.lang, parsed)
    terms.append(Term(by_author(event.user_id), 0))
    terms.append(Term(in_conversation(event.conversation_id), 0))
    if event.reply_to_user_id is not None:
        terms.append(Term(to_user(event.reply_to_user_id), 0))
    kinds = (
        (IS["reply"], event.reply_to_id is not None),
        (IS["retweet"], event.retweet_of_id is not None),
        (IS["quote"], event.quote_of_id is not None),
        (HAS["media"], event.media_ids),
        (HAS["links"], parsed.urls),
        (HAS["hashtags"], parsed.hashtags),
        (HAS["mentions"], parsed.mentions),
    )
    flags = sum(flag for flag, so in kinds if so)
    language = language_of(event.lang)
    return Document(event.tweet_id, event.user_id, offset, language, flags, terms)


def by_author(user_id: int) -> str:
    """Term of who wrote a tweet."""
    return f"from:{user_id}"


def to_user(user_id: int) -> str:
    """Term of whom a reply answers."""
    return f"to:{user_id}"


def in_conversation(tweet_id: int) -> str:
    """Term of the conversation that a tweet belongs to, by the tweet that began it."""
    return f"conversation:{tweet_id}"


@lru_cache(TERMS_REMEMBERED_MAX)
def hash_of(term: str) -> bytes:
    """Returns what stands for a term in Redis: its run (2 bytes) and 4 bytes that tell it from the
    others of that run.

    42 bits: of a million terms one is taken for a given other with a probability of 2^-22.
    """
    digest = blake2b(term.encode(), digest_size=6).digest()
    run = int.from_bytes(digest[:2], "big") % RUNS
    return run.to_bytes(2, "big") + digest[2:]


def index_key(keys: Keys, bucket: int) -> bytes:
    """Returns the name of a bucket's index, which its keys begin with."""
    return keys.prefix(INDEX, bucket) + keys.unit.encode()


def packed_id(tweet_id: int) -> bytes:
    """Returns an id as scripts compare it."""
    return _ID.pack(tweet_id)


def ids_of(packed: bytes) -> list[int]:
    """Returns ids that a script has put one after the other."""
    return [tweet_id for (tweet_id,) in _ID.iter_unpack(packed)]


def author_mark(author_id: int) -> bytes:
    """Returns what tells an author's post of an id from another author's, 4 bytes."""
    return blake2b(_ID.pack(author_id), digest_size=4).digest()


@lru_cache(1024)
def language_code(language: str) -> int:
    """Returns a language in two bytes: its first three letters; 0 for what is no language."""
    code = 0
    for letter in language[:3].ljust(3, "`"):
        digit = ord(letter) - ord("`")
        if not 0 <= digit <= 26:
            return 0
        code = code * 27 + digit
    return code


def packed_facts(one: Document) -> bytes:
    """Returns language and flags as a record has them."""
    return _FACTS.pack(language_code(one.language), one.flags)


def terms_packed(packed: bytes) -> set[tuple[bytes, int]]:
    """Returns the hashes and places that :func:`packed_terms` has packed."""
    return {(packed[at : at + 6], packed[at + 6]) for at in range(0, len(packed), 7)}


def packed_terms(terms: Iterable[Term]) -> bytes:
    """Returns terms as a script takes them, 7 bytes each: the hash, and the place."""
    return b"".join(hash_of(term) + bytes((place,)) for term, place in terms)
