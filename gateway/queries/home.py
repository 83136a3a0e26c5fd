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

A page never repeats an entry of the pages before it, and lacks none that could be seen all along;
decision 0061 says what holds while timelines change between two pages.

A *refresh* reads what is new above an id that was shown, and how much more of it there is.

While the store is away a page is what Redis holds: a tweet, an author or an original that it does
not hold is left out and the page says that it is incomplete. Nothing is shown because a filter
could not be read: without the reader's relations there is no page, and a retweet of which nobody
can tell whether a newer one was shown is left out too.

Bounded by: ``STEPS_MAX`` batches a page; a page that filtering left short carries a cursor to go
on. ``MISSED_MAX`` entries and ``COUNTING_STEPS_MAX`` batches for what a refresh counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from projections.base import PartlyRead, RetryableError
from projections.flights import Flights
from projections.timelines.authors import NEWEST
from projections.timelines.explain import Reason
from projections.timelines.layout import Relations
from projections.timelines.read import Home, TimelinesReader

STEPS_MAX = 12
"""Batches of candidates for one page; filtering seldom takes more than two."""

OVERFETCH = 1.5
"""Candidates asked for per entry wanted: room for what the filters take out."""


MISSED_MAX = 800
"""What a refresh left out is counted up to here at least; beyond, it says that there is more."""

COUNTING_STEP = 200
"""Candidates in a batch that is only counted."""

