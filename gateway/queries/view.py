"""What one reader sees of candidates: the filters of a timeline, and the page that comes of them.

The source of the candidates is anybody's: the home timeline (:mod:`.home`), which says what is
filtered and why, or a list's (:mod:`.lists`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from projections.base import PartlyRead, RetryableError
from projections.timelines.authors import NEWEST
from projections.timelines.explain import Reason
from projections.timelines.layout import Relations


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


class View(Generic[T, U]):
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
