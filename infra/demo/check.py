"""Home timelines and counts over HTTP against the oracle's, and why they differ where they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Protocol

import msgspec

from events.slices import LogRecord
from events.types import TweetDeleted, TweetPosted
from gateway.queries.notifications import NAMES_MAX
from infra.demo.convergence import Offsets
from infra.demo.reading import HomeReader
from infra.diff.explain import words

if TYPE_CHECKING:
    from tests.oracle import Oracle

EXPLAINED_MAX = 5
EVENTS_SHOWN_MAX = 12


class Records(Protocol):
    """What `LogView` gives: the log's records."""

    def records(self, start: Offsets, end: Offsets) -> AsyncIterator[LogRecord]:
        """Every event between two sets of offsets."""
        ...


class Difference(msgspec.Struct, frozen=True):
    """A home timeline that is not the oracle's.

    Attributes:
        user: The reader.
        missing: Ids that the oracle has and the gateway has not, newest first.
        extra: Ids that the gateway has and the oracle has not, newest first.
        expected: How many the oracle has.
        found: How many the gateway has; as many, and none missing or extra, is a wrong order.
    """

    user: int
    missing: list[int]
    extra: list[int]
    expected: int
    found: int

    def words(self) -> str:
        """One line."""
        return (
            f"user {self.user}: {self.expected} expected, {self.found} found, "
            f"missing {_some(self.missing)}, extra {_some(self.extra)}"
            + ("" if self.missing or self.extra else ", order or repetition differs")
        )


class Outcome(msgspec.Struct, frozen=True):
    """What a comparison found.

    Attributes:
        checked: Timelines compared.
        tweets: Entries in them, by the oracle.
        differences: Those that differ.
    """

    checked: int
    tweets: int
    differences: list[Difference]


async def compare(
    oracle: Oracle,
    reader: HomeReader,
    users: Iterable[int],
    progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Read every page of each user's home timeline and compare.

    Raises:
        ReadFailed: The gateway did not answer with pages.
    """
    checked = tweets = 0
    differences: list[Difference] = []
    for user in users:
        found = await reader.whole(user)
        expected = oracle.home(user)
        if found != expected:
            differences.append(_difference(user, expected, found))
        checked += 1
        tweets += len(expected)
        progress(checked)
    return Outcome(checked, tweets, differences)


class CountsOutcome(msgspec.Struct, frozen=True):
    """What a comparison of counts, or of notifications, found.

    Attributes:
        checked: Tweets or users compared.
        differences: A line for each that differs.
    """

    checked: int
    differences: list[str]


def sample_tweets(oracle: Oracle, random: Random, size: int) -> list[int]:
    """Tweets that anybody may see: half of them those with the most likes, others by chance."""
    tweets = [tweet for tweet in oracle.posted() if oracle.tweet(tweet) is not None]
    random.shuffle(tweets)
    tweets.sort(key=lambda tweet: oracle.counts(tweet).likes, reverse=True)
    most, others = tweets[: size // 2], tweets[size // 2 :]
    random.shuffle(others)
    return [*most, *others][:size]


async def compare_counts(
    oracle: Oracle, reader: HomeReader, user: int, tweets: Iterable[int]
) -> CountsOutcome:
    """Read each tweet as ``user`` and compare its five counts.

    Raises:
        ReadFailed: The gateway did not answer with the tweet.
    """
    lines: list[str] = []
    checked = 0
    for tweet in tweets:
        expected, found = oracle.counts(tweet)._asdict(), await reader.counts(user, tweet)
        checked += 1
        if found != expected:
            lines.append(f"counts of tweet {tweet}: {expected} expected, {found} found")
    return CountsOutcome(checked, lines)


async def compare_told(oracle: Oracle, reader: HomeReader, users: Iterable[int]) -> CountsOutcome:
    """Read every page of each user's notifications and compare: order, counts, names.

    Raises:
        ReadFailed: The gateway did not answer with pages.
    """
    from tests.oracle_notifications import NotificationsOracle  # noqa: PLC0415

    right = NotificationsOracle(oracle)
    lines: list[str] = []
    checked = 0
    for user in users:
        expected = [(one.kind, one.at, one.acts, one.users[:NAMES_MAX]) for one in right.list(user)]
        found = await reader.told(user)
        checked += 1
        if found != expected:
            at = next(
                (n for n, (x, y) in enumerate(zip(expected, found, strict=False)) if x != y),
                min(len(expected), len(found)),
            )
            lines.append(
                f"notifications of {user}: {len(expected)} expected, {len(found)} found; first "
                f"other: {expected[at : at + 1]} expected, {found[at : at + 1]} found"
            )
    return CountsOutcome(checked, lines)


async def explain(
    view: Records, start: Offsets, end: Offsets, differences: list[Difference]
) -> list[str]:
    """Lines that say which events speak about the first differences; reads the log again."""
    lines: list[str] = []
    for difference in differences[:EXPLAINED_MAX]:
        lines.append(difference.words())
        for tweet_id in (difference.missing + difference.extra)[:1]:
            posts = [r async for r in view.records(start, end) if _speaks_of(r, tweet_id)]
            people = {person for record in posts for person in _people(record)}
            ties = [
                record
                async for record in view.records(start, end)
                if _speaks_between(record, difference.user, people)
            ]
            lines += [f"    {words(record)}" for record in (posts + ties)[:EVENTS_SHOWN_MAX]]
    return lines


def _speaks_of(record: LogRecord, tweet_id: int) -> bool:
    event = record.event
    return isinstance(event, TweetPosted | TweetDeleted) and tweet_id in (
        event.tweet_id,
        event.retweet_of_id if isinstance(event, TweetPosted) else None,
    )


def _people(record: LogRecord) -> set[int]:
    event = record.event
    if not isinstance(event, TweetPosted):
        return set()
    people = (event.user_id, event.reply_to_user_id, event.retweet_of_user_id)
    return {person for person in people if person is not None}


def _speaks_between(record: LogRecord, user: int, people: set[int]) -> bool:
    """Whether it is about the reader and one of these, or about the account of one of these."""
    subject = getattr(record.event, "user_id", None)
    target = getattr(record.event, "target_user_id", None)
    if record.topic == "users":
        return subject in people
    return (subject == user and target in people) or (target == user and subject in people)


def _difference(user: int, expected: list[int], found: list[int]) -> Difference:
    missing = sorted(set(expected) - set(found), reverse=True)
    extra = sorted(set(found) - set(expected), reverse=True)
    return Difference(user, missing, extra, len(expected), len(found))


def _some(ids: list[int]) -> str:
    if not ids:
        return "none"
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return ", ".join(map(str, ids[:3])) + more
