"""``GET /api/search`` and ``/api/search/counts``: the tweets that a query finds, and how many.

1. The query is read; a name in it becomes the user who holds it.
2. The search unit says which tweets it finds, from the newest down (``projections.search.read``).
3. Those are looked up, and filtered: what nobody may see, authors whom the reader mutes or with
   whom there is a block, and numbers of likes and retweets, which the index does not have.
4. By relevance: the newest ``RELEVANT_MAX`` that were found, the best first
   (:mod:`projections.search.rank`). A cursor keeps the order of the rest, so that neither newer
   tweets nor new likes move a page.

Counts are of tweets that exist, whoever may see them.

Bounded by: ``STEPS_MAX`` rounds of reading for a page; one that was left short carries a cursor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from struct import Struct

import msgspec

from events.snowflake import EPOCH_MS, TIME_SHIFT, compose
from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.problems import Problem, bad_request
from gateway.queries.places import place_below, seal_place
from gateway.queries.visible import Shown, includes
from gateway.routing import ID_MAX
from gateway.services import Accounts, Graph, Search, Tweets
from projections.fragments import rfc3339
from projections.search import rank
from projections.search.program import Program, bounds, compiled, names_in
from projections.search.query import tree
from projections.search.query.errors import QueryError
from projections.search.query.parse import parse
from projections.search.query.tree import Node
from projections.search.recent import TooCostly
from projections.timelines.layout import Relations
from projections.tweets.layout import TweetFragment

STEPS_MAX = 6
RELEVANT_MAX = 100
"""Tweets that are weighed against each other; each costs some 0.1 ms."""

COUNT_STEPS_MAX = 4
COUNTED_DAYS = 7
"""How far counts go back where the query does not say."""

WIDTHS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_DAY_MS = 86_400_000
_PARTLY, _ID = Struct("<?"), Struct("<Q")

Found = list[tuple[int, TweetFragment]]


class _Metrics(msgspec.Struct):
    like_count: int = 0
    retweet_count: int = 0
    reply_count: int = 0
    quote_count: int = 0


class _Body(msgspec.Struct):
    """What is looked at of a tweet's JSON; counts are left out where nobody knows them."""

    text: str
    lang: str
    public_metrics: _Metrics | None = None


_BODY = msgspec.json.Decoder(_Body)


