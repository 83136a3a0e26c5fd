"""What the gateway needs of the layers below, answered by the oracle; the log's fake feeds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from events.errors import KeyReused
from events.log import Appended
from events.position import Position
from events.snowflake import compose
from events.types import Event, UsernameClaimed, topic_of
from gateway.queries.view import HomePage
from projections.accounts.layout import Claim, UserFragment
from projections.engagement.layout import Counts, metrics_json
from projections.fragments import rfc3339
from projections.listing import Entry as Engaged
from projections.listing import Page
from projections.timelines.authors import NEWEST, Merge
from projections.timelines.explain import Reason
from projections.timelines.layout import Entry, Relations
from projections.tweets.layout import TweetFragment, pack
from tests.oracle import LogRecord, Oracle, Profile

STARTED_MS = 1_700_000_000_000


class FakeLog:
    """One partition a topic; what is appended is applied at once, except what ``held`` names."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.ends: dict[str, int] = {}
        self.events: list[Event] = []
        self.keys: dict[str, tuple[Event, bytes | None, Position]] = {}
        self.error: Exception | None = None
        self.held: set[str] = set()
        self.applied: dict[str, int] = {}

    async def append(self, event: Event) -> Position:
        if self.error is not None:
            raise self.error
        topic = topic_of(event)
        offset = self.ends.get(topic, 0)
        self.ends[topic] = offset + 1
        position = Position(topic, 0, offset)
        self.events.append(event)
        if topic not in self.held:
            self.oracle.feed(LogRecord(topic, 0, offset, event))
            self.applied[f"{topic}/0"] = offset + 1
        return position

    async def append_once(
        self, event: Event, *, idempotency_key: str, command: bytes | None = None
    ) -> Appended:
        first = await self.recall(idempotency_key, command)
        if first is not None:
            return Appended(self.keys[idempotency_key][2], first, True)
        position = await self.append(event)
        self.keys[idempotency_key] = (event, command, position)
        return Appended(position, event, False)

    async def recall(self, idempotency_key: str, command: bytes | None = None) -> Event | None:
        if idempotency_key not in self.keys:
            return None
        event, first_command, _ = self.keys[idempotency_key]
        if first_command != command:
            raise KeyReused(idempotency_key)
        return event


class FakeMinter:
    def __init__(self) -> None:
        self.minted = 0

    async def mint(self) -> int:
        self.minted += 1
        return compose(STARTED_MS + self.minted, 0, 0)


class FakeUnit:
    def __init__(self, log: FakeLog, topics: frozenset[str]) -> None:
        self._log = log
        self.topics = topics
        self.applied = self

    async def at(self, source: str) -> int:
        return self._log.applied.get(source, 0)


def user_fragment(profile: Profile, pinned: int) -> UserFragment:
    fields = {
        "id": str(profile.user_id),
        "username": profile.username,
        "name": profile.name,
        "description": profile.description,
        "location": profile.location,
        "url": profile.url,
        "profile_image_url": profile.profile_image_url,
        "created_at": rfc3339(profile.created_at),
    }
    flags = {"active": 0, "deactivated": 1, "erased": 2}[profile.status]
    return UserFragment(flags, pinned, json.dumps(fields).encode()[:-1])


class FakeAccounts:
    def __init__(self, log: FakeLog) -> None:
        self._oracle = log.oracle
        self._log = log

    async def users(self, ids: Iterable[int]) -> Mapping[int, UserFragment]:
        found = {user: self._oracle.profile(user) for user in ids}
        return {
            user: user_fragment(profile, self._oracle.pin(user))
            for user, profile in found.items()
            if profile
        }

    async def get(self, ids: Iterable[int]) -> Mapping[int, UserFragment]:
        return {user: found for user, found in (await self.users(ids)).items() if found.active}

    async def claim_of(self, username_key: str) -> Claim | None:
        holder = self._oracle.holder(username_key)
        for offset, event in enumerate(self._log.events):
            if isinstance(event, UsernameClaimed) and event.user_id == holder:
                return Claim(username_key, event.username, holder, event.event_id, offset)
        return None


class FakeTweets:
    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.error: Exception | None = None
        self.go: asyncio.Event | None = None
        self.under_way = 0

    async def get(self, ids: Iterable[int]) -> Mapping[int, TweetFragment]:
        if self.error is not None:
            raise self.error
        if self.go is not None:
            self.under_way += 1
            await self.go.wait()
        posted, deleted = self._oracle._posted, self._oracle._deleted
        return {
            tweet: TweetFragment.unpack(pack(posted[tweet]) + b"," + self._metrics(tweet))
            for tweet in ids
            if tweet in posted and (posted[tweet].user_id, tweet) not in deleted
        }

    def _metrics(self, tweet: int) -> bytes:
        likes, views, replies, retweets, quotes = self._oracle.counts(tweet)
        return metrics_json(Counts(retweets, replies, likes, quotes, views))


