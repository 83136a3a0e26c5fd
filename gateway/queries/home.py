"""The home timeline: candidates from the timelines unit, filtered and hydrated by tweet and author.

What a reader sees (the design's sentence, and ``tests/oracle.py``):

    tweets by the reader and by those he follows, minus deleted, deactivated, blocked in either
    direction, or muted (also as the retweeted author); a reply only if the one replied to is the
    reader, its author, or followed by the reader; of several retweets of one tweet the newest.

All of it is decided here, at read, so that nothing ever has to be taken out of a cached timeline.
One step per batch of candidates, each one pass to Redis:

1. the candidates, newest first, with the reader's relations;
2. their tweets; what is deleted has none;
3. the originals of retweets, and the profiles of all authors;
4. on later pages only: whether a newer retweet of the same original was on an earlier page.

Bounded by: ``STEPS_MAX`` batches a page; a page that filtering left short carries a cursor to go
on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from projections.timelines.authors import NEWEST
from projections.timelines.layout import Relations
from projections.timelines.read import TimelinesReader

STEPS_MAX = 12
"""Batches of candidates for one page; filtering seldom takes more than two."""

OVERFETCH = 1.5
"""Candidates asked for per entry wanted: room for what the filters take out."""


class Tweet(Protocol):
    """What the filters need to know of a tweet; 0 stands for none."""

    @property
    def author_id(self) -> int:
        """Who posted it."""
        ...

    @property
    def reply_to_user_id(self) -> int:
        """Whom it replies to."""
        ...

    @property
    def reply_to_id(self) -> int:
        """Which tweet it replies to."""
        ...

    @property
    def retweet_of_id(self) -> int:
        """Its original, if it is a retweet."""
        ...


T = TypeVar("T", bound=Tweet)
U = TypeVar("U")
T_co = TypeVar("T_co", bound=Tweet, covariant=True)
U_co = TypeVar("U_co", covariant=True)


class Tweets(Protocol[T_co]):
    """Reads tweets that exist."""

    async def get(self, ids: Iterable[int]) -> Mapping[int, T_co]:
        """Returns the tweets of those ids that were posted and not deleted."""
        ...


class Users(Protocol[U_co]):
    """Reads users that can be seen."""

    async def get(self, ids: Iterable[int]) -> Mapping[int, U_co]:
        """Returns the users of those ids that are registered and active."""
        ...


class Source(Protocol):
    """Candidates of one reader's timeline: home (``projections.timelines.read``), or a list's."""

    @property
    def user_id(self) -> int:
        """The reader."""
        ...

    @property
    def relations(self) -> Relations:
        """What decides which of the candidates the reader sees."""
        ...

    @property
    def below(self) -> int:
        """Everything at or above this id has been yielded."""
        ...

    @property
    def authors(self) -> frozenset[int]:
        """Those whose tweets are candidates."""
        ...

    async def step(self) -> list[int]:
        """Returns the next candidates, newest first; an empty list when there are no more."""
        ...

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns (retweet id, author) by original, newest first, deleted ones among them."""
        ...


class HomePage(msgspec.Struct, Generic[T, U], frozen=True):
    """One page of a home timeline.

    Attributes:
        tweets: Ids with their tweets, newest first.
        originals: The retweeted tweets, by id.
        users: The authors of both, by id.
        below: Where the next page begins; None when there is none.
    """

    tweets: list[tuple[int, T]]
    originals: dict[int, T]
    users: dict[int, U]
    below: int | None


class HomeTimelines(Generic[T, U]):
    """Reads pages of home timelines."""

    def __init__(self, timelines: TimelinesReader, tweets: Tweets[T], users: Users[U]) -> None:
        self._timelines = timelines
        self._tweets = tweets
        self._users = users

    async def page(self, user_id: int, below: int | None, count: int) -> HomePage[T, U]:
        """Returns up to ``count`` tweets under the id ``below``, newest first.

        Raises:
            RetryableError: Redis or the store is away.
        """
        start = NEWEST if below is None else below
        wanted = int(count * OVERFETCH) + 1
        home = await self._timelines.home(user_id, start, wanted)
        return await read_page(home, self._tweets, self._users, start, count)


async def read_page(
    source: Source, tweets: Tweets[T], users: Users[U], start: int, count: int
) -> HomePage[T, U]:
    """Returns up to ``count`` of what the reader sees of a source that was opened under ``start``.

    Raises:
        RetryableError: Redis or the store is away.
    """
    view = _View(source, tweets, users, start)
    for _ in range(STEPS_MAX):
        candidates = await source.step()  # 1
        if not candidates:
            return view.page(count, None)
        await view.take(candidates)
        # One more than the page holds shows that there is a next page.
        if len(view.shown) > count:
            return view.page(count, view.shown[count - 1][0])
    return view.page(count, source.below)


