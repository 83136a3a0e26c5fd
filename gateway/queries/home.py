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

from typing import Generic

from msgspec.structs import replace

from gateway.queries.view import HomePage, Source, T, Tweets, U, Users, View
from projections.base import RetryableError
from projections.flights import Flights
from projections.timelines.authors import NEWEST
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


def candidates_for(count: int) -> int:
    """Returns how many candidates at a time a page of ``count`` entries asks its source for."""
    return int(count * OVERFETCH) + 1


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
        cached_only: bool = False,
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
            cached_only: Whether what was pushed is enough; see :meth:`TimelinesReader.home`.

        Raises:
            RetryableError: Redis or the store is away.
        """
        start = NEWEST if below is None else below

        async def read() -> HomePage[T, U]:
            home = await self._opened(user_id, start, count, explain, cached_only)
            page = await read_page(
                home, self._tweets, self._users, start, count, top=top, above=above
            )
            return await self._explained(home, page) if explain else page

        wanted = (user_id, start, count, top, above, explain, cached_only)
        return await self._reading.run(wanted, read)

    async def refresh(
        self,
        user_id: int,
        above: int,
        count: int,
        *,
        explain: bool = False,
        cached_only: bool = False,
    ) -> HomePage[T, U]:
        """Returns the newest tweets above an id, ``count`` at most, and how many more there are.

        Raises:
            RetryableError: Redis or the store is away.
        """
        home = await self._opened(user_id, NEWEST, count, explain, cached_only)
        page = await _refreshed(home, self._tweets, self._users, above, count)
        return await self._explained(home, page) if explain else page

    async def _opened(
        self, user_id: int, start: int, count: int, explain: bool, cached_only: bool
    ) -> Home:
        home = await self._timelines.home(
            user_id, start, candidates_for(count), cached_only=cached_only
        )
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
    view = View(source, tweets, users, start, top)
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
    view = View(home, tweets, users, NEWEST, 0)
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
