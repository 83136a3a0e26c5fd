"""The simulated population's events, one after another: pure, seeded, endless.

How it goes
1. Everybody claims a name and registers.
2. Everybody follows whom they follow at first; some already tweet.
3. Life goes on for ever (`infra.simulate.acts`), with busy and quiet times of the day and bursts
   around one hashtag.

Keeps true: the same plan, clock and ids give the same events. Every event could have come from
the command side, but for what a log must survive: `DUPLICATES` of all events come twice (the same
event id, up to 200 events later), rarely somebody "deletes" another's tweet, which must change
nothing, and a tweet may be answered after its deletion, as happens when two users act at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import accumulate
from random import Random

import msgspec

from events.types import Event, UsernameClaimed, UserRegistered
from infra.simulate.acts import ACTS, new_follow
from infra.simulate.clock import Clock, Ids
from infra.simulate.life import Life
from infra.simulate.population import Person, Population
from infra.simulate.words import trend_name

DUPLICATES = 0.01
DUPLICATE_DISTANCE_MAX = 200
BURST_CHANCE = 0.0002
BURST_EVENTS = (300, 2_000)
BURST_LOAD = 3.0
CALM_LOAD = 0.87  # between bursts, so that the load is 1 on average with them
ARRIVAL_LOAD = 5.0  # steps 1 and 2 are soon over, so that life has most of a short run
EARLY_ACTS = 2  # acts for each user while the first follows are made
USERS_MIN = 10


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate.

    Attributes:
        users: Size of the population, at least `USERS_MIN`.
        seed: The same seed gives the same population and the same acts.
        follows_mean: How many others a user follows at first, on average.
        day_seconds: Length of a simulated day; short, so that a demo sees some of it.
    """

    users: int
    seed: int
    follows_mean: float = 20.0
    day_seconds: float = 300.0


class Simulation:
    """One run; `events` is to be iterated once.

    Attributes:
        people: The population.
        load: How busy it is right now, 1 on average; the pace of a live run follows it.

    Raises:
        ValueError: The plan has too few users.
    """

    def __init__(self, plan: Plan, clock: Clock, ids: Ids) -> None:
        if plan.users < USERS_MIN:
            raise ValueError(f"a population has at least {USERS_MIN} users, not {plan.users}")
        self._random = random = Random(plan.seed)
        self._clock = clock
        self._population = Population(random, plan.users, plan.follows_mean, ids)
        self._life = Life(random, clock, ids, self._population, plan.day_seconds)
        self._burst_left = 0
        self._acts = [act for _, act in ACTS]
        self._chances = list(accumulate(weight for weight, _ in ACTS))
        self.people: list[Person] = self._population.people
        self.load = 1.0

    def events(self) -> Iterator[Event]:
        """Every event, for ever; now and then one that came before."""
        again: list[tuple[int, int, Event]] = []
        for count, event in enumerate(self._firsts()):
            yield event
            self._clock.advance(self.load)
            if self._random.random() < DUPLICATES:
                due = count + 1 + int(self._random.random() * DUPLICATE_DISTANCE_MAX)
                heappush(again, (due, count, event))
            while again and again[0][0] <= count:
                yield heappop(again)[2]

    def _firsts(self) -> Iterator[Event]:
        yield from self._registrations()
        yield from self._first_follows()
        while True:
            event = self._act()
            if event is not None:
                yield event

    def _registrations(self) -> Iterator[Event]:
        self.load = ARRIVAL_LOAD
        for person in self.people:
            name, stamp = person.username, self._life.stamp()
            yield UsernameClaimed(
                **stamp, username_key=name.casefold(), username=name, user_id=person.user_id
            )
            yield UserRegistered(
                **self._life.stamp(),
                user_id=person.user_id,
                username=name,
                name=person.name,
                created_at=stamp["occurred_at"],
                description=f"Tweets in {person.language}",
            )

    def _first_follows(self) -> Iterator[Event]:
        for user, person in enumerate(self.people):
            for _ in range(person.follows):
                event = new_follow(self._life, user, self._life.popular())
                if event is not None:
                    yield event
            for _ in range(EARLY_ACTS):
                event = self._act()
                self.load = ARRIVAL_LOAD
                if event is not None:
                    yield event

    def _act(self) -> Event | None:
        if self._burst_left:
            self._burst_left -= 1
        elif self._random.random() < BURST_CHANCE:
            self._burst_left = self._random.randint(*BURST_EVENTS)
            self._life.trend = trend_name(self._random)
        else:
            self._life.trend = None
        burst = BURST_LOAD if self._burst_left else CALM_LOAD
        self.load = self._population.load(self._life.day()) * burst
        return self._random.choices(self._acts, cum_weights=self._chances)[0](self._life)
