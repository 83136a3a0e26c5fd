"""Who is simulated: users with a heavy-tailed popularity, a language and a time zone.

Popularity falls with rank as in Zipf's law (exponent 0.9), so that a few users are followed by a
large part of all. How many others a user follows is heavy-tailed too (Pareto, shape 1.6). Picking
is by bisection in cumulative weights: O(log users) a pick. Memory is a few hundred bytes a user.
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from math import cos, pi
from random import Random

import msgspec

from infra.simulate.clock import Ids
from infra.simulate.words import LANGUAGES, words

ZIPF_EXPONENT = 0.9
PARETO_SHAPE = 1.6
REGIONS = 4
FIRST_NAMES = words(
    "Ada Bo Cem Dina Eli Fay Gus Hana Ivo Jun Kim Lea Mia Nils Oya Pia Quim Rui Sol Tam Uma Vito "
    "Wim Xena Yuki Zoë"
)
LAST_NAMES = words("Abe Berg Costa Diaz Ek Fuchs Gomes Holm Ito Jonas Kaya Lund Moreau Núñez")
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class Person(msgspec.Struct, frozen=True):
    """One simulated user.

    Attributes:
        user_id: Snowflake id.
        username: Made of the id, so unique in practice, also beside an earlier run's.
        name: Display name.
        language: A key of `infra.simulate.words.WORDS`.
        region: Time zone, as a quarter of the day.
        follows: How many others the user follows at first.
    """

    user_id: int
    username: str
    name: str
    language: str
    region: int
    follows: int


class Picker:
    """Picks indices with given weights, in O(log n)."""

    def __init__(self, indices: list[int], weights: list[float]) -> None:
        self._indices = indices
        self._cumulative = list(accumulate(weights))
        self.total = self._cumulative[-1] if weights else 0.0

    def pick(self, random: Random) -> int:
        """One index, by weight."""
        place = bisect(self._cumulative, random.random() * self.total)
        return self._indices[min(place, len(self._indices) - 1)]


class Population:
    """People by index; index is no rank."""

    def __init__(self, random: Random, users: int, follows_mean: float, ids: Ids) -> None:
        self.people = [_person(random, users, follows_mean, ids) for _ in range(users)]
        ranks = list(range(1, users + 1))
        random.shuffle(ranks)
        popularity = [rank**-ZIPF_EXPONENT for rank in ranks]
        activity = [0.2 + random.paretovariate(1.3) + 3 * weight for weight in popularity]
        self.by_popularity = Picker(list(range(users)), popularity)
        self._by_activity: list[Picker] = []
        for region in range(REGIONS):
            members = [i for i, person in enumerate(self.people) if person.region == region]
            self._by_activity.append(Picker(members, [min(activity[i], 20.0) for i in members]))

    def load(self, day: float) -> float:
        """How busy the population is at a time of day (0 to 1, UTC), about 1 on average."""
        awake = sum(
            picker.total * rhythm(day, region) for region, picker in enumerate(self._by_activity)
        )
        return awake / sum(picker.total for picker in self._by_activity)

    def pick_active(self, random: Random, day: float) -> int:
        """Somebody who acts now: awake regions more often, busy users more often."""
        weights = [
            picker.total * rhythm(day, region) for region, picker in enumerate(self._by_activity)
        ]
        chance = random.random() * sum(weights)
        for region, weight in enumerate(weights):
            if chance < weight:
                return self._by_activity[region].pick(random)
            chance -= weight
        return self.by_popularity.pick(random)


def rhythm(day: float, region: int) -> float:
    """Activity of a region by the time of day: 0.2 in its night, 1.8 in its evening."""
    return 1.0 + 0.8 * cos(2 * pi * (day - region / REGIONS - 0.8))


def _person(random: Random, users: int, follows_mean: float, ids: Ids) -> Person:
    user_id = ids()
    first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    # A Pareto variable of shape a has the mean a / (a - 1).
    follows = random.paretovariate(PARETO_SHAPE) * follows_mean * (PARETO_SHAPE - 1) / PARETO_SHAPE
    return Person(
        user_id=user_id,
        username=f"{first[:3].lower()}_{_base36(user_id)}".replace("zoë", "zoe"),
        name=f"{first} {last}",
        language=LANGUAGES[min(int(random.expovariate(0.9)), len(LANGUAGES) - 1)],
        region=int(random.random() ** 3 * REGIONS),
        follows=min(int(follows) + 1, users // 2),
    )


def _base36(number: int) -> str:
    """The id's digits in base 36, at most 11 of them since 15 is the longest username."""
    digits: list[str] = []
    while number and len(digits) < 11:
        number, digit = divmod(number, 36)
        digits.append(BASE36[digit])
    return "".join(reversed(digits))