class FakeEngagement:
    """Lists by the oracle; the n-th like of a list stands at the id 1000 - n."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def liked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        return {tweet for tweet in tweet_ids if user_id in self._oracle.liked_by(tweet)}

    async def liked_by(self, tweet_id: int, below: int, limit: int) -> Page:
        users = self._oracle.liked_by(tweet_id)
        return _listed([Engaged(1000 - n, u, tweet_id) for n, u in enumerate(users)], below, limit)

    async def likes_of(self, user_id: int, below: int, limit: int) -> Page:
        liked = self._oracle.likes_of(user_id)
        return _listed([Engaged(1000 - n, user_id, t) for n, t in enumerate(liked)], below, limit)

    async def children(self, tweet_id: int, kind: str, below: int, limit: int) -> Page:
        found = self._oracle.children(tweet_id, kind)
        return _listed([Engaged(child, author, child) for child, author in found], below, limit)


def _listed(entries: list[Engaged], below: int, limit: int) -> Page:
    found = [entry for entry in entries if entry.at < below]
    return Page(found[:limit], found[limit - 1].at if len(found) > limit else None)


class FakeGraph:
    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def relations_of(self, user_id: int) -> Relations:
        oracle = self._oracle
        others = oracle.users()
        blocking = frozenset(o for o in others if oracle.is_blocking(user_id, o))
        return Relations(
            following=frozenset(o for o in others if oracle.is_following(user_id, o)),
            blocked=blocking | frozenset(o for o in others if oracle.is_blocking(o, user_id)),
            blocking=blocking,
            muted=frozenset(o for o in others if oracle.is_muting(user_id, o)),
        )

    async def counts(self, user_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        oracle = self._oracle
        return {u: (oracle.followers_count(u), oracle.following_count(u)) for u in user_ids}

    async def follower_counts(self, user_ids: Sequence[int]) -> dict[int, int]:
        return {user: self._oracle.followers_count(user) for user in user_ids}

    async def follower_page(self, user_id: int, below: int, limit: int) -> list[int]:
        return _page(self._oracle.followers(user_id), below, limit)

    async def following_page(self, user_id: int, below: int, limit: int) -> list[int]:
        return _page(self._oracle.following(user_id), below, limit)


class FakeAuthors:
    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def page(self, author_id: int, below: int, limit: int) -> Merge:
        return await self.merge([author_id], below, limit)

    async def merge(self, authors: Collection[int], below: int, wanted: int) -> Merge:
        written = [
            tweet_id
            for author in authors
            for tweet_id in self._oracle.user_timeline(author, replies=True)
        ]
        ids = _page(written, below, wanted)
        entries = []
        for tweet_id in ids:
            tweet = self._oracle._posted[tweet_id]
            reply_to, original = tweet.reply_to_user_id or 0, tweet.retweet_of_id or 0
            entries.append(Entry(tweet_id, tweet.user_id, reply_to, original))
        return Merge(entries, ids[-1] if len(ids) == wanted else 0)

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        posted = self._oracle._posted.values()
        return {
            original: sorted(
                (
                    (t.tweet_id, t.user_id)
                    for t in posted
                    if t.retweet_of_id == original and t.user_id in authors
                ),
                reverse=True,
            )
            for original in originals
        }


class FakeHome:
    """Pages by the oracle; every entry was pushed by the event at offset 5."""

    def __init__(self, oracle: Oracle, tweets: FakeTweets, accounts: FakeAccounts) -> None:
        self._oracle = oracle
        self._tweets = tweets
        self._accounts = accounts
        self.cached_only = False

    async def refresh(
        self,
        user_id: int,
        above: int,
        count: int,
        *,
        explain: bool = False,
        cached_only: bool = False,
    ) -> HomePage[TweetFragment, UserFragment]:
        page = await self.page(
            user_id, None, count, above=above, explain=explain, cached_only=cached_only
        )
        new = [i for i in self._oracle.home(user_id) if i > above]
        return replace(page, missed=max(0, len(new) - count), has_missed_more=len(new) > 9)

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
    ) -> HomePage[TweetFragment, UserFragment]:
        self.cached_only = cached_only
        shown = [i for i in self._oracle.home(user_id) if i > above]
        assert below is None or top in (shown[0], NEWEST)
        ids = _page(shown, below or 2**63, count + 1)
        found = await self._tweets.get(ids[:count])
        originals = await self._tweets.get(t.retweet_of_id for t in found.values())
        authors = {t.author_id for t in (*found.values(), *originals.values())}
        return HomePage(
            list(found.items()),
            dict(originals),
            dict(await self._accounts.get(authors)),
            ids[count - 1] if len(ids) > count else None,
            reasons=[Reason(i, t.author_id, "pushed", 7, 5) for i, t in found.items()]
            if explain
            else None,
        )


def _page(ids: Iterable[int], below: int, limit: int) -> list[int]:
    return sorted((i for i in ids if i < below), reverse=True)[:limit]
