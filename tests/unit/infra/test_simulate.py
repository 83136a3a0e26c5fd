"""The simulated population: deterministic, plausible, valid, and with the conflicts it promises."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import islice

import msgspec
import pytest

from events.types import (
    Event,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
    UserFollowed,
    UserRegistered,
    key_of,
    topic_of,
)
from infra.simulate.clock import VirtualClock, virtual_ids
from infra.simulate.generator import Plan, Simulation
from infra.simulate.population import rhythm
from tests.oracle import LogRecord, Oracle

START_MS = 1_750_000_000_000
USERS = 300
COUNT = 30_000


def simulate(seed: int, count: int = COUNT, users: int = USERS) -> list[Event]:
    clock = VirtualClock(START_MS, rate=1_000.0)
    plan = Plan(users=users, seed=seed, follows_mean=15.0, day_seconds=20.0)
    return list(islice(Simulation(plan, clock, virtual_ids(clock)).events(), count))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return simulate(seed=7)


def test_a_seed_gives_the_same_events_and_another_gives_others(events: list[Event]) -> None:
    assert simulate(seed=7) == events
    assert simulate(seed=8) != events


def test_every_event_is_valid_and_every_kind_occurs(events: list[Event]) -> None:
    for event in events:
        assert msgspec.convert(msgspec.to_builtins(event), type(event)) == event
    kinds = {type(event).__name__ for event in events}
    assert kinds == {
        "UsernameClaimed",
        "UserRegistered",
        "ProfileChanged",
        "UserDeactivated",
        "UserReactivated",
        "UserErased",
        "TweetPinned",
        "TweetUnpinned",
        "TweetPosted",
        "TweetDeleted",
        "TweetLiked",
        "TweetUnliked",
        "TweetViewed",
        "UserFollowed",
        "UserUnfollowed",
        "UserBlocked",
        "UserUnblocked",
        "UserMuted",
        "UserUnmuted",
        "ListCreated",
        "ListChanged",
        "ListDeleted",
        "ListMemberAdded",
        "ListMemberRemoved",
        "TweetBookmarked",
        "TweetUnbookmarked",
    }


def test_texts_are_within_the_limit_and_in_nfc(events: list[Event]) -> None:
    posts = [event for event in events if isinstance(event, TweetPosted)]
    for post in posts:
        assert unicodedata.is_normalized("NFC", post.text)
        assert len(post.text) <= 280
        assert (post.text == "") == (post.retweet_of_id is not None)
    assert any("#" in post.text for post in posts)
    assert any("@" in post.text for post in posts)
    assert any(post.quote_of_id for post in posts)
    assert any(post.reply_to_user_id == post.user_id for post in posts)


def test_a_part_of_the_events_comes_twice_with_one_id(events: list[Event]) -> None:
    times = Counter(event.event_id for event in events)
    assert set(times.values()) == {1, 2}
    twice = sum(1 for count in times.values() if count == 2)
    assert 0.005 * COUNT < twice < 0.02 * COUNT
    first = {event.event_id: event for event in reversed(events)}
    assert all(first[event.event_id] == event for event in events)


def test_follows_are_heavy_tailed(events: list[Event]) -> None:
    targets = Counter(e.target_user_id for e in events if isinstance(e, UserFollowed))
    counts = sorted(targets.values(), reverse=True)
    assert sum(counts[: USERS // 100]) > 0.1 * sum(counts)
    assert counts[0] > USERS / 2


def test_likes_and_views_are_heavy_tailed_and_sometimes_repeated(events: list[Event]) -> None:
    about = [e for e in events if isinstance(e, TweetLiked | TweetUnliked | TweetViewed)]
    counts = sorted(Counter(e.tweet_id for e in about).values(), reverse=True)
    assert len(about) > 0.1 * COUNT
    assert sum(counts[: len(counts) // 100]) > 0.1 * sum(counts)
    assert counts[len(counts) // 2] <= 2
    likes = [(e.user_id, e.tweet_id) for e in events if isinstance(e, TweetLiked)]
    assert len(set(likes)) < len(likes)


def test_usernames_are_valid_and_unique(events: list[Event]) -> None:
    names = {e.user_id: e.username for e in events if isinstance(e, UserRegistered)}
    assert len(set(names.values())) == len(names) == USERS
    assert all(len(name) <= 15 and name.isascii() for name in names.values())
    assert all(name.replace("_", "").isalnum() for name in names.values())


def test_strangers_try_to_delete_and_references_hold(events: list[Event]) -> None:
    author_of: dict[int, int] = {}
    strangers = 0
    for event in events:
        if isinstance(event, TweetPosted):
            author_of[event.tweet_id] = event.user_id
            for tweet_id, user_id in (
                (event.reply_to_id, event.reply_to_user_id),
                (event.retweet_of_id, event.retweet_of_user_id),
                (event.quote_of_id, event.quote_of_user_id),
            ):
                if tweet_id is not None:
                    assert author_of[tweet_id] == user_id
        elif isinstance(event, TweetDeleted):
            strangers += author_of[event.tweet_id] != event.user_id
    assert strangers > 0


def test_ids_are_near_the_time_of_their_events(events: list[Event]) -> None:
    for event in events:
        assert abs((event.event_id >> 22) + 1288834974657 - event.occurred_at) < 1_000


def test_the_oracle_sees_conflicts_in_most_home_timelines(events: list[Event]) -> None:
    offsets: Counter[tuple[str, int]] = Counter()
    oracle = Oracle()
    for event in events:
        source = (topic_of(event), key_of(event)[-1] % 4)
        oracle.feed(LogRecord(*source, offsets[source], event))
        offsets[source] += 1
    homes = [oracle.home(user) for user in oracle.users()]
    assert sum(1 for home in homes if len(home) > 50) > USERS / 2
    hidden = 0
    for user in oracle.users():
        sources = [user, *oracle.following(user)]
        seen = {t for author in sources for t in oracle.user_timeline(author, replies=True)}
        hidden += len(seen - set(oracle.home(user)))
    assert hidden > COUNT / 10


def test_nights_are_quiet() -> None:
    day = [rhythm(hour / 24, region=0) for hour in range(24)]
    assert min(day) < 0.3
    assert max(day) > 1.7
    assert rhythm(0.3, region=1) == pytest.approx(rhythm(0.05, region=0))


def test_virtual_ids_ascend_past_a_full_millisecond() -> None:
    clock = VirtualClock(START_MS, rate=1.0)
    mint = virtual_ids(clock, machine=3)
    ids = [mint() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {(i >> 12) & 1023 for i in ids} == {3}
    assert ids[-1] >> 22 == (ids[0] >> 22) + 2


def test_a_population_of_nobody_is_refused() -> None:
    clock = VirtualClock(START_MS, rate=1.0)
    with pytest.raises(ValueError, match="at least 10 users"):
        Simulation(Plan(users=3, seed=1), clock, virtual_ids(clock))
