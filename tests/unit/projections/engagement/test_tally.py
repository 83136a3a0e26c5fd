"""Counting is exact whatever way records come: against the oracle, over a store made of dicts.

The model keeps the three rules of order that the writers keep, and nothing else: slices below are
durable before a slice is applied, memberships are read before registers, registers are written
before memberships. Hypothesis chooses the history, the cuts, and where each attempt is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from events.slices import Record
from events.types import Event, TweetDeleted, TweetLiked, TweetUnliked, TweetViewed
from projections.engagement.layout import Family, Likes
from projections.engagement.tally import (
    UNKNOWN,
    Child,
    Referral,
    advance,
    child_of,
    gather,
    recount,
    replay,
    retally,
)
from tests.oracle import LogRecord
from tests.oracle_engagement import EngagementOracle, TweetCounts
from tests.posts import post

TWEETS = (100, 101)
USERS = st.integers(1, 4)


def _liked(tweet: int, user: int) -> Event:
    return TweetLiked(event_id=1, occurred_at=1, tweet_id=tweet, tweet_author_id=9, user_id=user)


def _unliked(tweet: int, user: int) -> Event:
    return TweetUnliked(event_id=1, occurred_at=1, tweet_id=tweet, tweet_author_id=9, user_id=user)


def _viewed(tweet: int, user: int) -> Event:
    return TweetViewed(event_id=1, occurred_at=1, tweet_id=tweet, user_id=user)


def _posted(child: int, kind: int, parent: int) -> Event:
    references = [parent if (kind in (n, 3) and n != 1) or kind == n else None for n in range(3)]
    return post(
        child,
        5,
        event_id=1,
        text="",
        reply_to_id=references[0],
        retweet_of_id=references[1],
        quote_of_id=references[2],
    )


def _deleted(child: int, user: int) -> Event:
    return TweetDeleted(event_id=1, occurred_at=1, tweet_id=child, user_id=user)


ENGAGEMENTS = st.lists(
    st.builds(
        lambda make, tweet, user: make(tweet, user),
        st.sampled_from((_liked, _liked, _unliked, _viewed)),
        st.sampled_from(TWEETS),
        USERS,
    ),
    max_size=25,
)
CHILDREN = st.lists(
    st.one_of(
        # A child's id says what it refers to: a repeated post is the same event again.
        st.builds(
            lambda n, parent: _posted(1000 + 10 * n + parent, n, parent),
            st.integers(0, 4),
            st.sampled_from(TWEETS),
        ),
        st.builds(
            lambda n, parent, user: _deleted(1000 + 10 * n + parent, user),
            st.integers(0, 4),
            st.sampled_from(TWEETS),
            st.sampled_from((5, 5, 6)),
        ),
    ),
    max_size=25,
)
ATTEMPTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8)), max_size=60)
"""Of each attempt: how many records it takes, and after how many writes it is cut off."""


class CutOffError(Exception):
    """The worker died."""


@dataclass
class ModelStore:
    """Registers and rows; each keeps the write with the highest timestamp."""

    likes: dict[int, Likes] = field(default_factory=dict)
    members: dict[tuple[int, int], tuple[int, bool]] = field(default_factory=dict)
    families: dict[int, Family] = field(default_factory=dict)
    referrals: dict[Child, Referral] = field(default_factory=dict)
    writes_left: int = 0

    def _write(self) -> None:
        if not self.writes_left:
            raise CutOffError
        self.writes_left -= 1

    def apply_engagements(self, records: list[Record]) -> None:
        touched = gather(records)
        likers = {
            tweet: {u for (t, u), (_, liked) in self.members.items() if t == tweet and liked}
            for tweet in touched
        }
        for tweet, users in likers.items():
            about = [r for r in records if r.event.tweet_id == tweet]  # type: ignore[attr-defined]
            now = recount(self.likes.get(tweet, Likes()), about, users)
            self._write()
            if now.position >= self.likes.get(tweet, Likes()).position:
                self.likes[tweet] = now
        for tweet, seen in touched.items():
            for user, record in seen.last.items():
                self._write()
                row = (record.offset, isinstance(record.event, TweetLiked))
                self.members[tweet, user] = max(row, self.members.get((tweet, user), (-1, False)))

    def apply_children(self, records: list[Record]) -> None:
        state = dict(self.referrals)
        for parent, now in retally(self.families, replay(state, records)).items():
            self._write()
            self.families[parent] = now
        for record in records:
            child = child_of(record)
            if child is not None:
                self._write()
                self.referrals[child] = advance(self.referrals.get(child, UNKNOWN), record)


def _cuts(records: list[Record], attempts: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yields begin, end and writes of each attempt; what is left over comes in one piece, whole."""
    for take, writes in attempts:
        yield 0, take, writes
    yield 0, len(records), 10_000


