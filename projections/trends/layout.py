"""Tables, keys and measures of the trends unit; writers and readers share this page.

All that is not about one author stands under a *scope*, the unit's name with the topics' prefix:
two logs never mix.

Time is cut into *slots* by when tweets were posted (``created_at``); a *window* is the
``WINDOW_SLOTS`` slots before its end, a *block* a window whose end is a multiple of its length.

Facts (Cassandra):

- ``trend_uses`` by slot and shard (of the term), then term, author and tweet: that an author used
  a term. Partitions of the log that hold different authors meet in these rows: a row is there or
  not, however often it is written, so what is counted is counted once. Of two posts of one id the
  first counts (``first``). They live for ``USES_SECONDS``.
- ``trend_uses_of`` by author, newest first: the same, for whoever follows him. ``OWN_SECONDS``.
- ``trend_slots`` by day: which slots hold anything.
- ``trend_clocks`` by source partition: the log's time of the last record that is applied
  (``latest``).

What is worked out of them (:mod:`projections.trends.leader`), each row a pure function of the uses,
the rules and the row before it, so that two processes can only write the same:

- ``trend_blocks`` by end and shard: the counts of a block, for the baseline. ``BLOCK_SECONDS``.
- ``trends`` by place and day, newest first: the trends of a window, for ever.
- ``trend_starts`` by day, newest first: what began to trend worldwide in a window and had not begun
  to in the ``QUIET_MS`` before, for ever. It is what people are told of.
- ``trend_leader``: who works them out, up to which window, and what trended in it.

Caches (Redis): ``trends`` by place, the newest row of it; ``trend_starts``, the newest of these.

Bounded by: ``TAGS_MAX + PHRASES_MAX`` rows a tweet; ``Rules.block_terms`` counts a block;
``TRENDS_MAX`` trends a place and window; ``STARTS_MAX`` windows of starts in a cache entry.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from events.snowflake import compose

SHARDS = 16
"""Partitions of a slot, by term. Never changed within a generation."""

WINDOW_SLOTS = 10
BLOCKS = 288
"""Windows of a day: the brief's 24 hours by five minutes."""

WORLDWIDE = 1
"""WOEID of the whole Earth (Yahoo GeoPlanet)."""

TRENDS_MAX = 50
DAY_MS = 86_400_000

USES_SECONDS = 2 * 86_400
OWN_SECONDS = 86_400
BLOCK_SECONDS = 4 * 86_400

QUIET_MS = DAY_MS
"""What began to trend is not told again for so long: a term at the threshold comes and goes."""

STARTS_MAX = 100
STARTS_DAYS = 7
"""Windows of starts that are told: the newest, in so many days before the last one worked out."""

CACHE = "trends"
STARTS = "trend_starts"
"""Kinds of the cache entries."""

