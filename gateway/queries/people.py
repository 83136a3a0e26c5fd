"""``GET /api/search/users``: users whose username or name has words that begin as was typed.

The search unit names candidates, the profiles decide. First who is called exactly so, then those
with the most followers, of the first ``CANDIDATES_MAX`` candidates in the order of the alphabet.
"""

from __future__ import annotations

import asyncio

from gateway.http import Request, Response
from gateway.pages import page, page_count
from gateway.problems import bad_request
from gateway.queries.users import with_counts
from gateway.services import Accounts, Graph, People
from projections.search.people import found_by, words_asked

CANDIDATES_MAX = 100
CHARACTERS_MAX = 100
COUNT_MAX = 50


class PeopleQueries:
    """Handler of searches for users."""

    def __init__(self, people: People, accounts: Accounts, graph: Graph) -> None:
        self._people = people
        self._accounts = accounts
        self._graph = graph

    async def users(self, request: Request) -> Response:
        """``GET /api/search/users``."""
        text = request.query("q") or ""
        asked = words_asked(text)
        if not asked or len(text) > CHARACTERS_MAX:
            detail = f"q is the beginning of a name, at most {CHARACTERS_MAX} characters."
            raise bad_request("invalid-query", "q", detail)
        count = page_count(request, COUNT_MAX)
        ids, relations = await asyncio.gather(
            self._people.starting_with(asked, CANDIDATES_MAX),
            self._graph.relations_of(request.user_id),
        )
        candidates = [user for user in ids if user not in relations.blocked]
        users, followers = await asyncio.gather(
            self._accounts.get(candidates), self._graph.follower_counts(candidates)
        )
        named = {user: found.named for user, found in users.items()}
        found = [u for u, one in named.items() if found_by(asked, one.username, one.name)]
        exact = text.strip().lstrip("@").casefold()
        found.sort(key=lambda u: (named[u].username.casefold() != exact, -followers[u], u))
        shown = found[:count]
        return page(await with_counts(self._graph, shown, users), None)
