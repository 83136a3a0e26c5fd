"""Each clause of the oracle by a hand-written case, then two laws by hypothesis.

The laws: records fed again change nothing; the order in which partitions are fed changes nothing.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events.types import (
    Event,
    ProfileChanged,
    TweetDeleted,
    TweetPosted,
    UserBlocked,
    UserDeactivated,
    UserErased,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UsernameReleased,
    UserReactivated,
    UserRegistered,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
    key_of,
    topic_of,
)
from tests.oracle import LogRecord, Oracle

ANN, BOB, CAT, DAN = 1, 2, 3, 4


class World:
    """A log written by hand: one event a call, event ids ascending unless given."""

    def __init__(self, registered: tuple[int, ...] = (ANN, BOB, CAT, DAN)) -> None:
        self.records: list[LogRecord] = []
        for user in registered:
            self.register(user)

    def add(self, kind: type[Event], **fields: Any) -> int:
        event_id = fields.pop("event_id", 1000 + len(self.records))
        event: Event = kind(event_id=event_id, occurred_at=0, **fields)
        return self.append(event)

    def append(self, event: Event) -> int:
        self.records.append(LogRecord(topic_of(event), 0, len(self.records), event))
        return event.event_id

    def register(self, user: int) -> None:
        self.add(UserRegistered, user_id=user, username=f"u{user}", name=f"U {user}", created_at=0)

    def post(self, user: int, tweet: int, **fields: Any) -> None:
        fields.setdefault("conversation_id", tweet)
        self.add(TweetPosted, tweet_id=tweet, user_id=user, text="x", created_at=0, **fields)

    def retweet(self, user: int, tweet: int, of: int, author: int) -> None:
        self.post(user, tweet, retweet_of_id=of, retweet_of_user_id=author)

    def reply(self, user: int, tweet: int, to: int, author: int) -> None:
        self.post(user, tweet, reply_to_id=to, reply_to_user_id=author, conversation_id=to)

    def delete(self, user: int, tweet: int) -> None:
        self.add(TweetDeleted, tweet_id=tweet, user_id=user)

    def between(self, kind: type[Event], user: int, target: int, **fields: Any) -> int:
        return self.add(kind, user_id=user, target_user_id=target, **fields)

    def follow(self, user: int, target: int) -> int:
        return self.between(UserFollowed, user, target)

    def oracle(self) -> Oracle:
        return Oracle(self.records)


# --- home ---


def test_home_has_own_and_followed_tweets_newest_first() -> None:
    world = World()
    world.follow(ANN, BOB)
    world.post(BOB, 30)
    world.post(ANN, 20)
    world.post(BOB, 10)
    world.post(CAT, 40)
    assert world.oracle().home(ANN) == [30, 20, 10]
    assert world.oracle().home(ANN, limit=2) == [30, 20]


def test_unfollow_takes_tweets_out_and_refollow_brings_them_back() -> None:
    world = World()
    world.post(BOB, 10)
    world.follow(ANN, BOB)
    world.between(UserUnfollowed, ANN, BOB)
    assert world.oracle().home(ANN) == []
    world.follow(ANN, BOB)
    assert world.oracle().home(ANN) == [10]


def test_a_follow_of_oneself_never_counts() -> None:
    world = World()
    world.follow(ANN, ANN)
    world.post(ANN, 10)
    oracle = world.oracle()
    assert oracle.home(ANN) == [10]
    assert not oracle.is_following(ANN, ANN)
    assert oracle.following_count(ANN) == oracle.followers_count(ANN) == 0


def test_a_block_by_either_side_ends_the_follow_for_good() -> None:
    for blocker, blocked in ((ANN, BOB), (BOB, ANN)):
        world = World()
        world.post(BOB, 10)
        world.follow(ANN, BOB)
        world.between(UserBlocked, blocker, blocked)
        assert world.oracle().home(ANN) == []
        world.between(UserUnblocked, blocker, blocked)
        assert world.oracle().home(ANN) == []
        world.follow(ANN, BOB)
        assert world.oracle().home(ANN) == [10]


def test_follow_and_block_compare_by_event_id_not_by_arrival() -> None:
    world = World()
    world.between(UserBlocked, BOB, ANN, event_id=50)
    world.between(UserUnblocked, BOB, ANN, event_id=51)
    world.between(UserFollowed, ANN, BOB, event_id=49)
    world.between(UserBlocked, ANN, BOB, event_id=30)
    world.between(UserFollowed, ANN, BOB, event_id=48)
    assert not world.oracle().is_following(ANN, BOB)  # the newest block counts, not the last
    world.between(UserFollowed, ANN, BOB, event_id=52)
    assert world.oracle().is_following(ANN, BOB)
    world.between(UserBlocked, ANN, BOB, event_id=10)  # older than the follow
    assert world.oracle().is_following(ANN, BOB)
    world.between(UserUnfollowed, ANN, BOB, event_id=40)  # later by offset: it is the last
    assert not world.oracle().is_following(ANN, BOB)


def test_mute_hides_and_unmute_shows_without_touching_the_follow() -> None:
    world = World()
    world.post(BOB, 10)
    world.follow(ANN, BOB)
    world.between(UserMuted, ANN, BOB)
    assert world.oracle().home(ANN) == []
    assert world.oracle().is_following(ANN, BOB)
    world.between(UserUnmuted, ANN, BOB)
    assert world.oracle().home(ANN) == [10]


def test_retweets_of_a_blocked_or_muted_author_are_hidden() -> None:
    for kind, user, target in (
        (UserMuted, ANN, CAT),
        (UserBlocked, ANN, CAT),
        (UserBlocked, CAT, ANN),
    ):
        world = World()
        world.follow(ANN, BOB)
        world.post(CAT, 10)
        world.retweet(BOB, 20, of=10, author=CAT)
        assert world.oracle().home(ANN) == [20]
        world.between(kind, user, target)
        assert world.oracle().home(ANN) == []
        assert world.oracle().home(BOB) == [20]


def test_deletion_only_by_the_author_and_whichever_comes_first() -> None:
    world = World()
    world.post(ANN, 10)
    world.delete(BOB, 10)
    assert world.oracle().home(ANN) == [10]
    world.delete(ANN, 10)
    assert world.oracle().home(ANN) == []
    world.delete(ANN, 20)
    world.post(ANN, 20)
    assert world.oracle().home(ANN) == []
    assert world.oracle().tweet(20) is None


def test_a_second_post_of_an_id_changes_nothing() -> None:
    world = World()
    world.post(ANN, 10, lang="de")
    world.post(ANN, 10, lang="en")
    world.append(world.records[-1].event)
    oracle = world.oracle()
    tweet = oracle.tweet(10)
    assert tweet is not None
    assert tweet.lang == "de"
    assert oracle.home(ANN) == [10]


def test_a_retweet_goes_with_its_original() -> None:
    world = World()
    world.follow(ANN, BOB)
    world.post(CAT, 10)
    world.retweet(BOB, 20, of=10, author=CAT)
    world.retweet(BOB, 21, of=11, author=CAT)  # an original that never was
    assert world.oracle().home(ANN) == [20]
    world.add(UserDeactivated, user_id=CAT)
    assert world.oracle().home(ANN) == world.oracle().user_timeline(BOB) == []
    world.add(UserReactivated, user_id=CAT)
    assert world.oracle().home(ANN) == world.oracle().user_timeline(BOB) == [20]
    world.delete(CAT, 10)
    assert world.oracle().home(ANN) == world.oracle().user_timeline(BOB) == []


def test_of_several_retweets_the_newest_that_remains() -> None:
    world = World()
    world.post(DAN, 10)
    world.follow(ANN, BOB)
    world.follow(ANN, CAT)
    world.follow(ANN, DAN)
    world.retweet(BOB, 20, of=10, author=DAN)
    world.retweet(CAT, 30, of=10, author=DAN)
    assert world.oracle().home(ANN) == [30, 10]
    world.between(UserMuted, ANN, CAT)
    assert world.oracle().home(ANN) == [20, 10]


def test_replies_show_only_towards_viewer_author_or_followed() -> None:
    world = World()
    world.follow(ANN, BOB)
    world.post(ANN, 10)
    world.post(BOB, 11)
    world.post(CAT, 12)
    world.reply(BOB, 20, to=10, author=ANN)
    world.reply(BOB, 21, to=11, author=BOB)
    world.reply(BOB, 22, to=12, author=CAT)
    world.post(BOB, 23, reply_to_id=9)  # nobody knows to whom
    world.reply(ANN, 24, to=12, author=CAT)  # the viewer's own, to a stranger
    assert world.oracle().home(ANN) == [21, 20, 11, 10]
    world.follow(ANN, CAT)
    assert world.oracle().home(ANN) == [24, 22, 21, 20, 12, 11, 10]


def test_authors_who_are_not_active_or_never_registered_are_out() -> None:
    world = World(registered=(ANN, BOB))
    world.follow(ANN, BOB)
    world.follow(ANN, CAT)
    world.post(BOB, 10)
    world.post(CAT, 20)
    assert world.oracle().home(ANN) == [10]
    world.register(CAT)
    world.add(UserDeactivated, user_id=BOB)
    assert world.oracle().home(ANN) == [20]
    world.add(UserReactivated, user_id=BOB)
    assert world.oracle().home(ANN) == [20, 10]
    world.add(UserErased, user_id=BOB)
    world.add(UserReactivated, user_id=BOB)
    world.add(UserDeactivated, user_id=BOB)
    assert world.oracle().home(ANN) == [20]
    profile = world.oracle().profile(BOB)
    assert profile is not None
    assert profile.status == "erased"


# --- user timelines, lists, accounts ---


def test_user_timeline_with_and_without_replies() -> None:
    world = World()
    world.post(ANN, 10)
    world.reply(ANN, 11, to=10, author=ANN)
    world.post(BOB, 12)
    world.reply(ANN, 13, to=12, author=BOB)
    world.retweet(ANN, 14, of=12, author=BOB)
    world.between(UserBlocked, BOB, ANN)
    oracle = world.oracle()
    assert oracle.user_timeline(ANN) == [14, 11, 10]
    assert oracle.user_timeline(ANN, replies=True) == [14, 13, 11, 10]
    assert oracle.user_timeline(ANN, replies=True, limit=1) == [14]


def test_lists_leave_out_inactive_accounts_and_counts_keep_them() -> None:
    world = World()
    world.follow(ANN, BOB)
    world.follow(ANN, CAT)
    world.follow(BOB, CAT)
    world.add(UserDeactivated, user_id=BOB)
    oracle = world.oracle()
    assert oracle.following(ANN) == [CAT]
    assert oracle.following_count(ANN) == 2
    assert oracle.followers(CAT) == [ANN]
    assert oracle.followers_count(CAT) == 2


def test_profile_changes_touch_only_what_they_name() -> None:
    world = World(registered=(ANN,))
    world.add(ProfileChanged, user_id=ANN, name="Ann", url="")
    world.add(ProfileChanged, user_id=ANN, location="Ulm")
    world.register(ANN)
    world.add(ProfileChanged, user_id=BOB, name="nobody")
    oracle = world.oracle()
    profile = oracle.profile(ANN)
    assert profile is not None
    assert (profile.name, profile.location, profile.username) == ("Ann", "Ulm", "u1")
    assert oracle.profile(BOB) is None


def test_the_first_claim_holds_a_name_until_its_holder_releases_it() -> None:
    world = World()
    world.add(UsernameClaimed, username_key="straße".casefold(), username="Straße", user_id=ANN)
    world.add(UsernameClaimed, username_key="strasse", username="STRASSE", user_id=BOB)
    assert world.oracle().holder("strasse") == ANN
    world.add(UsernameReleased, username_key="strasse", user_id=BOB)
    assert world.oracle().holder("STRASSE") == ANN
    world.add(UsernameReleased, username_key="strasse", user_id=ANN)
    assert world.oracle().holder("strasse") is None
    world.add(UsernameClaimed, username_key="strasse", username="strasse", user_id=BOB)
    assert world.oracle().holder("Strasse") == BOB


# --- laws ---

USERS = st.integers(ANN, DAN)
PAIR_KINDS = (
    UserFollowed,
    UserFollowed,
    UserUnfollowed,
    UserBlocked,
    UserUnblocked,
    UserMuted,
    UserUnmuted,
)


@st.composite
def logs(draw: st.DrawFn) -> list[list[LogRecord]]:
    """Partitions of a small log: every event in the partition of its key, event ids arbitrary."""
    steps = draw(st.lists(st.tuples(st.integers(0, 12), USERS, USERS, USERS), max_size=60))
    ids = draw(st.permutations(range(1, len(steps) + 1)))
    partitions: dict[tuple[str, int], list[LogRecord]] = {}
    world = World()
    for (choice, user, other, tweet), event_id in zip(steps, ids, strict=True):
        if choice < len(PAIR_KINDS):
            world.between(PAIR_KINDS[choice], user, other, event_id=event_id)
        elif choice == 7:
            kind = (UserDeactivated, UserReactivated, UserErased)[event_id % 3]
            world.add(kind, user_id=user, event_id=event_id)
        elif choice == 8:
            world.delete(user, 10 * user + tweet)
        elif choice == 9:
            world.reply(user, 10 * user + tweet, to=10 * other + 1, author=other)
        elif choice == 10:
            world.retweet(user, 10 * user + tweet, of=10 * other + 1, author=other)
        else:
            world.post(user, 10 * user + tweet)
    for record in world.records:
        partition = key_of(record.event)[-1] % 2
        log = partitions.setdefault((record.topic, partition), [])
        log.append(LogRecord(record.topic, partition, len(log), record.event))
    return list(partitions.values())


def answers(oracle: Oracle) -> list[object]:
    """Everything a reader can ask, for comparison."""
    users = range(ANN, DAN + 1)
    return [
        (
            oracle.home(user),
            oracle.user_timeline(user),
            oracle.user_timeline(user, replies=True),
            oracle.followers(user),
            oracle.following(user),
            oracle.followers_count(user),
            oracle.profile(user),
            [oracle.is_blocking(user, other) for other in users],
        )
        for user in users
    ]


@given(logs(), st.randoms(use_true_random=False))
def test_the_order_of_partitions_changes_nothing(
    partitions: list[list[LogRecord]], random: Any
) -> None:
    in_order = Oracle(record for log in partitions for record in log)
    queues = [list(reversed(log)) for log in partitions]
    interleaved = Oracle()
    while queues := [queue for queue in queues if queue]:
        interleaved.feed(random.choice(queues).pop())
    assert answers(interleaved) == answers(in_order)


@given(logs(), st.randoms(use_true_random=False))
def test_redelivery_changes_nothing(partitions: list[list[LogRecord]], random: Any) -> None:
    once = Oracle(record for log in partitions for record in log)
    redelivered = Oracle()
    for log in partitions:
        done = 0
        while done < len(log):
            start, end = random.randint(0, done), random.randint(done + 1, len(log))
            for record in log[start:end]:  # a worker that resumes from an older position
                redelivered.feed(record)
            done = end
        for record in log[: random.randint(0, len(log))]:
            redelivered.feed(record)
    assert answers(redelivered) == answers(once)