class _View(Generic[T, U]):
    """What one reader sees of the candidates so far."""

    def __init__(self, home: Source, tweets: Tweets[T], users: Users[U], start: int) -> None:
        self._home = home
        self._tweets = tweets
        self._users = users
        self._start = start
        self._retweeted: set[int] = set()
        self.shown: list[tuple[int, T]] = []
        self._originals: dict[int, T] = {}
        self._people: dict[int, U] = {}

    def page(self, count: int, below: int | None) -> HomePage[T, U]:
        """Returns the first ``count`` of what is shown, with what belongs to it."""
        shown = self.shown[:count]
        originals = {
            tweet.retweet_of_id: self._originals[tweet.retweet_of_id]
            for _, tweet in shown
            if tweet.retweet_of_id
        }
        authors = {tweet.author_id for _, tweet in shown}
        authors.update(tweet.author_id for tweet in originals.values())
        users = {author: self._people[author] for author in authors}
        return HomePage(shown, originals, users, below)

    async def take(self, candidates: Sequence[int]) -> None:
        """Adds to ``shown`` what the reader sees of the next candidates."""
        tweets = await self._tweets.get(candidates)  # 2
        relations = self._home.relations
        kept = [
            (tweet_id, tweets[tweet_id])
            for tweet_id in candidates
            if tweet_id in tweets and self._author_shown(tweets[tweet_id], relations)
        ]
        await self._learn(kept)  # 3
        visible = [(tweet_id, tweet) for tweet_id, tweet in kept if self._visible(tweet, relations)]
        repeated = await self._repeated(visible)  # 4
        for tweet_id, tweet in visible:
            original = tweet.retweet_of_id
            if original:
                if original in self._retweeted or original in repeated:
                    continue
                self._retweeted.add(original)
            self.shown.append((tweet_id, tweet))

    def _author_shown(self, tweet: Tweet, relations: Relations) -> bool:
        """Applies the filters that need nothing but the tweet and the reader's relations."""
        reader, author = self._home.user_id, tweet.author_id
        if author != reader and (
            author not in relations.following
            or author in relations.blocked
            or author in relations.muted
        ):
            return False
        if not tweet.reply_to_id:
            return True
        target = tweet.reply_to_user_id
        return target in (reader, author) or target in relations.following

    async def _learn(self, kept: Sequence[tuple[int, T]]) -> None:
        """Reads originals and authors; the originals' authors follow where they are not known."""
        originals = {tweet.retweet_of_id for _, tweet in kept if tweet.retweet_of_id}
        authors = {tweet.author_id for _, tweet in kept} - self._people.keys()
        originals -= self._originals.keys()
        if not originals:
            self._people.update(await self._users.get(authors))
            return
        found, people = await asyncio.gather(self._tweets.get(originals), self._users.get(authors))
        self._originals.update(found)
        self._people.update(people)
        others = {tweet.author_id for tweet in found.values()} - self._people.keys() - authors
        if others:
            self._people.update(await self._users.get(others))

    def _visible(self, tweet: T, relations: Relations) -> bool:
        """Applies the filters that need the authors and the original."""
        if tweet.author_id not in self._people:
            return False
        if not tweet.retweet_of_id:
            return True
        original = self._originals.get(tweet.retweet_of_id)
        return (
            original is not None
            and original.author_id in self._people
            and original.author_id not in relations.blocked
            and original.author_id not in relations.muted
        )

    async def _repeated(self, visible: Sequence[tuple[int, T]]) -> set[int]:
        """Returns the originals of which a newer retweet was shown on an earlier page."""
        originals = {tweet.retweet_of_id for _, tweet in visible if tweet.retweet_of_id}
        originals -= self._retweeted
        if self._start == NEWEST or not originals:
            return set()
        relations = self._home.relations
        authors = self._home.authors - relations.blocked - relations.muted
        retweets = await self._home.retweets_of(originals, sorted(authors))
        newer = {
            original: [(rid, author) for rid, author in found if rid >= self._start]
            for original, found in retweets.items()
        }
        ids = [rid for found in newer.values() for rid, _ in found]
        people = {author for found in newer.values() for _, author in found}
        if not ids:
            return set()
        tweets, users = await asyncio.gather(self._tweets.get(ids), self._users.get(people))
        return {
            original
            for original, found in newer.items()
            if any(rid in tweets and author in users for rid, author in found)
        }
