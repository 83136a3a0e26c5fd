"""The levels of degrading on purpose, what each takes away, and which one is in force in a process.

The brief's four (``docs/degrading.md`` has a page on each), on top of 0, the normal one:

====  ==============  =============================================================================
1     non-essential   what is listed as a ``Feature`` is not done
2     stale           home timelines are what was pushed: no celebrities, of any age
3     pull only       nothing is pushed: home timelines are read from the author timelines
4     read-only       commands are refused; home timelines as at level 2
====  ==============  =============================================================================

Each level has what the levels below it take away, but for the way in which home timelines are read:
level 3 replaces what level 2 does, and level 4 goes back to that, for without commands there is
nothing to push.

Who says which level: an operator's *order* holds alone while it stands; else the highest that is
measured, by this process (:mod:`.measure`) or, from ``SHARED_FROM`` on, by any.

Keeps true: a level is one number that changes between two requests, never within one answer's
decision; what level 3 does to timelines does not hang on it but on ``projections.timelines.tiers``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum

import msgspec

from gateway.problems import Problem, unavailable

HEADER = "x-degradation-level"
RETRY_SECONDS_MAX = 60
RETRY_SECONDS = 30
"""``Retry-After`` of what a level refuses: about as long as a measured level lasts at least."""


class Level(IntEnum):
    """How far the system is degraded."""

    NORMAL = 0
    LEAN = 1
    STALE = 2
    PULL_ONLY = 3
    READ_ONLY = 4

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Level.NORMAL: "normal",
    Level.LEAN: "non-essential features are off",
    Level.STALE: "home timelines are stale, without celebrities",
    Level.PULL_ONLY: "pull only, nothing is pushed",
    Level.READ_ONLY: "read-only",
}

SHARED_FROM = Level.PULL_ONLY
"""A measured level from which on it concerns every process; below, the one that measured it."""


class Feature(Enum):
    """What the system can do without, with the level from which on it does.

    Whoever builds another one (suggestions) names it here, and asks ``Levels.has`` before he does
    its work.
    """

    VIEWS = ("views", Level.LEAN)
    """Views of tweets: a report of what was seen is answered 202 and counts nothing."""
    OPENINGS = ("openings", Level.LEAN)
    """Openings of the home timeline: none is logged."""
    FRESH_COUNTS = ("fresh counts", Level.LEAN)
    """Counts of tweets that Redis does not hold: they are left out and not read from the store."""

    TRENDS = ("trends", Level.LEAN)
    """Trends are not read: whoever asks for them is told to come again."""
    PUSHES = ("pushes", Level.LEAN)
    """Notifications by push: a router keeps what is due, and drops what gets older than an hour."""

    @property
    def title(self) -> str:
        """For people."""
        return self.value[0]

    @property
    def off_from(self) -> Level:
        """The level from which on the system does without it."""
        return self.value[1]


class Order(msgspec.Struct, frozen=True):
    """What an operator ordered.

    Attributes:
        level: Which level holds.
        until_ms: When it ends, milliseconds since 1970; 0 for never.
        since_ms: When it was given.
        actor: Who gave it.
        reason: Why, in words.
    """

    level: Level
    until_ms: int = 0
    since_ms: int = 0
    actor: str = ""
    reason: str = ""

    def stands(self, now_ms: float) -> bool:
        """Whether it holds at a moment."""
        return not self.until_ms or now_ms < self.until_ms


class Claim(msgspec.Struct, frozen=True):
    """What a process measured.

    Attributes:
        process: Which one.
        level: The level that it measured.
        reason: By what.
    """

    process: str
    level: Level
    reason: str = ""


class Said(msgspec.Struct, frozen=True):
    """What is said to all processes.

    Attributes:
        order: The operator's, if there is one.
        claims: What was measured, by the processes that said so a short time ago.
    """

    order: Order | None = None
    claims: tuple[Claim, ...] = ()

    def level(self, now_ms: float) -> tuple[Level, str]:
        """Returns the level for all, and who says so in words.

        It is the order's while that stands, else the highest shared claim.
        """
        order = self.order
        if order is not None and order.stands(now_ms):
            words = f"ordered by {order.actor}" + (f": {order.reason}" if order.reason else "")
            return order.level, words
        shared = [claim for claim in self.claims if claim.level >= SHARED_FROM]
        if not shared:
            return Level.NORMAL, ""
        highest = max(shared, key=lambda claim: claim.level)
        return highest.level, f"measured by {highest.process}: {highest.reason}"

    def ordered(self, now_ms: float) -> bool:
        """Whether an operator's order stands."""
        return self.order is not None and self.order.stands(now_ms)


class Levels:
    """Which level is in force in this process.

    Args:
        now_ms: The wall clock: orders end by it.
        changed: Told of each change, with the reason.
    """

    def __init__(
        self,
        now_ms: Callable[[], float] = lambda: 0.0,
        changed: Callable[[Level, str], None] | None = None,
    ) -> None:
        self._now_ms = now_ms
        self._changed = changed
        self._said = Said()
        self._measured = Level.NORMAL
        self._reason = ""
        self.now = Level.NORMAL
        """The level in force."""
        self.why = ""
        """Who or what says so."""

    def heard(self, said: Said) -> None:
        """Takes what is said to all; also, again, as time passes."""
        self._said = said
        self._settle()

    def measured(self, level: Level, reason: str) -> None:
        """Takes what this process measured."""
        self._measured, self._reason = level, reason
        self._settle()

    def has(self, feature: Feature) -> bool:
        """Whether a feature's work is done at this level."""
        return self.now < feature.off_from

    @property
    def cached_only(self) -> bool:
        """Whether home timelines are what was pushed."""
        return self.now in (Level.STALE, Level.READ_ONLY)

    @property
    def read_only(self) -> bool:
        """Whether commands are refused."""
        return self.now >= Level.READ_ONLY

    def refusal(self) -> Problem:
        """The answer to a command at level 4."""
        order, seconds = self._said.order, float(RETRY_SECONDS)
        if order is not None and order.until_ms:
            seconds = (order.until_ms - self._now_ms()) / 1000
        return unavailable(
            "read-only",
            "The system is read-only just now. Nothing was changed. Try again later.",
            retry_after_seconds=max(1, min(RETRY_SECONDS_MAX, math.ceil(seconds))),
        )

    def shown(self) -> str:
        """In words, for ``/readyz``."""
        why = f" ({self.why})" if self.why else ""
        return f"{self.now.value}: {self.now.words}{why}"

    def off(self) -> Mapping[str, int]:
        """Returns the features, by name, with the level from which on each is off."""
        return {feature.title: feature.off_from.value for feature in Feature}

    def _settle(self) -> None:
        now_ms = self._now_ms()
        level, why = self._said.level(now_ms)
        if self._measured > level and not self._said.ordered(now_ms):
            level, why = self._measured, f"measured: {self._reason}"
        is_new = level is not self.now
        self.now, self.why = level, why
        if is_new and self._changed is not None:
            self._changed(level, why)
