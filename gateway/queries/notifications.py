"""``GET /api/notifications``: what others did that concerns the token's user, newest first.

The unit names candidates and counts (``projections.notifications.read``); here it is decided what
of it this user is shown. Left out: whoever there is a block with, or whom he mutes; what is about
a tweet that nobody may see; types that he turned off. Who is not active is counted and not named; a
notification that can name nobody is not shown. It stands where the newest act of somebody who is
named stands, so nobody who is hidden moves one. What began to trend is put between them for those
who want it, from the history of the trends unit, and left out while trends are off (level 1).

Bounded by: ``STEPS_MAX`` parts for a page (one that was left short carries a cursor), ``NAMES_MAX``
names, ``ROUNDS_MAX`` rounds for the names of one group, ``UNREAD_MAX``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from events.snowflake import time_of
from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.levels.level import Feature, Levels
from gateway.pages import one, page, page_count
from gateway.queries.places import place_below, seal_place
from gateway.queries.trends import query_of
from gateway.queries.visible import Shown
from gateway.routing import ID_MAX
from gateway.services import Accounts, Graph, Notifications, Trends, Tweets
from projections import fragments
from projections.accounts.layout import UserFragment
from projections.notifications.layout import (
    FOLLOW,
    MENTION,
    QUOTE,
    REPLY,
    SINGLE,
    TREND,
    Group,
    GroupActs,
    Part,
    Seen,
    of_name,
)
from projections.notifications.preferences import IN_APP, all_of, is_on
from projections.timelines.layout import Relations
from projections.trends.layout import Began
from projections.tweets import mentions
from projections.tweets.layout import TweetFragment

ROUTE = "notifications"
STEPS_MAX = 8
ROUNDS_MAX = 20
NAMES_MAX = 3
UNREAD_MAX = 100
"""An unread count says no more: "99+"."""

UNREAD_PART = 50
PAGE_MAX = 100
_NO_TWEET = (FOLLOW, TREND)


class Notice(msgspec.Struct, frozen=True):
    """A notification that is shown.

    Attributes:
        kind: One of ``projections.notifications.layout.KINDS``.
        subject: The tweet; of follows the first id of their stretch; of trends the end of their
            window, in ms.
        at: The newest act of somebody who is named; of trends :func:`told_at` says it.
        users: Who is named, the newest first.
    """

    kind: str
    subject: int
    at: int
    users: tuple[int, ...]


class _Begun(msgspec.Struct, frozen=True):
    name: str
    query: str
    author_count: int


class _Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A notification as clients get it; see ``gateway.answers.Notification``."""

    id: str
    type: str
    latest_id: str
    created_at: str
    unread: bool
    count: int
    user_ids: list[str]
    tweet_id: str = ""
    trends: list[_Begun] = []


