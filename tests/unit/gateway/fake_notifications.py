"""The notifications unit's reading side, over the oracle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from projections.listing import NEWEST
from projections.notifications.layout import (
    Address,
    Group,
    GroupActs,
    Part,
    Proposal,
    Seen,
    Settings,
)
from projections.notifications.unit import addressees
from tests.oracle import Oracle

ACTS = 2
"""Acts that come with a group, so that names take several steps."""


class FakeNotifications:
    """Answers from what the log says, in small parts."""

    def __init__(self, oracle: Oracle) -> None:
        self._facts = oracle.notifications

    async def part(self, user_id: int, names: Sequence[int], below: int, limit: int) -> Part:
        sought = {user_id, *names}
        tweets = sorted(
            (
                tweet
                for (tweet, _), post in self._facts.posted.items()
                if tweet < below and not post.retweet_of_id and sought & {*addressees(post)}
            ),
            reverse=True,
        )
        groups = []
        for kind, subject in self._facts.groups(user_id):
            acts, rest = await self.acts(Group(kind, user_id, subject), NEWEST, ACTS)
            groups.append(GroupActs(kind, subject, acts, rest))
        floor = tweets[limit - 1] if len(tweets) > limit else 0
        return Part(tweets[:limit], groups, floor)

    async def acts(self, group: Group, below: int, limit: int) -> tuple[list[Seen], int]:
        acts = [act for act in self._of(group) if act.at < below]
        found = acts[:limit]
        return found, found[-1].at if len(found) < len(acts) else 0

    async def counts(self, groups: Iterable[Group], without: Iterable[int]) -> dict[Group, int]:
        left_out = frozenset(without)
        return {
            group: sum(act.user_id not in left_out for act in self._of(group)) for group in groups
        }

    async def addresses(self, user_id: int, channel: str) -> list[Address]:
        return [Address(*found) for found in self._facts.addressed(user_id, channel)]

    async def settings(self, user_id: int) -> Settings:
        return Settings(self._facts.read[user_id], dict(self._facts.preferences[user_id]))

    async def proposed(self, user_id: int, channel: str) -> Proposal | None:
        found = self._facts.proposals.get((user_id, channel))
        return Proposal(*found) if found else None

    async def takers(self, name: str) -> AsyncIterator[int]:
        for user, preferences in list(self._facts.preferences.items()):
            if preferences.get(name):
                yield user

    def _of(self, group: Group) -> list[Seen]:
        acts = self._facts.groups(group.user_id).get((group.kind, group.subject), [])
        return [Seen(*act) for act in acts]
