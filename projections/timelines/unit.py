"""The timelines unit: graph, author timelines, home timelines and the celebrity cache.

One unit, because they must converge together: a tweet and a follow come from different topics, and
no replay reproduces their relative order. Each handler records its own fact where the other looks
and then reads the other's, so at least one of the two sees both.

A slice of ``new-tweets``:

1. every tweet into its author's timeline, whatever the tier (at QUORUM);
2. only then read the tiers and the followers;
3. push the ids, inverted: one operation per follower with all of his new ids, and into the cached
   timeline of each celebrity; for large accounts append chunks instead (:mod:`.fan_out`);
4. move the position.

A slice of ``social-graph``:

1. the facts of the graph (at QUORUM), and forget the cached answers that they change;
2. only then read the recent tweets of those newly followed;
3. backfill them into the followers' home timelines;
4. move the position.

While everybody's tweets are pulled (:mod:`.tiers`) it pushes and backfills nothing: the facts
are all that readers look at, and the home timelines that are cached are of an epoch that has ended.

A slice of ``user-activity``: the home timelines of those who were seen live on for
``inactive_days``. Nobody pushes to one that is not there.

While its generation is being built (:mod:`projections.generations`) no timeline of it is cached,
so the unit records facts and does nothing after them: there is nobody to push to, and no chunk is
appended twice. Whether it is being built is asked after the facts are durable: a reader who caches
a timeline does so after it is ready, and finds them.

Exactly-once effect: natural. Every fact is an upsert on a natural key with a timestamp of its own,
every push adds a member to a set. Deletions, blocks and mutes are filters of the reader.

Bounded by: ``timeline_length`` entries per timeline and a quarter more,
``ARGUMENTS_PER_CALL_MAX`` per script call, ``popular_threshold`` followers per push.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from events.slices import Record, Slice
from events.types import TimelineOpened, TweetPosted, UserFollowed
from projections.bus import RedisBus
from projections.generations import never_building
from projections.keys import Keys
from projections.positions import Effect
from projections.store import Store
from projections.timelines import marked
from projections.timelines.audience import Audience, ChunkLog
from projections.timelines.authors import NEWEST, Authors
from projections.timelines.graph import Graph
from projections.timelines.layout import CELEBRITY, HOME, KINDS, TABLES, Followers, pack_ids
from projections.timelines.tiers import Tiers, View
from projections.unit import StoredUnit

NAME = "timelines"
TOPICS = frozenset({"new-tweets", "social-graph", "user-activity", "redrive"})

PLACES_MAX = 100_000
"""Timelines whose key a worker remembers, about 250 bytes each."""

Effects = dict[int, list[Effect]]


class Timelines(StoredUnit):
    """The writing side; see :mod:`projections.timelines.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables = TABLES
    kinds = KINDS

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        chunk_log: ChunkLog,
        popular_threshold: int,
        timeline_length: int,
        inactive_days: int,
        building: Callable[[], Awaitable[bool]] = never_building,
    ) -> None:
        super().__init__(bus, store, keys)
        self._building = building
        self._length = timeline_length
        self._ttl_seconds = inactive_days * 86_400
        self._authors = Authors(store)
        self._graph = Graph(bus, store, keys)
        self._audience = Audience(bus, store, keys, self._graph.chunks, popular_threshold)
        self._chunk_log = chunk_log
        self._tiers = Tiers(bus, store, keys)
        # Naming a key costs as much as adding to it; readers who get one tweet get the next.
        self._place = lru_cache(PLACES_MAX)(self._named)
        self.deliveries = 0
        """Entries added to cached timelines since the worker started."""
        self.unpushed = 0
        """Tweets that were not pushed because everybody's were pulled, since then."""

    def _named(self, kind: str, owner: int) -> tuple[int, bytes]:
        return self._keys.bucket(owner), self._keys.of(kind, owner)

    async def open(self) -> None:
        """Creates the generation's tables and makes every reader look at the tiers anew."""
        await super().open()
        await self._tiers.touch()

    async def pull_only(self, wanted: bool) -> bool:
        """Stops pushing, everywhere at once, or begins again; False when it is so already."""
        return await self._tiers.pull_only(wanted)

    async def close(self) -> None:
        """Closes the log of chunks."""
        await self._chunk_log.close()

    async def apply(self, piece: Slice) -> None:
        """Applies a slice of any of the topics."""
        if piece.about == "new-tweets":
            effects = await self._tweets(piece)
        elif piece.about == "social-graph":
            effects = await self._graph_changes(piece)
        else:
            effects = self._seen(piece)
        added = await self._positions.commit(piece, effects)  # 4
        self.deliveries += added  # only now: slices of other partitions are under way

    async def _tweets(self, piece: Slice) -> Effects:
        await self._authors.record(piece.records)  # 1
        posted = [r.event for r in piece.records if isinstance(r.event, TweetPosted)]
        if not posted or await self._building():
            return {}
        tiers = await self._tiers.view()  # 2
        if tiers.pull_only:
            self.unpushed += len(posted)
            return self._pulls(posted, tiers)
        audience = await self._audience.of({tweet.user_id for tweet in posted} - tiers.unpushed)
        large = [t for t in posted if t.user_id in audience and audience[t.user_id].ids is None]
        if large:
            await self._chunk_log.append(await self._audience.plan(large))  # 3
        return self._pushes(posted, tiers, audience)

    def _pulls(self, posted: Iterable[TweetPosted], tiers: View) -> Effects:
        """Returns what adds tweets to the cached timelines of those who are pulled anyway."""
        pulled: dict[int, list[bytes]] = {}
        for tweet in posted:
            if tweet.user_id in tiers.collected:
                pulled.setdefault(tweet.user_id, []).append(pack_ids((tweet.tweet_id,)))
        effects: Effects = {}
        self._invert(CELEBRITY, pulled, effects)
        return effects

    def _pushes(
        self, posted: Sequence[TweetPosted], tiers: View, audience: Mapping[int, Followers]
    ) -> Effects:
        pushed: dict[int, list[bytes]] = {}
        for tweet in posted:
            author, tweet_id = tweet.user_id, pack_ids((tweet.tweet_id,))
            # The author's own home shows the tweet too, whatever his tier.
            pushed.setdefault(author, []).append(tweet_id)
            followers = audience.get(author)
            if followers is None or followers.ids is None:
                continue
            for follower in followers.ids:
                ids = pushed.get(follower)
                if ids is None:
                    pushed[follower] = [tweet_id]
                else:
                    ids.append(tweet_id)
        effects = self._pulls(posted, tiers)
        self._invert(HOME, pushed, effects)
        return effects

    def _seen(self, piece: Slice) -> Effects:
        openings = [r.event for r in piece.records if isinstance(r.event, TimelineOpened)]
        users = dict.fromkeys(opening.user_id for opening in openings)
        return {
            bucket: list(marked.seen(keys, self._ttl_seconds))
            for bucket, keys in self._keys.by_bucket(HOME, users).items()
        }

    def _invert(self, kind: str, pushed: dict[int, list[bytes]], effects: Effects) -> None:
        """Turns ids by owner into operations on their timelines, by bucket."""
        place = self._place
        by_bucket: dict[int, list[tuple[bytes, bytes]]] = {}
        for owner, ids in pushed.items():
            bucket, key = place(kind, owner)
            timeline = (key, ids[0] if len(ids) == 1 else b"".join(ids))
            found = by_bucket.get(bucket)
            if found is None:
                by_bucket[bucket] = [timeline]
            else:
                found.append(timeline)
        for bucket, timelines in by_bucket.items():
            effects.setdefault(bucket, []).extend(marked.added(self._length, timelines))

    async def _graph_changes(self, piece: Slice) -> Effects:
        await self._graph.record(piece.records)  # 1
        effects: Effects = {}
        for record in piece.records:
            event = record.event
            for user in (getattr(event, "user_id", None), getattr(event, "target_user_id", None)):
                if user is not None:
                    # Their cached answers were forgotten: their buckets' positions must move too.
                    effects.setdefault(self._keys.bucket(user), [])
        if await self._building():
            return effects
        tiers = await self._tiers.view()
        if tiers.pull_only:
            return effects
        follows = _new_follows(piece.records, tiers.unpushed)
        for follower, effect in await self._backfills(follows):
            effects.setdefault(self._keys.bucket(follower), []).append(effect)  # 3
        return effects

    async def _backfills(self, follows: dict[int, set[int]]) -> list[tuple[int, Effect]]:
        """Reads the tweets of those newly followed down to their followers' markers (2)."""
        followers = list(follows)
        keys = [self._keys.of(HOME, follower) for follower in followers]
        floors = await marked.floors(self._bus, keys)
        warm = [
            (follower, followee, key, floor)
            for follower, key, floor in zip(followers, keys, floors, strict=True)
            if floor is not None
            for followee in follows[follower]
        ]
        found = await asyncio.gather(
            *(self._authors.since(followee, floor, self._length) for _, followee, _, floor in warm)
        )
        effects = [
            # Cold, or being filled from facts that may lack a followee: a timeline that stands
            # there by the time of the commit is begun again.
            (follower, effect)
            for follower, key, floor in zip(followers, keys, floors, strict=True)
            if floor is None
            for effect in marked.backfilled((key,), NEWEST, ())
        ]
        for (follower, _, key, _), tweets in zip(warm, found, strict=True):
            ids = [entry.tweet_id for entry in reversed(tweets.entries)]  # trimming drops the first
            effects += [(follower, one) for one in marked.backfilled((key,), tweets.floor, ids)]
        return effects


def _new_follows(records: Iterable[Record], unpushed: frozenset[int]) -> dict[int, set[int]]:
    """Returns the followees by follower of a slice's follows, without those who are not pushed."""
    found: dict[int, set[int]] = {}
    for record in records:
        event = record.event
        if (
            isinstance(event, UserFollowed)
            and event.user_id != event.target_user_id
            and event.target_user_id not in unpushed
        ):
            found.setdefault(event.user_id, set()).add(event.target_user_id)
    return found