COUNTING_STEPS_MAX = STEPS_MAX + 2 * MISSED_MAX // COUNTING_STEP
"""Batches of a refresh."""


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
V = TypeVar("V")
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

    @property
    def incomplete(self) -> bool:
        """Whether some of the candidates could not be read, and are left out."""
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
        missed: How many entries lie between the last one and what a refresh began above.
        has_missed_more: ``missed`` is a lower bound.
        reasons: Why each entry is there, in their order, if that was asked for.
        incomplete: Some of it could not be read, and is left out.
    """

    tweets: list[tuple[int, T]]
    originals: dict[int, T]
    users: dict[int, U]
    below: int | None
    missed: int | None = None
    has_missed_more: bool = False
    reasons: list[Reason] | None = None
    incomplete: bool = False


class HomeTimelines(Generic[T, U]):
    """Reads pages of home timelines."""

    def __init__(self, timelines: TimelinesReader, tweets: Tweets[T], users: Users[U]) -> None:
        self._timelines = timelines
        self._tweets = tweets
        self._users = users
        self._reading: Flights[tuple[int, ...], HomePage[T, U]] = Flights()

    async def page(
        self,
        user_id: int,
        below: int | None,
        count: int,
        *,
        top: int = NEWEST,
        above: int = 0,
        explain: bool = False,
    ) -> HomePage[T, U]:
        """Returns up to ``count`` tweets under the id ``below``, newest first.

        Those who ask for the same page at the same time share one reading of it.

        Args:
            user_id: The reader.
            below: Where the page begins; None for the first.
            count: Tweets at most.
            top: The newest that the pages before it showed, 0 if nothing.
            above: The page ends above this id.
            explain: Whether to say of each tweet why it is there.

        Raises:
            RetryableError: Redis or the store is away.
        """
        start = NEWEST if below is None else below

        async def read() -> HomePage[T, U]:
            home = await self._opened(user_id, start, count, explain)
            page = await read_page(
                home, self._tweets, self._users, start, count, top=top, above=above
            )
            return await self._explained(home, page) if explain else page

        return await self._reading.run((user_id, start, count, top, above, explain), read)

    async def refresh(
        self, user_id: int, above: int, count: int, *, explain: bool = False
    ) -> HomePage[T, U]:
        """Returns the newest tweets above an id, ``count`` at most, and how many more there are.

        Raises:
            RetryableError: Redis or the store is away.
        """
        home = await self._opened(user_id, NEWEST, count, explain)
        page = await _refreshed(home, self._tweets, self._users, above, count)
        return await self._explained(home, page) if explain else page

    async def _opened(self, user_id: int, start: int, count: int, explain: bool) -> Home:
        home = await self._timelines.home(user_id, start, int(count * OVERFETCH) + 1)
        if explain:
            home.ways = {}
        return home

    async def _explained(self, home: Home, page: HomePage[T, U]) -> HomePage[T, U]:
        entries = [(tweet_id, tweet.author_id) for tweet_id, tweet in page.tweets]
        return replace(page, reasons=await self._timelines.explain(home, entries))


async def read_page(
    source: Source,
    tweets: Tweets[T],
    users: Users[U],
    start: int,
    count: int,
    *,
    top: int = NEWEST,
    above: int = 0,
) -> HomePage[T, U]:
    """Returns up to ``count`` of what the reader sees of a source that was opened under ``start``.

    Args:
        source: The candidates.
        tweets: Reads tweets.
        users: Reads their authors.
        start: The id under which the source was opened.
        count: Tweets at most.
        top: The newest that the pages before it showed, 0 if nothing.
        above: The page ends above this id.

    Raises:
        RetryableError: Redis or the store is away.
    """
    view = _View(source, tweets, users, start, top)
    for _ in range(STEPS_MAX):
        try:
            ended = await view.step(above)
        except RetryableError:
            if not view.shown:
                raise
            # The cursor leads to what cannot be read now, and can be later.
            view.incomplete = True
            return view.page(count, view.shown[:count][-1][0])
        # One more than the page holds shows that there is a next page.
        if len(view.shown) > count:
            return view.page(count, view.shown[count - 1][0])
        if ended:
            return view.page(count, None)
    return view.page(count, source.below)


async def _refreshed(
    home: Home, tweets: Tweets[T], users: Users[U], above: int, count: int
) -> HomePage[T, U]:
    """Reads down to ``above``, or until as much as is counted is known to be more."""
    view = _View(home, tweets, users, NEWEST, 0)
    ended = False
    for _ in range(COUNTING_STEPS_MAX):
        try:
            ended = await view.step(above)
        except RetryableError:
            if not view.shown:
                raise
            view.incomplete = True
            break
        if ended or len(view.shown) > count + MISSED_MAX:
            break
        if len(view.shown) > count:
            home.wanted = COUNTING_STEP
    below = None if ended else home.below
    if view.incomplete and view.shown:
        below = view.shown[-1][0]
    if len(view.shown) > count:
        below = view.shown[count - 1][0]
    missed = max(0, len(view.shown) - count)
    return replace(view.page(count, below), missed=missed, has_missed_more=not ended)


class _View(Generic[T, U]):
    """What one reader sees of the candidates so far."""

    def __init__(
        self, home: Source, tweets: Tweets[T], users: Users[U], start: int, top: int
    ) -> None:
        self._home = home
        self._tweets = tweets
        self._users = users
        self._start = start
        self._top = top
        self._retweeted: set[int] = set()
        self.shown: list[tuple[int, T]] = []
        self.incomplete = False
        self._originals: dict[int, T] = {}
        self._people: dict[int, U] = {}

    def page(self, count: int, below: int | None) -> HomePage[T, U]:
        """Returns the first ``count`` of what is shown, with what belongs to it.

        Raises:
            RetryableError: nothing of it could be read.
        """
        incomplete = self.incomplete or self._home.incomplete
        if incomplete and not self.shown:
            raise RetryableError("nothing of the timeline could be read")
        shown = self.shown[:count]
        originals = {
            tweet.retweet_of_id: self._originals[tweet.retweet_of_id]
            for _, tweet in shown
            if tweet.retweet_of_id
        }
        authors = {tweet.author_id for _, tweet in shown}
        authors.update(tweet.author_id for tweet in originals.values())
        users = {author: self._people[author] for author in authors}
        return HomePage(shown, originals, users, below, incomplete=incomplete)

    async def step(self, above: int) -> bool:
        """Takes the next candidates above an id; returns whether there are no more."""
        candidates = await self._home.step()  # 1
        ended = not candidates or candidates[-1] <= above
        await self.take([i for i in candidates if i > above] if ended else candidates)
        return ended

    async def take(self, candidates: Sequence[int]) -> None:
        """Adds to ``shown`` what the reader sees of the next candidates."""
        if not candidates:
            return
        tweets = await self._known(self._tweets.get(candidates))  # 2
        relations = self._home.relations
        kept, authors, originals = self._kept(candidates, tweets, relations)
        await self._learn(authors, originals)  # 3
        if not originals:
            people = self._people
            self.shown += [pair for pair in kept if pair[1].author_id in people]
            return
        visible = [(tweet_id, tweet) for tweet_id, tweet in kept if self._visible(tweet, relations)]
        repeated = await self._repeated(visible)  # 4
        for tweet_id, tweet in visible:
            original = tweet.retweet_of_id
            if original:
                if original in self._retweeted or original in repeated:
                    continue
                self._retweeted.add(original)
            self.shown.append((tweet_id, tweet))

    async def _known(self, reading: Awaitable[Mapping[int, V]]) -> Mapping[int, V]:
        """Returns what can be read; what is not known is left out."""
        try:
            return await reading
        except PartlyRead as partly:
            self.incomplete = True
            return partly.found

    def _kept(
        self, candidates: Sequence[int], tweets: Mapping[int, T], relations: Relations
    ) -> tuple[list[tuple[int, T]], set[int], set[int]]:
        """Applies the filters that need nothing but the tweets and the reader's relations.

        In one loop, since every read pays for it.

        Returns:
            What they leave, with its authors and the originals of its retweets.
        """
        reader, following = self._home.user_id, relations.following
        blocked, muted = relations.blocked, relations.muted
        kept: list[tuple[int, T]] = []
        authors: set[int] = set()
        originals: set[int] = set()
        for tweet_id in candidates:
            tweet = tweets.get(tweet_id)
            if tweet is None:
                continue
            author = tweet.author_id
            if author != reader and (
                author not in following or author in blocked or author in muted
            ):
                continue
            if tweet.reply_to_id:
                target = tweet.reply_to_user_id
                if target not in (reader, author) and target not in following:
                    continue
            if tweet.retweet_of_id:
                originals.add(tweet.retweet_of_id)
            authors.add(author)
            kept.append((tweet_id, tweet))
        return kept, authors, originals

    async def _learn(self, authors: set[int], originals: set[int]) -> None:
        """Reads originals and authors; the originals' authors follow where they are not known."""
        authors = authors - self._people.keys()
        originals = originals - self._originals.keys()
        if not originals:
            self._people.update(await self._known(self._users.get(authors)))
            return
        found, people = await asyncio.gather(
            self._known(self._tweets.get(originals)), self._known(self._users.get(authors))
        )
        self._originals.update(found)
        self._people.update(people)
        others = {tweet.author_id for tweet in found.values()} - self._people.keys() - authors
        if others:
            self._people.update(await self._known(self._users.get(others)))

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
        if self._start == NEWEST or self._top < self._start or not originals:
            return set()
        try:
            return await self._shown_before(originals)
        except RetryableError:
            self.incomplete = True
            return originals

    async def _shown_before(self, originals: Collection[int]) -> set[int]:
        relations = self._home.relations
        authors = self._home.authors - relations.blocked - relations.muted
        retweets = await self._home.retweets_of(originals, sorted(authors))
        newer = {
            original: [(rid, author) for rid, author in found if self._start <= rid <= self._top]
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