def _feed(
    store: ModelStore, events: list[Event], attempts: list[tuple[int, int]], topic: str
) -> list[LogRecord]:
    records = [Record(offset, 0, made) for offset, made in enumerate(events)]
    apply = store.apply_engagements if topic == "engagements" else store.apply_children
    durable = 0
    cut_off = 0
    for _, take, writes in _cuts(records, attempts):
        store.writes_left = writes
        piece = records[durable : durable + take]
        try:
            apply(piece)
        except CutOffError:
            cut_off += 1
            continue
        durable += len(piece)
    note(f"cut off {min(cut_off, 5)} times")
    return [LogRecord(topic, 0, record.offset, record.event) for record in records]


@settings(max_examples=400)
@given(ENGAGEMENTS, ATTEMPTS)
def test_likes_and_views_are_those_of_the_oracle(
    events: list[Event], attempts: list[tuple[int, int]]
) -> None:
    store = ModelStore()
    oracle = EngagementOracle(_feed(store, events, attempts, "engagements"))
    for tweet in TWEETS:
        found = store.likes.get(tweet, Likes())
        wanted = oracle.counts(tweet)
        assert (found.likes, found.views) == (wanted.likes, wanted.views)


@settings(max_examples=400)
@given(CHILDREN, ATTEMPTS)
def test_children_are_those_of_the_oracle(
    events: list[Event], attempts: list[tuple[int, int]]
) -> None:
    store = ModelStore()
    oracle = EngagementOracle(_feed(store, events, attempts, "new-tweets"))
    for tweet in TWEETS:
        found = store.families.get(tweet, Family()).counts
        assert TweetCounts(0, 0, *found) == oracle.counts(tweet)


@settings(max_examples=200)
@given(ENGAGEMENTS, ATTEMPTS, st.integers(0, 25), st.integers(1, 8))
def test_a_late_writer_can_only_repeat(
    events: list[Event], attempts: list[tuple[int, int]], begin: int, size: int
) -> None:
    store = ModelStore()
    oracle = EngagementOracle(_feed(store, events, attempts, "engagements"))
    late = [Record(offset, 0, made) for offset, made in enumerate(events)][begin : begin + size]
    store.writes_left = 10_000
    store.apply_engagements(late)
    for tweet in TWEETS:
        found = store.likes.get(tweet, Likes())
        assert (found.likes, found.views) == (
            oracle.counts(tweet).likes,
            oracle.counts(tweet).views,
        )
        members = {u for (t, u), (_, liked) in store.members.items() if t == tweet and liked}
        assert members == set(oracle.liked_by(tweet))


def test_gather_keeps_the_last_word_of_each_user_and_trims() -> None:
    made = [_liked(100, 1), _viewed(100, 2), _unliked(100, 1), _liked(101, 1), _liked(100, 2)]
    records = [Record(10 + n, 0, event) for n, event in enumerate(made)]
    found = gather(records)
    assert (found[100].first, found[100].finish, found[100].views) == (10, 15, 1)
    assert found[100].split() == ([2], [1])
    trimmed = gather(records, {100: 12})
    assert list(trimmed) == [100]
    assert (trimmed[100].first, trimmed[100].views) == (12, 0)
    assert trimmed[100].split() == ([2], [1])