class Reading:
    """What one user is shown, part by part.

    Args:
        notifications: Reads inboxes.
        tweets: Reads tweets.
        accounts: Reads users.
        trends: Reads what trends; None while trends are off.
        user_id: The user.
    """

    def __init__(
        self,
        notifications: Notifications,
        tweets: Tweets,
        accounts: Accounts,
        trends: Trends | None,
        user_id: int,
    ) -> None:
        self._notifications = notifications
        self._trends = trends
        self._tweets = tweets
        self._accounts = accounts
        self._user_id = user_id
        self._name = ""
        self._claimed_at = 0
        self._preferences: dict[str, bool] = {}
        self.hidden: frozenset[int] = frozenset()
        self.read_up_to = 0
        self.tweets: dict[int, TweetFragment] = {}
        self.originals: dict[int, TweetFragment] = {}
        self.users: dict[int, UserFragment] = {}
        self._began: dict[int, list[Began]] = {}
        self._starts: list[Notice] = []

    async def begin(self, graph: Graph) -> None:
        """Learns who reads."""
        user = self._user_id
        relations: Relations
        relations, settings, found = await asyncio.gather(
            graph.relations_of(user),
            self._notifications.settings(user),
            self._accounts.get([user]),
        )
        self.hidden = relations.hidden
        self.read_up_to, self._preferences = settings.read_up_to, settings.preferences
        if user in found:
            name = found[user].named.username
            claim = await self._accounts.claim_of(name.casefold())
            if claim is not None and claim.user_id == user:
                self._name, self._claimed_at = name, claim.event_id
        if self._trends is not None and is_on(self._preferences, IN_APP, TREND):
            for start in await self._trends.starts():
                self._began[start.window_end] = start.began
                at = self._trends.told_at(start)
                self._starts.append(Notice(TREND, start.window_end, at, ()))

    async def part(self, below: int, limit: int) -> tuple[list[Notice], int]:
        """Returns what is shown of the next candidates, newest first, and where to read on."""
        names = [of_name(self._name)] if self._name else []
        part = await self._notifications.part(self._user_id, names, below, limit)
        groups = [g for g in part.groups if is_on(self._preferences, IN_APP, g.kind)]
        subjects = {group.subject for group in groups if group.kind != FOLLOW}
        await self._learn([*part.tweets, *subjects], groups)
        found = [*self._single(part), *await self._grouped(groups, part.floor, below)]
        found += [notice for notice in self._starts if part.floor <= notice.at < below]
        return sorted(found, key=lambda notice: notice.at, reverse=True), part.floor

    def began_in(self, notice: Notice) -> list[Began]:
        """Returns what a notification says began to trend; nothing for those about acts."""
        return self._began[notice.subject] if notice.kind == TREND else []

    async def _learn(self, ids: Sequence[int], groups: Sequence[GroupActs]) -> None:
        """Reads tweets, with their authors and originals, and who acted."""
        shown = Shown(self._tweets, self._accounts)
        acted = {act.user_id for group in groups for act in group.acts}
        await asyncio.gather(shown.add(list(dict.fromkeys(ids))), self._meet(acted))
        self.tweets.update(shown.tweets)
        self.originals |= shown.originals
        self.users |= shown.users

    async def _meet(self, users: Collection[int]) -> None:
        unknown = set(users) - self.users.keys()
        if unknown:
            self.users.update(await self._accounts.get(unknown))

    def _single(self, part: Part) -> list[Notice]:
        found = []
        for tweet_id in part.tweets:
            tweet = self.tweets.get(tweet_id)
            if tweet is None or tweet.author_id in self.hidden:
                continue
            kind = self._kind(tweet_id, tweet)
            if kind and is_on(self._preferences, IN_APP, kind):
                found.append(Notice(kind, tweet_id, tweet_id, (tweet.author_id,)))
        return found

    def _kind(self, tweet_id: int, tweet: TweetFragment) -> str:
        """Says what a tweet is to the user; '' for nothing."""
        user = self._user_id
        if tweet.author_id == user or tweet.retweet_of_id:
            return ""
        if tweet.reply_to_user_id == user:
            return REPLY
        if tweet.quote_of_user_id == user:
            return QUOTE
        if not self._name or tweet_id <= self._claimed_at:
            return ""
        return MENTION if mentions.of_name(self._name) in mentions.addressees(tweet) else ""

    async def _grouped(self, groups: Sequence[GroupActs], floor: int, below: int) -> list[Notice]:
        user = self._user_id
        own = [
            group
            for group in groups
            if group.kind == FOLLOW
            or (group.subject in self.tweets and self.tweets[group.subject].author_id == user)
        ]
        named = await asyncio.gather(*(self._names(group, floor) for group in own))
        return [
            Notice(group.kind, group.subject, acts[0].at, _each_once(acts))
            for group, acts in zip(own, named, strict=True)
            if acts and floor <= acts[0].at < below
        ]

    async def _names(self, group: GroupActs, floor: int) -> list[Seen]:
        """Returns acts of those who can be named, newest first: enough for the names."""
        acts, below = group.acts, group.below
        named: list[Seen] = []
        for _ in range(ROUNDS_MAX):
            named += [a for a in acts if a.user_id in self.users and a.user_id not in self.hidden]
            if len(_each_once(named)) >= NAMES_MAX or below <= (0 if named else floor):
                break
            whole = Group(group.kind, self._user_id, group.subject)
            acts, below = await self._notifications.acts(whole, below, UNREAD_PART)
            await self._meet({act.user_id for act in acts})
        return named


def _each_once(acts: Sequence[Seen]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(act.user_id for act in acts))[:NAMES_MAX]