class SearchQueries:
    """Handlers of searches.

    Args:
        search: Finds ids.
        tweets: Reads tweets, counts included.
        accounts: Reads users and who holds which name.
        graph: Reads blocks and mutes.
        cursors: Seals and opens where pages begin.
        clock_ms: Milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        search: Search,
        tweets: Tweets,
        accounts: Accounts,
        graph: Graph,
        cursors: Cursors,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._search = search
        self._tweets = tweets
        self._accounts = accounts
        self._graph = graph
        self._cursors = cursors
        self._clock_ms = clock_ms

    async def tweets(self, request: Request) -> Response:
        """``GET /api/search``."""
        query = _query(request)
        relevance = _choice(request, "order", ("recency", "relevance")) == "relevance"
        count = page_count(request)
        program, relations = await asyncio.gather(
            self._program(query), self._graph.relations_of(request.user_id)
        )
        seen = _Seen(query, relations, Shown(self._tweets, self._accounts))
        try:
            if relevance:
                return await self._relevant(request, query, program, seen, count)
            return await self._recent(request, query, program, seen, count)
        except TooCostly as error:
            raise _too_costly(error) from error

    async def counts(self, request: Request) -> Response:
        """``GET /api/search/counts``."""
        query = _query(request)
        width = WIDTHS_MS[_choice(request, "granularity", ("hour", "minute", "day"))]
        route = f"search/counts/{width}/{tree.render(query)}"
        if any(isinstance(one, tree.COUNTED) for one in tree.members(query)):
            detail = "Counts do not go with min_likes: and min_retweets:; leave them out."
            raise bad_request("invalid-query", "q", detail)
        program = await self._program(query)
        if bounds(program)[0] == 0:
            query = tree.joined(tree.And, (*tree.members(query), tree.Newer(self._a_week_ago())))
            program = await self._program(query)
        below = place_below(self._cursors, request, route)
        try:
            return await self._counted(request, route, program, width, below)
        except TooCostly as error:
            raise _too_costly(error) from error

    async def _recent(
        self, request: Request, query: Node, program: Program, seen: _Seen, count: int
    ) -> Response:
        route = f"search/{tree.render(query)}"
        below = place_below(self._cursors, request, route)
        kept, below, partly = await self._find(program, seen, below, count + 1)
        if len(kept) > count:
            below = kept[count - 1][0]
        cursor = seal_place(self._cursors, request, route, below) if below else None
        return _tweets_page(kept[:count], seen, cursor, partly)

    async def _relevant(
        self, request: Request, query: Node, program: Program, seen: _Seen, count: int
    ) -> Response:
        route = f"search/relevance/{tree.render(query)}"
        cursor = request.query("cursor")
        if cursor is None:
            kept, _, partly = await self._find(program, seen, ID_MAX, RELEVANT_MAX)
            best = self._ranked(query, kept)
            page_of, rest = best[:count], [tweet_id for tweet_id, _ in best[count:]]
        else:
            partly, ids = _rest_of(self._cursors.open(route, request.user_id, cursor))
            page_of, rest = await seen.of(ids[:count]), ids[count:]
        following = None
        if rest:
            place = _PARTLY.pack(partly) + b"".join(map(_ID.pack, rest))
            following = self._cursors.seal(route, request.user_id, place)
        return _tweets_page(page_of, seen, following, partly)

    def _ranked(self, query: Node, kept: Found) -> Found:
        """Returns tweets by their scores, the best first."""
        top = kept[0][0] if kept else 0
        scored: list[tuple[float, int, TweetFragment]] = []
        for tweet_id, tweet in kept:
            body = _BODY.decode(tweet.body + b"}")
            counts = body.public_metrics or _Metrics()
            engaged = rank.engagement(
                counts.like_count, counts.retweet_count, counts.reply_count, counts.quote_count
            )
            text = rank.text(query, body.text, body.lang)
            score = text * rank.recency(tweet_id, top) * engaged
            scored.append((score, tweet_id, tweet))
        scored.sort(key=lambda one: one[:2], reverse=True)
        return [(tweet_id, tweet) for _, tweet_id, tweet in scored]

    async def _find(
        self, program: Program, seen: _Seen, below: int, want: int
    ) -> tuple[Found, int, bool]:
        """Returns what the reader sees, where to read on, and whether the archive was away."""
        kept: Found = []
        for _ in range(STEPS_MAX):
            found = await self._search.find(program, below, want - len(kept))
            kept += await seen.of(found.ids)
            below = found.floor
            if found.recent_only:
                return kept, below, True
            if len(kept) >= want or below == 0:
                break
        return kept, below, False

    async def _counted(
        self, request: Request, route: str, program: Program, width: int, below: int
    ) -> Response:
        """Returns whole intervals only: one that was not counted to its start is for the next
        page."""
        counts: dict[int, int] = {}
        floor, partly = below, False
        for _ in range(COUNT_STEPS_MAX):
            found = await self._search.count(program, width, floor)
            for start, number in found.by_start.items():
                counts[start] = counts.get(start, 0) + number
            floor, partly = found.floor, found.recent_only
            if partly or floor == 0:
                break
        if floor:
            begins = -(-((floor >> TIME_SHIFT) + EPOCH_MS) // width) * width
            counts = {start: number for start, number in counts.items() if start >= begins}
            floor = compose(begins, 0, 0)
        if floor >= below:
            detail = (
                "One interval holds more tweets than are counted at once: ask for shorter ones."
            )
            raise bad_request("query-too-costly", "granularity", detail)
        data = [
            b'{"start":"%s","end":"%s","tweet_count":%d'
            % (rfc3339(start).encode(), rfc3339(start + width).encode(), number)
            for start, number in sorted(counts.items())
        ]
        cursor = seal_place(self._cursors, request, route, floor) if floor else None
        total = b"%d" % sum(counts.values())
        return page(data, cursor, meta=[("total_tweet_count", total)], incomplete=partly)

    async def _program(self, query: Node) -> Program:
        names = names_in(query)
        claims = await asyncio.gather(*(self._accounts.claim_of(name.casefold()) for name in names))
        return compiled(
            query,
            {
                name: claim.user_id if claim is not None else None
                for name, claim in zip(names, claims, strict=True)
            },
        )

    def _a_week_ago(self) -> int:
        return compose(max(EPOCH_MS, self._clock_ms() - COUNTED_DAYS * _DAY_MS), 0, 0)


class _Seen:
    """What one reader sees of what was found."""

    def __init__(self, query: Node, relations: Relations, shown: Shown) -> None:
        self.shown = shown
        self._hidden = relations.hidden
        nodes = tree.members(query)
        self._likes = max((n.at_least for n in nodes if isinstance(n, tree.Liked)), default=0)
        retweets = (n.at_least for n in nodes if isinstance(n, tree.Retweeted))
        self._retweets = max(retweets, default=0)

    async def of(self, ids: list[int]) -> Found:
        """Returns those of the ids that the reader sees, in their order."""
        before = len(self.shown.tweets)
        await self.shown.add(ids)
        return [pair for pair in self.shown.tweets[before:] if self._lets_through(pair[1])]

    def _lets_through(self, tweet: TweetFragment) -> bool:
        if tweet.author_id in self._hidden or tweet.retweet_of_user_id in self._hidden:
            return False
        if not self._likes and not self._retweets:
            return True
        counts = _BODY.decode(tweet.body + b"}").public_metrics or _Metrics()
        return counts.like_count >= self._likes and counts.retweet_count >= self._retweets


def _tweets_page(found: Found, seen: _Seen, cursor: str | None, partly: bool) -> Response:
    bodies = [tweet.body for _, tweet in found]
    beside = includes(found, seen.shown.originals, seen.shown.users)
    return page(bodies, cursor, beside, incomplete=partly)


def _rest_of(place: bytes) -> tuple[bool, list[int]]:
    (partly,) = _PARTLY.unpack_from(place)
    return partly, [tweet_id for (tweet_id,) in _ID.iter_unpack(place[_PARTLY.size :])]


def _query(request: Request) -> Node:
    text = request.query("q")
    if text is None:
        raise bad_request("invalid-query", "q", "q is what to look for, such as q=cats.")
    try:
        return parse(text)
    except QueryError as error:
        raise bad_request("invalid-query", "q", str(error)) from error


def _choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """Returns a query parameter that is one of these, the first where it is not given."""
    value = request.query(name) or choices[0]
    if value not in choices:
        detail = f"{name} is {', '.join(choices[:-1])} or {choices[-1]}."
        raise bad_request(f"invalid-{name}", name, detail)
    return value


def _too_costly(error: TooCostly) -> Problem:
    return bad_request("query-too-costly", "q", f"This query is refused: {error}.")
