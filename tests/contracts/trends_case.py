"""The trends unit under the contract: the trends of every window, as they are worked out from what
is there when readers look, and what those use whom one follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from random import Random
from typing import Any

import msgspec

from events.snowflake import time_of
from events.types import Place, TweetDeleted, TweetPosted
from projections.base import Unit
from projections.trends.layout import DAY_MS, WORLDWIDE, Rules, Shape
from projections.trends.leader import CLOCK_SKEW_MS, Leader
from projections.trends.read import OWN_MIN, OWN_MS, OWN_ROWS, TrendsReader
from projections.trends.terms import said
from projections.trends.unit import Trends
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord
from tests.oracle_trends import TrendsOracle
from tests.posts import post

PARTITIONS = 3
AUTHORS = 12
TWEETS = 90
SLOTS = 16
SHAPE = Shape(slot_ms=10, late_ms=30, ahead_ms=5)
RULES = Rules(
    score_min=0.4,
    volume_min=3,
    place_volume_min=2,
    young_hours=(90 / 3_600_000),  # they grow up half way
    young_permille=600,
    tags_max=2,
    same_text_max=1,
    tail_share=1,
    block_terms=7,
    never=frozenset({"boring"}),
)
TAGS = ("#Goal", "#goal", "#storm", "#Boring", "#a", "#b", "#c")
TEXTS = (
    "",
    "",
    "win a free phone today",
    "watching the match in New York City",
    "New York City is loud",
    "地震 が すごい",
)
_SEED_LEADER = (
    "INSERT INTO {trend_leader} (name, fence, holder, until_ms, window_end, standing) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_NOTHING_TOLD = (
    "DELETE FROM {trend_starts} USING TIMESTAMP ? WHERE scope = ? AND day = ? AND window_end = ?"
)
_looks = count(1)


class _AtItsEnd:
    """A log of which everything is applied."""

    async def ends(self, topic: str) -> dict[str, int]:
        """Returns an empty partition."""
        return {f"{topic}/0": 0}


class TrendsCase(UnitCase):
    """Tweets in and out of time, of some tags and phrases, in places and nowhere."""

    name = "trends"

    def unit(self, world: World) -> Unit:
        return Trends(world.bus, world.store, world.keys(self.name), SHAPE)

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        posted: list[TweetPosted] = []
        for number in range(TWEETS):
            tweet = _post(rng, base, number)
            partition = tweet.user_id % PARTITIONS
            appended_at = tweet.created_at + rng.choice((0, 3, 30, 30, -5, 31, -6, 5000))
            log.append("new-tweets", partition, tweet, appended_at)
            posted.append(tweet)
            if rng.random() < 0.15:  # the same id once more, with other words
                again = msgspec.structs.replace(_post(rng, base, number), user_id=tweet.user_id)
                log.append("new-tweets", partition, again, again.created_at)
            if rng.random() < 0.15:  # a producer's retry
                log.append("new-tweets", partition, tweet, appended_at)
            if rng.random() < 0.1:
                gone = rng.choice(posted)
                log.append("new-tweets", gone.user_id % PARTITIONS, _deletion(gone))

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        """All windows, by a leader who knows of none of them."""
        begin, end = _span(history)
        keys, name = world.keys(self.name), f"look {next(_looks)} of {begin}"
        # What a look at half of the history found to have begun there would be in the way.
        windows = range(begin, end + 1, SHAPE.slot_ms)
        at = next(_looks)
        await world.store.write(
            [(_NOTHING_TOLD, (at, keys.unit, one // DAY_MS, one)) for one in windows]
        )
        await _seed(world, name, begin)
        leader = Leader(
            world.bus,
            world.store,
            keys,
            flow=_AtItsEnd(),
            shape=SHAPE,
            rules=RULES,
            now_ms=lambda: end + SHAPE.late_ms + CLOCK_SKEW_MS,
            name=name,
        )
        while await leader.turn():
            pass
        reader = TrendsReader(world.bus, world.store, keys, shape=SHAPE, rules=RULES, leader=name)
        trends = {
            (place, found.window_end): msgspec.to_builtins(found.trends)
            for place in _places(history)
            for day in range(begin // DAY_MS, end // DAY_MS + 1)
            for found in await reader.of_day(place, day)
            if found.trends and begin <= found.window_end <= end
        }
        starts = {
            start.window_end: [(one.term, one.authors) for one in start.began]
            for day in range(begin // DAY_MS, end // DAY_MS + 1)
            for start in await reader.starts_of_day(day)
            if begin <= start.window_end <= end
        }
        own = await reader.own(_authors(history))
        return trends, starts, [(one.term, one.followees) for one in own]

    def expected(self, history: list[LogRecord]) -> Any:
        _, end = _span(history)
        oracle = TrendsOracle(history, SHAPE, RULES)
        found = oracle.history(end)
        trends = {
            (place, at): rows
            for place, windows in found.items()
            for at, rows in windows.items()
            if rows
        }
        assert len(trends) > SLOTS, "a history in which next to nothing trends shows nothing"
        own = oracle.own(_authors(history), end, own_min=OWN_MIN, hour_ms=OWN_MS, rows=OWN_ROWS)
        return trends, oracle.starts(end), own

    async def size(self, world: World, history: list[LogRecord]) -> int:
        total = 0
        for author in _authors(history):
            rows = await world.store.execute(
                "SELECT term FROM {trend_uses_of} WHERE author_id = ?", (author,)
            )
            total += len(rows)
        return total

    def size_max(self, history: list[LogRecord]) -> int:
        """A row for each term of a post; those of a retry are the same."""
        return len(
            {
                (event.tweet_id, event.created_at // SHAPE.slot_ms, term.text)
                for event in (record.event for record in history)
                if isinstance(event, TweetPosted)
                for term in said(event.text, event.lang).terms
            }
        )


async def _seed(world: World, name: str, begin: int) -> None:
    """Has the leader begin where the history does: other tests' histories lie at other times.

    Of leaders who work out one window from different uses the later one is to be read, so each has
    a higher token.
    """
    nothing = msgspec.msgpack.encode({})
    row = (name, next(_looks), "", 0, begin, nothing)
    await world.store.execute(_SEED_LEADER, row)


def _start(base: int) -> int:
    long = SHAPE.window_ms
    return time_of(base) // long * long + long


def _base(history: Iterable[LogRecord]) -> int:
    users: list[int] = [record.event.user_id for record in history]  # type: ignore[attr-defined]
    return min(users) >> 20 << 20


def _span(history: list[LogRecord]) -> tuple[int, int]:
    """Returns where the leader begins, and the end of the last window."""
    begin = _start(_base(history))
    return begin, begin + (SLOTS + 12) * SHAPE.slot_ms


def _authors(history: list[LogRecord]) -> list[int]:
    return [_base(history) + number for number in range(AUTHORS)]


def _places(history: list[LogRecord]) -> list[int]:
    base = _base(history)
    return [WORLDWIDE, base + 500, base + 501, base + 502]


def _post(rng: Random, base: int, number: int) -> TweetPosted:
    tags = rng.choices(TAGS, (6, 5, 4, 5, 1, 1, 1), k=rng.choice((1, 1, 2, 4)))
    text = " ".join([rng.choice(TEXTS), *tags]).strip()
    place = rng.choice(
        (None, Place(base + 500, base + 502), Place(base + 501), Place(base + 502, base + 502))
    )
    about: dict[str, Any] = {}
    if rng.random() < 0.05:
        about = {"retweet_of_id": base + 1, "retweet_of_user_id": base}
    at = _start(base) + rng.randrange(SLOTS * SHAPE.slot_ms)
    return post(
        base + 1000 + number,
        base + rng.randrange(AUTHORS),
        text=text,
        lang=rng.choice(("en", "en", None, "ja")),
        created_at=at,
        place=place,
        **about,
    )


def _deletion(tweet: TweetPosted) -> TweetDeleted:
    return TweetDeleted(
        event_id=tweet.tweet_id + 1, occurred_at=2, tweet_id=tweet.tweet_id, user_id=tweet.user_id
    )
