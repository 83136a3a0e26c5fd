"""The search unit's reading side, over the oracle."""

from __future__ import annotations

from events.snowflake import time_of
from projections.search.layout import document
from projections.search.matching import matches
from projections.search.part import NEWEST
from projections.search.people import words_of
from projections.search.program import Program
from projections.search.read import Counted, Results
from tests.oracle import Oracle


class FakeSearch:
    """Finds by looking at everything.

    Attributes:
        is_recent_only: As if the archive were away.
        most: Tweets that one answer has, few so that pages take several.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.is_recent_only = False
        self.most = 3

    async def find(self, program: Program, below: int, want: int) -> Results:
        found = self._found(program, below)
        ids = found[: min(want, self.most)]
        floor = ids[-1] if len(ids) < len(found) else 0
        return Results(ids, floor, self.is_recent_only)

    async def count(self, program: Program, width_ms: int, below: int = NEWEST) -> Counted:
        counts: dict[int, int] = {}
        for tweet_id in self._found(program, below):
            start = time_of(tweet_id) // width_ms * width_ms
            counts[start] = counts.get(start, 0) + 1
        return Counted(counts, 0, self.is_recent_only)

    def _found(self, program: Program, below: int) -> list[int]:
        found: list[int] = []
        for tweet_id, post in sorted(self._oracle._posted.items(), reverse=True):
            if tweet_id >= below or (post.user_id, tweet_id) in self._oracle._deleted:
                continue
            one = document(post, 0)
            terms: dict[str, bytes] = {}
            for term, place in one.terms:
                terms[term] = terms.get(term, b"") + bytes((place,))
            if matches(program, tweet_id, terms, one.language, one.flags):
                found.append(tweet_id)
        return found


class FakePeople:
    """Candidates of all who ever registered."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def starting_with(self, asked: list[str], limit: int) -> list[int]:
        longest = max(asked, key=len)
        profiles = ((user, self._oracle.profile(user)) for user in self._oracle.users())
        return [
            user
            for user, profile in profiles
            if profile is not None
            and any(w.startswith(longest) for w in words_of(profile.username, profile.name))
        ][:limit]