TABLES = {
    "trend_uses": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, slot bigint, shard int, term text, author_id bigint, tweet_id bigint,
            print bigint, tags int, written text, woeid bigint, country bigint,
            PRIMARY KEY ((scope, slot, shard), term, author_id, tweet_id))""",
    "trend_uses_of": """
        CREATE TABLE IF NOT EXISTS {table} (
            author_id bigint, slot bigint, term text, tweet_id bigint, written text,
            PRIMARY KEY (author_id, slot, term, tweet_id))
        WITH CLUSTERING ORDER BY (slot DESC, term DESC, tweet_id DESC)""",
    "trend_slots": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, day bigint, slot bigint, PRIMARY KEY ((scope, day), slot))""",
    "trend_clocks": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, source text, appended_at bigint, PRIMARY KEY (scope, source))""",
    "trend_blocks": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, window_end bigint, shard int, counts blob,
            PRIMARY KEY ((scope, window_end), shard))""",
    "trends": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, woeid bigint, day bigint, window_end bigint, found blob,
            PRIMARY KEY ((scope, woeid, day), window_end))
        WITH CLUSTERING ORDER BY (window_end DESC)""",
    "trend_starts": """
        CREATE TABLE IF NOT EXISTS {table} (
            scope text, day bigint, window_end bigint, found blob,
            PRIMARY KEY ((scope, day), window_end))
        WITH CLUSTERING ORDER BY (window_end DESC)""",
    "trend_leader": """
        CREATE TABLE IF NOT EXISTS {table} (
            name text PRIMARY KEY, fence bigint, holder text, until_ms bigint,
            window_end bigint, standing blob)""",
}


class Shape(msgspec.Struct, frozen=True):
    """How time is cut, and what is too late; never changed within a generation.

    Attributes:
        slot_ms: Length of a slot, and how often trends are worked out.
        late_ms: A tweet that the log got so long after it was posted counts nothing; trends wait
            for as long.
        ahead_ms: Nor does one that was posted so far in the log's future.
    """

    slot_ms: int = 30_000
    late_ms: int = 30_000
    ahead_ms: int = 5_000

    @property
    def window_ms(self) -> int:
        """Length of a window, and of a block."""
        return self.slot_ms * WINDOW_SLOTS

    @property
    def baseline_ms(self) -> int:
        """What the baseline looks back on."""
        return self.window_ms * BLOCKS

    def slot(self, at_ms: int) -> int:
        """Returns the slot of a moment."""
        return at_ms // self.slot_ms

    def in_time(self, created_at: int, appended_at: int) -> bool:
        """Whether a tweet was appended close enough to when it says it was posted."""
        return -self.ahead_ms <= appended_at - created_at <= self.late_ms

    def slots_before(self, window_end: int) -> range:
        """Returns the slots of a window."""
        last = window_end // self.slot_ms
        return range(last - WINDOW_SLOTS, last)

    def blocks_before(self, window_end: int) -> range:
        """Returns the ends of the blocks that the baseline of a window is made of."""
        newest = window_end // self.window_ms * self.window_ms
        return range(newest - (BLOCKS - 1) * self.window_ms, newest + 1, self.window_ms)


class Rules(msgspec.Struct, frozen=True):
    """What it takes to trend.

    Attributes:
        score_min: The score must be above this.
        volume_min: So must what is counted worldwide, in people.
        place_volume_min: And in a country or city.
        young_hours: An account younger than this
        young_permille: counts so many thousandths of a person.
        tags_max: Of a tweet with more tags than this each counts the less.
        same_text_max: So many people with nearly the same text count in full.
        tail_share: Authors of a slot are the tail if they are fewer than this part of what must
            be passed.
        block_terms: Most counts that are kept of a block.
        never: What never trends, folded and without a sign: spam, and what is always there.
    """

    score_min: float = 3.0
    volume_min: int = 500
    place_volume_min: int = 200
    young_hours: float = 24.0
    young_permille: int = 250
    tags_max: int = 5
    same_text_max: int = 5
    tail_share: int = 10 * WINDOW_SLOTS
    block_terms: int = 20_000
    never: frozenset[str] = frozenset()

    @property
    def lowest(self) -> int:
        """The least that anything must be above."""
        return min(self.volume_min, self.place_volume_min)

    @property
    def tail(self) -> int:
        """In a slot, a term of fewer authors than this counts nothing: the long tail.

        Over a window that takes less than a tenth off what must be passed to trend, by default.
        """
        return max(1, self.lowest // self.tail_share)

    def volume_of(self, woeid: int) -> int:
        """Returns what a place's count must be above."""
        return self.volume_min if woeid == WORLDWIDE else self.place_volume_min


class Use(NamedTuple):
    """That an author used a term in a tweet; a row of ``trend_uses`` but for its key and term."""

    author_id: int
    tweet_id: int
    print: int
    tags: int
    written: str
    woeid: int | None
    country: int | None

    @property
    def places(self) -> set[int]:
        """The places that it counts in."""
        return {WORLDWIDE, self.country or WORLDWIDE, self.woeid or WORLDWIDE}


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """One trend of a place in one window.

    Attributes:
        term: As it is compared.
        name: As most people write it.
        started_at: End of the first window in which it trended without a break, in ms.
        volume: What was counted, in thousandths of a person.
        baseline: What is counted of it in an ordinary window, in thousandths of a person.
        score: See :mod:`projections.trends.scoring`.
        authors: Different people who used it.
        tweets: In how many tweets.
    """

    term: str
    name: str
    started_at: int
    volume: int
    baseline: int
    score: float
    authors: int
    tweets: int


class Began(msgspec.Struct, frozen=True, array_like=True):
    """A term that began to trend worldwide, and of how many people."""

    term: str
    name: str
    authors: int


class Start(msgspec.Struct, frozen=True, array_like=True):
    """What began to trend in one window.

    Attributes:
        window_end: When the window ended.
        began: The highest score first.
    """

    window_end: int
    began: list[Began]


def told_at(window_end: int, shape: Shape) -> int:
    """Returns the id under which the start of a window is told.

    It is the last one of the millisecond in which the window could first be worked out. A tweet
    would have it if a machine minted its 4,096th in just that one.
    """
    return compose(window_end + shape.late_ms, 0, 0) - 1


def standing_of(found: Mapping[int, Iterable[Trend]]) -> Standing:
    """Returns what stands after a window, by what trends in it."""
    return {
        place: {trend.term: trend.started_at for trend in trends} for place, trends in found.items()
    }


def shard_of(term: str) -> int:
    """Returns the shard of a term."""
    return crc32(term.encode()) % SHARDS


BEGAN = msgspec.msgpack.Decoder(list[Began])
"""Reads ``trend_starts.found``."""

FOUND = msgspec.json.Decoder(list[Trend])
"""Reads ``trends.found``."""

Standing = dict[int, dict[str, int]]
"""What trends, by place and term, and since when."""

STANDING = msgspec.msgpack.Decoder(Standing)
"""Reads ``trend_leader.standing``."""