class NotificationQueries:
    """Handlers of notifications."""

    def __init__(
        self,
        notifications: Notifications,
        tweets: Tweets,
        accounts: Accounts,
        graph: Graph,
        trends: Trends,
        cursors: Cursors,
        levels: Levels,
        push_key: str,
    ) -> None:
        self._notifications = notifications
        self._tweets = tweets
        self._accounts = accounts
        self._graph = graph
        self._trends = trends
        self._cursors = cursors
        self._levels = levels
        self._push_key = push_key

    async def own(self, request: Request) -> Response:
        """``GET /api/notifications``."""
        count = page_count(request, PAGE_MAX)
        below = place_below(self._cursors, request, ROUTE)
        reading = await self._begin(request.user_id)
        kept: list[Notice] = []
        for _ in range(STEPS_MAX):
            found, below = await reading.part(below, count + 1)
            kept += found
            if len(kept) > count or below == 0:
                break
        notices = kept[:count]
        if len(kept) > count:
            below = notices[-1].at
        cursor = seal_place(self._cursors, request, ROUTE, below) if below else None
        read = b'"%d"' % reading.read_up_to
        return page(
            await self._bodies(request.user_id, notices, reading),
            cursor,
            _included(notices, reading),
            meta=[("read_up_to", read)] if reading.read_up_to else [],
        )

    async def unread_count(self, request: Request) -> Response:
        """``GET /api/notifications/unread_count``."""
        reading = await self._begin(request.user_id)
        unread, below = 0, ID_MAX
        for _ in range(STEPS_MAX):
            found, below = await reading.part(below, UNREAD_PART)
            unread += sum(notice.at > reading.read_up_to for notice in found)
            if unread >= UNREAD_MAX or below <= reading.read_up_to + 1:
                break
        return Response(one(b'{"unread_count":%d' % min(unread, UNREAD_MAX)))

    async def preferences(self, request: Request) -> Response:
        """``GET /api/notifications/preferences``."""
        settings = await self._notifications.settings(request.user_id)
        return Response(one(msgspec.json.encode(all_of(settings.preferences))[:-1]))

    async def push_key(self, request: Request) -> Response:
        """``GET /api/notifications/push_key``."""
        return Response(one(b'{"public_key":%s' % msgspec.json.encode(self._push_key)))

    async def _begin(self, user_id: int) -> Reading:
        trends = self._trends if self._levels.has(Feature.TRENDS) else None
        reading = Reading(self._notifications, self._tweets, self._accounts, trends, user_id)
        await reading.begin(self._graph)
        return reading

    async def _bodies(
        self, user_id: int, notices: Sequence[Notice], reading: Reading
    ) -> list[bytes]:
        groups = {
            notice: Group(notice.kind, user_id, notice.subject)
            for notice in notices
            if notice.kind not in (*SINGLE, TREND)
        }
        counts: dict[Group, int] = {}
        if groups:
            found = await self._notifications.counts(groups.values(), reading.hidden)
            counts.update(found)
        return [
            fragments.open_object(
                _Shown(
                    id=f"{notice.kind}:{notice.subject}",
                    type=notice.kind,
                    latest_id=str(notice.at),
                    created_at=fragments.rfc3339(time_of(notice.at)),
                    unread=notice.at > reading.read_up_to,
                    # Never fewer than are named: the register may be read a moment earlier.
                    count=max(counts.get(groups[notice], 0), len(notice.users))
                    if notice in groups
                    else len(reading.began_in(notice)) or 1,
                    user_ids=[str(user) for user in notice.users],
                    tweet_id="" if notice.kind in _NO_TWEET else str(notice.subject),
                    trends=[
                        _Begun(one.name, query_of(one.term), one.authors)
                        for one in reading.began_in(notice)
                    ],
                )
            )
            for notice in notices
        ]


def _included(notices: Sequence[Notice], reading: Reading) -> list[tuple[str, list[bytes]]]:
    """Returns who is named, the tweets, and what they are retweets of, with their authors."""
    tweets = {n.subject: reading.tweets[n.subject] for n in notices if n.kind not in _NO_TWEET}
    originals = {
        tweet.retweet_of_id: reading.originals[tweet.retweet_of_id]
        for tweet in tweets.values()
        if tweet.retweet_of_id
    }
    tweets |= originals
    users = dict.fromkeys(user for notice in notices for user in notice.users)
    users |= dict.fromkeys(tweet.author_id for tweet in tweets.values())
    found = [("users", [reading.users[user].body for user in users])]
    if tweets:
        found.append(("tweets", [tweet.body for tweet in tweets.values()]))
    return found
