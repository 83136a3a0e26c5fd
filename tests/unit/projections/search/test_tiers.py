"""Both tiers and the blender against the oracle, on random tweets and random queries."""

from __future__ import annotations

import itertools
import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.slices import LogRecord, Record, Slice
from events.snowflake import compose
from events.types import Event, TweetDeleted, TweetPosted
from projections.base import RetryableError, StateLost
from projections.keys import Keys
from projections.search.archive import ArchiveReader, all_of
from projections.search.layout import Window
from projections.search.part import NEWEST
from projections.search.program import compiled, names_in
from projections.search.query import tree
from projections.search.query.parse import parse
from projections.search.query.tree import Node
from projections.search.read import SearchReader
from projections.search.recent import RecentReader
from projections.search.unit import Search
from tests.memory.bus import MemoryBus
from tests.memory.redis import Redis
from tests.memory.store import Database, MemoryStore
from tests.oracle_search import SearchOracle
from tests.posts import post
from tests.unit.projections.search.trees import VOCABULARY, trees

AUTHORS = {"ann": 1, "Bob": 2, "zoe": 3}
BEGIN_MS = 1_700_000_000_000
SPAN_BITS = 22 + 14  # of 16 seconds
PARTITIONS = 2

times = st.integers(0, 60_000)


@st.composite
def histories(draw: st.DrawFn) -> list[LogRecord]:
    """Tweets of a minute, mostly in order, some deleted, by two partitions."""
    offsets = [0] * PARTITIONS
    posted: list[TweetPosted] = []
    records: list[LogRecord] = []
    for number in range(draw(st.integers(1, 25))):
        author = draw(st.sampled_from([*AUTHORS.values()]))
        at = BEGIN_MS + number * 2000 + draw(st.sampled_from((0, 0, 0, 7000, -9000)))
        about: dict[str, Any] = {}
        answers: bool = draw(st.booleans())
        if posted and answers:
            other = draw(st.sampled_from(posted))
            about = {"reply_to_id": other.tweet_id, "reply_to_user_id": other.user_id}
        words = draw(st.lists(st.sampled_from(VOCABULARY), max_size=5))
        lang = draw(st.sampled_from(("en", "de", "ja", None)))
        media = ["1"] if draw(st.booleans()) else []
        tweet = post(
            compose(at, 0, number),
            author,
            text=" ".join(words),
            lang=lang,
            media_ids=media,
            **about,
        )
        posted.append(tweet)
        events: list[Event] = [tweet]
        if draw(st.integers(0, 5)) == 0:
            gone = draw(st.sampled_from(posted))
            events.append(
                TweetDeleted(
                    event_id=1, occurred_at=1, tweet_id=gone.tweet_id, user_id=gone.user_id
                )
            )
        for event in events:
            partition = event.user_id % PARTITIONS  # type: ignore[attr-defined]
            records.append(LogRecord("new-tweets", partition, offsets[partition], event))
            offsets[partition] += 1
    return records


sought: st.SearchStrategy[Node] = st.one_of(
    st.sampled_from(VOCABULARY).map(tree.Words),
    st.sampled_from([*AUTHORS, "nobody"]).map(tree.From),
    st.sampled_from([*AUTHORS]).map(tree.To),
)
moments = times.map(lambda ms: compose(BEGIN_MS + ms, 0, 0))
narrowing: st.SearchStrategy[Node] = st.one_of(
    st.sampled_from(("en", "de", "ja", "und")).map(tree.Lang),
    st.sampled_from(("reply", "retweet")).map(tree.Is),
    st.sampled_from(("media", "hashtags", "mentions")).map(tree.Has),
    moments.map(tree.Newer),
    moments.map(tree.Older),
)


class Tiers:
    """A unit, and its reader, in memory."""

    def __init__(self, window: Window, budget: int) -> None:
        self.redis = Redis()
        bus, store = MemoryBus(self.redis), MemoryStore(Database(), "t1")
        keys = Keys("t1", "search", 2)
        self._made = partial(Search, bus, store, keys, window, span_bits=SPAN_BITS, few=2)
        self.unit = self._made()
        recent = RecentReader(bus, keys, budget)
        archive = ArchiveReader(store, spans_max=2, postings_max=3, span_bits=SPAN_BITS)
        self.recent, self.archive = recent, archive
        self.reader = SearchReader(
            bus, store, keys, recent=recent, archive=archive, archive_seconds=60
        )

    async def apply(self, history: list[LogRecord], longest: int) -> None:
        """Applies a history in slices of ``longest`` records."""
        self.unit = self._made()
        await self.unit.open()
        for partition in range(PARTITIONS):
            await self.unit.resume("new-tweets", partition, "id")
        at = 0
        while at < len(history):
            first, end = history[at], at + 1
            while end < min(at + longest, len(history)):
                if history[end].partition != first.partition:
                    break
                end += 1
            part = history[at:end]
            await self.unit.apply(_slice(part))
            at = end


