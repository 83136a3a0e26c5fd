"""Lists: one, a user's, who is in it, and its timeline.

What a reader sees of a list's timeline is what :mod:`gateway.queries.home` shows of candidates,
with the members in place of those whom the reader follows (``list_timeline`` of the oracle): tweets
and retweets by the members, minus deleted, deactivated, blocked in either direction, or muted; a
reply only if the one replied to is the reader, its author, or a member; of several retweets of one
tweet the newest.

A private list, and one of an account that is not active, is there for its owner alone.

Bounded by: ``LARGE_READS_MAX`` timelines of lists of more than ``LARGE_MEMBERS`` members read at
once by a process, so that they do not hold up the rest (decision 0080 has what they cost); the
bounds of ``projections.timelines.authors`` and of :func:`gateway.queries.home.read_page`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import one, page, page_count
from gateway.problems import not_found
from gateway.queries.home import candidates_for, read_page
from gateway.queries.places import place_below, seal_place
from gateway.queries.timeline import Place
from gateway.queries.users import with_counts
from gateway.queries.visible import includes
from gateway.services import Accounts, Authors, Collections, Graph, Tweets
from projections.collections.layout import ListFragment
from projections.timelines.authors import NEWEST
from projections.timelines.layout import Relations

LARGE_MEMBERS = 500
LARGE_READS_MAX = 2

STEPS_MAX = 8
"""Rounds of reading for a page of a user's lists; private ones make it shorter."""


async def shown_list(
    collections: Collections, accounts: Accounts, request: Request
) -> ListFragment:
    """Returns the list ``{id}`` of a request.

    Raises:
        Problem: 404, there is none that the request's user may see.
    """
    list_id: int = request.params["id"]
    found = (await collections.lists([list_id])).get(list_id)
    if found is None or not found.shown_to(request.user_id):
        raise not_found(f"list {list_id}")
    if found.owner_id not in await accounts.get([found.owner_id]):
        raise not_found(f"list {list_id}")
    return found


class ListSource:
    """Candidates of a list's timeline: the author timelines of its members, merged.

    A :class:`gateway.queries.home.Source`.
    """

    def __init__(
        self,
        authors: Authors,
        user_id: int,
        relations: Relations,
        members: Sequence[int],
        below: int,
        wanted: int,
    ) -> None:
        self._authors = authors
        self._wanted = wanted
        self._floor = below
        self._found: list[int] = []
        self.user_id = user_id
        self.authors = frozenset(members)
        self.relations = Relations(
            following=self.authors,
            blocked=relations.blocked,
            blocking=relations.blocking,
            muted=relations.muted,
        )
        self.below = below
        self.incomplete = False
        # Of nobody else can anything be shown; why read it.
        self._read = self.authors - relations.blocked - relations.muted

    async def step(self) -> list[int]:
        """Returns the next candidates, newest first; an empty list when there are no more."""
        while not self._found and self._floor:
            merge = await self._authors.merge(self._read, self._floor, self._wanted)
            self._found = [entry.tweet_id for entry in merge.entries]
            self._floor = merge.floor
        # Of many members far more is found than is wanted; what is not needed is not hydrated.
        ids, self._found = self._found[: self._wanted], self._found[self._wanted :]
        self.below = ids[-1] if self._found else self._floor
        return ids

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns the retweets of originals by ``authors``."""
        return await self._authors.retweets_of(originals, authors)


class ListQueries:
    """Handlers of the lists' reads."""

    def __init__(
        self,
        *,
        collections: Collections,
        accounts: Accounts,
        tweets: Tweets,
        authors: Authors,
        graph: Graph,
        cursors: Cursors,
    ) -> None:
        self._collections = collections
        self._accounts = accounts
        self._tweets = tweets
        self._authors = authors
        self._graph = graph
        self._cursors = cursors
        self._large = asyncio.Semaphore(LARGE_READS_MAX)

    async def by_id(self, request: Request) -> Response:
        """``GET /api/lists/{id}``."""
        return Response(one((await self._shown(request)).body))

    async def owned(self, request: Request) -> Response:
        """``GET /api/users/{id}/lists``: newest first; private ones for the owner alone."""
        user_id, count = request.params["id"], page_count(request)
        route = f"lists-of/{user_id}"
        below = place_below(self._cursors, request, route)
        if user_id not in await self._accounts.get([user_id]):
            raise not_found(f"user {user_id}")
        shown: list[tuple[int, ListFragment]] = []
        more = True
        for _ in range(STEPS_MAX):
            found = await self._collections.owned(user_id, below, count + 1)
            shown += [(i, each) for i, each in found.items() if each.shown_to(request.user_id)]
            more = len(found) > count
            if more:
                below = min(found)
            if len(shown) > count or not more:
                break
        if len(shown) > count:
            below, more = shown[count - 1][0], True
        cursor = seal_place(self._cursors, request, route, below) if more else None
        return page([each.body for _, each in shown[:count]], cursor)

    async def members(self, request: Request) -> Response:
        """``GET /api/lists/{id}/members``: by descending id; inactive ones are left out."""
        await self._shown(request)
        list_id, count = request.params["id"], page_count(request)
        route = f"list-members/{list_id}"
        below = place_below(self._cursors, request, route)
        under = [i for i in await self._collections.members(list_id) if i < below]
        ids = under[: -count - 1 : -1]
        found = await self._accounts.get(ids)
        shown = [member for member in ids if member in found]
        more = len(under) > count
        cursor = seal_place(self._cursors, request, route, ids[-1]) if more else None
        return page(await with_counts(self._graph, shown, found), cursor)

    async def tweets(self, request: Request) -> Response:
        """``GET /api/lists/{id}/tweets``: the list's timeline."""
        await self._shown(request)
        list_id, count = request.params["id"], page_count(request)
        route = f"list-tweets/{list_id}"
        text = request.query("cursor")
        place = Place(NEWEST, 0)
        if text is not None:
            place = Place.open(self._cursors, request.user_id, text, route)
        members, relations = await asyncio.gather(
            self._collections.members(list_id), self._graph.relations_of(request.user_id)
        )
        wanted = candidates_for(count)
        source = ListSource(self._authors, request.user_id, relations, members, place.below, wanted)
        async with self._turn(len(members)):
            found = await read_page(
                source, self._tweets, self._accounts, place.below, count, top=place.top
            )
        following = place.after(found)
        cursor = following.seal(self._cursors, request.user_id, route) if following else None
        bodies = [tweet.body for _, tweet in found.tweets]
        included = includes(found.tweets, found.originals, found.users)
        return page(bodies, cursor, included, incomplete=found.incomplete)

    @asynccontextmanager
    async def _turn(self, members: int) -> AsyncIterator[None]:
        """Waits for its turn among the large reads, where this is one."""
        if members <= LARGE_MEMBERS:
            yield
            return
        async with self._large:
            yield

    async def _shown(self, request: Request) -> ListFragment:
        return await shown_list(self._collections, self._accounts, request)
