"""The reading side of the timelines unit: candidates of a home timeline, author pages, the graph.

A home timeline is a cache of one sentence: *tweets by the reader and by those he follows*, newest
first. This module yields the candidates of that sentence in order; what is deleted, blocked, muted,
a reply to a stranger or a repeated retweet is filtered by the caller, who has the tweets at hand.

Where candidates come from:

1. the cached home timeline (what was pushed) and the cached timelines of the celebrities whom the
   reader follows (what is pulled), merged, as long as all of them are complete;
2. below the highest of their markers, the author timelines in the store.

While everybody's tweets are pulled (:mod:`.tiers`) candidates come from the author timelines alone;
should the store not answer, or too many ask, from what was cached before, with an incomplete page.

A cold or lost timeline is filled on the way: a celebrity's by one of those who read it at the same
time, and so many home timelines at a time (``projections.flights``), so that a Redis that comes
back empty is not a stampede on the store. Who does not fill reads no more than the page needs.

Bounded by: ``wanted`` ids per step, ``BUILDS_MAX`` home timelines being built, ``PULLS_MAX`` steps
of timelines that are read in place of cached ones, and the bounds of
:mod:`projections.timelines.authors` and :mod:`projections.timelines.marked`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from projections.base import RetryableError
from projections.bus import RedisBus
from projections.flights import Bulkhead, Flights
from projections.keys import Keys
from projections.store import Store
from projections.timelines import marked
from projections.timelines.authors import NEWEST, Authors, Merge
from projections.timelines.explain import Reason, Reasons, Why, ways
from projections.timelines.graph import Graph
from projections.timelines.layout import CELEBRITY, HOME, Relations
from projections.timelines.marked import Window
from projections.timelines.tiers import Tiers, View

BUILDS_MAX = 16
"""Cold home timelines that one process builds at a time; each is some fifty partitions to read."""

BUILDS_WAITING_MAX = 64
"""Readers who wait for that; the others are refused at once, to come again."""

PULLS_MAX = 32
"""Steps of home timelines that one process reads from the store while everybody is pulled; a step
is what a page needs, a tenth of what a cold timeline is filled with."""

PULLS_WAITING_MAX = 128
"""Steps that wait for that; the others are answered from what was cached before."""


class TimelinesReader:
    """What the gateway reads of the timelines unit.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: The unit's names.
        timeline_length: Entries to which a timeline is filled.
        inactive_days: Days that a timeline lives after it was filled or its owner was seen.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        timeline_length: int,
        inactive_days: int,
    ) -> None:
        self._bus = bus
        self._keys = keys
        self._length = timeline_length
        self._ttl_seconds = inactive_days * 86_400
        self._tiers = Tiers(bus, store, keys)
        self._reasons = Reasons(store)
        self._fills: Flights[int, None] = Flights()
        self._pages: Flights[tuple[int, int, int], Merge] = Flights()
        self._builds = Bulkhead(BUILDS_MAX, BUILDS_WAITING_MAX)
        self.pulls = Bulkhead(PULLS_MAX, PULLS_WAITING_MAX)
        self.authors = Authors(store)
        self.graph = Graph(bus, store, keys)

    async def home(
        self, user_id: int, below: int, wanted: int, *, cached_only: bool = False
    ) -> Home:
        """Begins to read a home timeline under an id; one round trip where it is warm.

        Args:
            user_id: The reader.
            below: Where he begins to read.
            wanted: Candidates per step.
            cached_only: As far as his timeline is cached what was pushed is enough, even what was
                cached before everybody was pulled: celebrities are left out.

        Raises:
            RetryableError: Redis or the store is away.
        """
        key = self._keys.of(HOME, user_id)
        relations = self.graph.relations
        commands = [
            marked.query(key),
            *relations.queries([user_id]),
            self._tiers.query(),
        ]
        value, known, version = await self._bus.calls_strict(commands)
        # One after the other: where both are warm, neither waits, and two tasks cost more.
        packed = await relations.settle([user_id], [known])
        tiers, current = await self._tiers_of(version)
        home = Home(self, user_id, Relations.unpack(packed[user_id]), tiers.pulled, below, wanted)
        home.epoch = tiers.epoch if current else None
        home.incomplete = not current
        if cached_only:
            home.incomplete |= bool(home.celebrities)
            home.merges = False
        home.pushed = marked.window(value, below, wanted, home.epoch)
        if home.pushed.floor is None:
            home.pushed = marked.window(value, below, wanted)  # of an earlier epoch perhaps
            if not tiers.pull_only:
                return await self._cold(home, key, cached_only)
        if tiers.pull_only:
            home.pull(cached_only)
        return home

    async def _cold(self, home: Home, key: bytes, cached_only: bool) -> Home:
        old = home.pushed
        is_old = old is not None and old.floor is not None
        try:
            async with self._builds:
                if is_old:
                    await marked.abandon(self._bus, key)
                return await self._rebuilt(home, key)
        except RetryableError:
            if not (cached_only and is_old):
                raise
            home.pushed, home.epoch, home.incomplete = old, None, True
            return home

    async def _tiers_of(self, version: bytes | None) -> tuple[View, bool]:
        """Returns the tiers, and whether they are current.

        Without the store they are those read last: of an author whose tier has changed since, what
        is not pushed any more, or not yet, is missing; nothing else comes of it.
        """
        try:
            return await self._tiers.settle(version), True
        except RetryableError:
            if self._tiers.last is None:
                raise
            return self._tiers.last, False

    async def window_of_home(
        self, user_id: int, below: int, wanted: int, epoch: int | None
    ) -> Window:
        """Reads on in a cached home timeline of an epoch; None for any."""
        value = await self._bus.call(*marked.query(self._keys.of(HOME, user_id)))
        return marked.window(value, below, wanted, epoch)

    async def warm_celebrities(self, celebrities: Sequence[int]) -> None:
        """Fills the cached timelines of celebrities that are cold."""
        await self.windows_of_celebrities(celebrities, NEWEST, 1)

    async def windows_of_celebrities(
        self, celebrities: Sequence[int], below: int, wanted: int
    ) -> list[Window | None]:
        """Reads the cached timelines of celebrities; those that are cold are filled.

        Returns:
            A window of each; None where it is cold and the store does not answer.
        """
        keys = [self._keys.of(CELEBRITY, celebrity) for celebrity in celebrities]
        values = await self._bus.calls_strict([marked.query(key) for key in keys])
        windows = [marked.window(value, below, wanted) for value in values]
        return list(
            await asyncio.gather(
                *(
                    self._filled(celebrity, key, found, below, wanted)
                    for celebrity, key, found in zip(celebrities, keys, windows, strict=True)
                )
            )
        )

    async def _filled(
        self, celebrity: int, key: bytes, found: Window, below: int, wanted: int
    ) -> Window | None:
        if found.floor is not None:
            return found
        try:
            await self._fills.run(celebrity, lambda: self._fill(celebrity, key))
            found = marked.window(await self._bus.call(*marked.query(key)), below, wanted)
            if found.floor is not None:
                return found
            # Another process fills it, or Redis is away.
            page = await self._pages.run(
                (celebrity, below, wanted), lambda: self.authors.page(celebrity, below, wanted)
            )
        except RetryableError:
            return None
        return Window([entry.tweet_id for entry in page.entries], page.floor, False)

    async def _fill(self, celebrity: int, key: bytes) -> None:
        token = await marked.begin(self._bus, key)  # mark, read, fill: see `marked`
        if token is None:
            return
        try:
            page = await self.authors.page(celebrity, NEWEST, self._length)
        except RetryableError:
            await marked.abandon(self._bus, key)
            raise
        ids = [entry.tweet_id for entry in page.entries]
        await marked.finish(self._bus, key, token, page.floor, ids, self._ttl_seconds)

    async def _rebuilt(self, home: Home, key: bytes) -> Home:
        """Fills a cold home timeline from the store and reads from what was found.

        The mark comes first, graph and tiers after it: a follow or a demotion that is recorded
        later finds the mark, one that was recorded before is in what is read.
        """
        token = await marked.begin(self._bus, key)
        try:
            home.relations = await self.graph.relations_of(home.user_id)
            tiers = await self._tiers.view()
            home.pulled, home.epoch = tiers.pulled, tiers.epoch
            if tiers.pull_only:  # by now
                if token is not None:
                    await marked.abandon(self._bus, key)
                home.pushed = None
                home.pull(cached_only=False)
                return home
            pushed = (home.relations.following - tiers.unpushed) | {home.user_id}
            # Who does not fill it needs the page at hand only.
            below = NEWEST if token is not None else home.below
            length = self._length if token is not None else home.wanted
            merge = await self.authors.merge(pushed, below, length)
        except RetryableError:
            if token is not None:
                await marked.abandon(self._bus, key)
            raise
        ids, floor = [entry.tweet_id for entry in merge.entries], merge.floor
        if len(ids) > length:
            ids, floor = ids[:length], ids[length - 1]
        if token is not None:
            await marked.finish(self._bus, key, token, floor, ids, self._ttl_seconds, tiers.epoch)
        else:
            # Somebody else fills it, perhaps from before what was found here: he is to have it too,
            # or the next read would not show what this one did.
            await marked.collect(self._bus, key, ids)
        home.pushed = Window([i for i in ids if i < home.below], floor, False)
        return home

    async def explain(self, home: Home, entries: Sequence[tuple[int, int]]) -> list[Reason]:
        """Returns why (tweet id, author) came from a reading that kept its ``ways``."""
        return await self._reasons.of(home.user_id, entries, home.ways or {})