@settings(max_examples=60)
@given(
    histories(),
    st.lists(trees(sought, narrowing), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from((1, 3)),
    st.sampled_from((20, 4000)),
    st.integers(1, 4),
)
async def test_what_both_tiers_find_is_what_the_oracle_finds(
    history: list[LogRecord],
    queries: list[Node],
    tweets: int,
    longest: int,
    budget: int,
    want: int,
) -> None:
    tiers = Tiers(Window(tweets=tweets, segments=3), budget)
    await tiers.apply(history, longest)
    folded = {name.casefold(): user for name, user in AUTHORS.items()}
    oracle = SearchOracle(history, lambda name: folded.get(name.casefold()))
    for query in queries:
        names = {name: folded.get(name.casefold()) for name in names_in(query)}
        kept = [one for one in tree.members(query) if not isinstance(one, tree.COUNTED)]
        asked = tree.joined(tree.And, kept)
        program = compiled(query, names)
        found: list[int] = []
        below = NEWEST
        while below:
            page = await tiers.reader.find(program, below, want)
            assert len(page.ids) <= want
            assert page.floor < below
            found += page.ids
            below = page.floor
        assert found == oracle.search(asked)
        counts: dict[int, int] = {}
        below = NEWEST
        while below:
            part = await tiers.reader.count(program, 60_000, below)
            assert part.floor < below
            for start, number in part.by_start.items():
                counts[start] = counts.get(start, 0) + number
            below = part.floor
        assert counts == oracle.counts(asked, 60_000)


async def test_an_index_that_was_lost_begins_above_all_that_it_had() -> None:
    tweets = [post(compose(BEGIN_MS + n, 0, 0), 1, text="cat") for n in range(20)]
    history = [LogRecord("new-tweets", 0, n, tweet) for n, tweet in enumerate(tweets)]
    tiers = Tiers(Window(), 4000)
    await tiers.apply(history[:12], 5)
    late = tiers.unit
    tiers.redis.flush()
    program = compiled(tree.Words("cat"), {})
    assert (await tiers.recent.find(program, NEWEST, 0, 50))[0].ids == []
    await tiers.apply(history[12:16], 5)
    for key in [key for key in tiers.redis.values if not key.endswith((b"positions", b"applied}"))]:
        tiers.redis.values.pop(key)
    with pytest.raises(StateLost):  # a worker that goes on must not make an index of its own
        await tiers.unit.apply(_slice(history[16:18]))
    with pytest.raises(StateLost):
        await late.apply(_slice(history[16:18]))
    await tiers.apply(history[16:], 5)
    recent, border = await tiers.recent.find(program, NEWEST, 0, 50)
    assert recent.ids == [tweet.tweet_id for tweet in tweets[:15:-1]]
    assert border == tweets[15].tweet_id + 1
    found = await tiers.reader.find(program, NEWEST, 50)
    assert found.ids == [tweet.tweet_id for tweet in reversed(tweets)]


async def test_what_is_shown_and_not_archived_is_there_once_after_the_next_worker() -> None:
    """Found before the archive has it; applied again whole by whoever begins there."""
    tweets = [post(compose(BEGIN_MS + n, 0, 0), 1, text="cat") for n in range(8)]
    history = [LogRecord("new-tweets", 0, n, tweet) for n, tweet in enumerate(tweets)]
    tiers = Tiers(Window(), 4000)
    await tiers.apply(history[:4], 2)
    program = compiled(tree.Words("cat"), {})

    async def away(store: MemoryStore, rows: object) -> None:
        raise RetryableError("the store is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryStore, "write", away)
        with pytest.raises(RetryableError):
            await tiers.unit.apply(_slice(history[4:7]))
    every = [tweet.tweet_id for tweet in reversed(tweets)]
    assert (await tiers.recent.find(program, NEWEST, 0, 50))[0].ids == every[1:]
    assert await all_of(tiers.archive, program) == every[4:]
    await tiers.apply(history[4:], 3)
    assert (await tiers.recent.find(program, NEWEST, 0, 50))[0].ids == every
    assert await all_of(tiers.archive, program) == every


def _slice(part: list[LogRecord]) -> Slice:
    records = [Record(record.offset, 0, record.event) for record in part]
    first, end = part[0], part[-1].offset + 1
    return Slice("new-tweets", first.partition, "id", first.offset, end, records)


async def test_frequent_words_have_lists_and_are_found_all_the_same() -> None:
    """Words by rank, so that some get lists; segments are full, begin, and are dropped."""
    rng = random.Random(5)
    vocabulary = [f"w{rank}x" for rank in range(60)]
    weights = [1 / (rank + 1) for rank in range(60)]
    history: list[LogRecord] = []
    for number in range(1_000):
        words = rng.choices(vocabulary, weights, k=6)
        at = BEGIN_MS + number // 3 + rng.choice((0, 0, 0, 700, -5))
        tweet = post(compose(at, 0, number), 1 + number % 3, text=" ".join(words), lang=None)
        history.append(LogRecord("new-tweets", 0, number, tweet))
    tiers = Tiers(Window(tweets=200, segments=3), 100_000)
    await tiers.apply(history, 90)
    assert any(key.endswith(b":f") and value for key, value in tiers.redis.values.items())
    oracle = SearchOracle(history, AUTHORS.get)
    texts = [" ".join(pair) for pair in itertools.product(vocabulary[:4], vocabulary[:40:7])]
    texts += [f'"{text}"' for text in texts] + vocabulary
    texts += [f"from:ann {word}" for word in vocabulary[::9]]
    texts += [f"({a} OR {b}) -{c}" for a, b, c in zip(*[iter(vocabulary)] * 3, strict=True)]
    for text in texts:
        query = parse(text)
        found, border = await tiers.recent.find(compiled(query, AUTHORS), NEWEST, 0, 20)
        expected = oracle.search(query)
        assert found.ids[:20] == [i for i in expected if i >= found.floor][:20], text
        assert len(found.ids) >= 20 or found.floor == border, text
        below = expected[5] if len(expected) > 5 else NEWEST
        older, _ = await tiers.recent.find(compiled(query, AUTHORS), below, 0, 7)
        wanted = [i for i in expected if older.floor <= i < below]
        assert older.ids[:7] == wanted[:7] and len(wanted) >= min(7, len(older.ids)), text
        recent, border = await tiers.recent.count(compiled(query, AUTHORS), NEWEST, 0, 1)
        assert recent.floor == border and sum(recent.by_start.values()) == sum(
            i >= border for i in expected
        ), text
