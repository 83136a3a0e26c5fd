"""What all acts of the simulated population share: chance, time, ids, people and their ties."""

from __future__ import annotations

from random import Random
from typing import TypedDict

from infra.simulate.clock import Clock, Ids
from infra.simulate.population import Person, Population
from infra.simulate.state import Reversible, Ties, Tweets


class Stamp(TypedDict):
    """What every event starts with."""

    event_id: int
    occurred_at: int


class Life:
    """State of one run; people are named by their index in `people`.

    Attributes:
        trend: The hashtag that everybody uses right now, if any.
        lists: Owners and ids of lists.
        listed: Owners, lists and members.
        inactive: Indices of deactivated users.
        erased: Indices of erased users.
    """

    def __init__(
        self, random: Random, clock: Clock, ids: Ids, population: Population, day_seconds: float
    ) -> None:
        self.random = random
        self.population = population
        self.people: list[Person] = population.people
        self.index_of = {person.user_id: i for i, person in enumerate(self.people)}
        self.follows, self.blocks = Ties(), Ties()
        self.tweets = Tweets()
        self.unfollowed: Reversible[tuple[int, int]] = Reversible()
        self.blocked: Reversible[tuple[int, int]] = Reversible()
        self.muted: Reversible[tuple[int, int]] = Reversible()
        self.liked: Reversible[tuple[int, int, int]] = Reversible()
        self.lists: list[tuple[int, int]] = []
        self.listed: Reversible[tuple[int, int, int]] = Reversible()
        self.bookmarked: Reversible[tuple[int, int]] = Reversible()
        self.trend: str | None = None
        self.inactive: list[int] = []
        self.erased: set[int] = set()
        self._clock = clock
        self._ids = ids
        self._day_ms = day_seconds * 1000.0

    def day(self) -> float:
        """Time of the simulated day, 0 to 1."""
        return (self._clock.now_ms() / self._day_ms) % 1.0

    def new_id(self) -> int:
        """A fresh Snowflake id."""
        return self._ids()

    def stamp(self) -> Stamp:
        """A fresh event id and the time."""
        return {"event_id": self._ids(), "occurred_at": self._clock.now_ms()}

    def actor(self) -> int:
        """Somebody who is awake and has an account."""
        while True:
            user = self.population.pick_active(self.random, self.day())
            if user not in self.erased and user not in self.inactive:
                return user

    def popular(self) -> int:
        """Somebody, by popularity."""
        return self.population.by_popularity.pick(self.random)

    def user_id(self, user: int) -> int:
        """The id of a person."""
        return self.people[user].user_id

    def block_between(self, user: int, other: int) -> bool:
        """Whether either blocks the other."""
        return (user, other) in self.blocks or (other, user) in self.blocks