class Home:
    """One reading of a home timeline: candidates in steps, newest first.

    Attributes:
        user_id: The reader.
        relations: What decides which of the candidates he sees.
        pulled: The authors whose tweets are pulled.
        below: Everything at or above this id has been yielded.
        wanted: Candidates per step.
        ways: How it came to the cached candidates; None, and not kept, unless a dict is set.
        incomplete: A celebrity's timeline, or who is one, could not be read: some is left out.
        epoch: A cached timeline counts only if it was filled in this one; None for any.
        merges: Whether celebrities' cached timelines are merged.
    """

    def __init__(
        self,
        reader: TimelinesReader,
        user_id: int,
        relations: Relations,
        pulled: frozenset[int],
        below: int,
        wanted: int,
    ) -> None:
        self._reader = reader
        self.wanted = wanted
        self.ways: dict[int, Why] | None = None
        self._from_store = False
        self._done = False
        self.user_id = user_id
        self.relations = relations
        self.pulled = pulled
        self.below = below
        self.pushed: Window | None = None
        self.incomplete = False
        self.epoch: int | None = None
        self.merges = True
        self._pull_only = False

    @property
    def celebrities(self) -> frozenset[int]:
        """The followees whose tweets are pulled, and merged."""
        return self.pulled & self.relations.following if self.merges else frozenset()

    def pull(self, cached_only: bool) -> None:
        """Reads the author timelines from the beginning; what is cached only if that is enough."""
        cached = self.pushed is not None and self.pushed.floor is not None
        self._pull_only = True
        self._from_store = not (cached_only and cached)
        if not self._from_store:
            self.epoch = None

    @property
    def authors(self) -> frozenset[int]:
        """Those whose tweets are candidates: the reader and whom he follows."""
        return self.relations.following | {self.user_id}

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns the retweets of originals by ``authors``; see :meth:`Authors.retweets_of`."""
        return await self._reader.authors.retweets_of(originals, authors)

    async def step(self) -> list[int]:
        """Returns the next candidates, newest first; an empty list when there are no more."""
        while not self._done:
            ids = await (self._store_step() if self._from_store else self._cached_step())
            if ids:
                return ids
        return []

    async def _cached_step(self) -> list[int]:
        below = self.below
        first = self.pushed
        self.pushed = None
        if first is None:
            first = await self._reader.window_of_home(self.user_id, below, self.wanted, self.epoch)
        windows = [first]
        celebrities = sorted(self.celebrities)
        if celebrities:
            pulled = await self._reader.windows_of_celebrities(celebrities, below, self.wanted)
            windows += [window for window in pulled if window is not None]
            self.incomplete |= None in pulled
        if any(window.floor is None or window.floor >= below for window in windows):
            # Lost in the meantime, or at its marker.
            self._from_store = True
            return []
        floor = max(_reach(window) for window in windows)
        self.below = floor
        self._done = floor == 0
        found = {i for window in windows for i in window.ids if i >= floor}
        if self.ways is not None:
            self.ways.update(ways(found, first))
        return sorted(found, reverse=True)

    async def _store_step(self) -> list[int]:
        try:
            merge = await self._merged()
        except RetryableError:
            first = self.pushed
            if first is None or first.floor is None or first.floor >= self.below:
                raise
            # Pulled, and the store does not answer: what was cached before.
            self._from_store, self.epoch, self.incomplete = False, None, True
            return []
        self.pushed = None
        ids = [entry.tweet_id for entry in merge.entries]
        self.below = merge.floor
        if len(ids) > self.wanted:  # a merge that reached the end of many authors has read far more
            ids = ids[: self.wanted]
            self.below = ids[-1]
        self._done = self.below == 0
        return ids

    async def _merged(self) -> Merge:
        authors = self._reader.authors
        if not self._pull_only:
            return await authors.merge(self.authors, self.below, self.wanted)
        async with self._reader.pulls:
            return await authors.merge(self.authors, self.below, self.wanted)


def _reach(window: Window) -> int:
    """Returns the lowest id down to which a window is known to lack nothing."""
    return window.ids[-1] if window.more else window.floor or 0
