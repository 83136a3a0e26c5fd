"""Defects that are planted: what the machine is to see, it does see; without them it is content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import pytest

from projections.generations import Phase
from projections.trends.leader import CLOCK_SKEW_MS, Leader
from streams.decisions import Decisions, Folded, Place
from tests.model.desk import READERS
from tests.model.life import Act
from tests.model.machine import Murmuration


@contextmanager
def town() -> Iterator[Murmuration]:
    """Three people who follow each other, and have read their homes; compared at the end."""
    machine = Murmuration()
    machine.begin(members=1, hot=1_000_000, registered=3, follows=1, settled=True)
    try:
        yield machine
    finally:
        machine.teardown()


def a_letter_in_a_replay(way: Any, *, twice: bool) -> None:
    """A tweet that nobody can read is decided upon for all units, and they are built anew."""
    with town() as machine:
        machine.people_act([Act("garble", 0, 1, 0, 0), Act("tweet", 1, 1, 0, 0)])
        machine.a_quiet_moment()
        for number in range(
            len(READERS["new-tweets"])
        ):  # what is done without can be decided upon again
            pick = number if way == "without" else 0
            machine.an_operator_decides(pick=pick, way=way, twice=twice)
        for unit in sorted(READERS["new-tweets"]):
            machine.a_replay_ends(unit, breaks=None, knows=True)


def a_promotion() -> None:
    """Timelines are built anew and put into service; who has read since is pushed to."""
    with town() as machine:
        machine.a_replay_ends("timelines", breaks=None, knows=True)
        machine.an_engineer_promotes(unit=0, pick=0, back=False, looking=2)
        machine.a_quiet_moment()
        machine.people_act([Act("tweet", user, 1, 0, 0) for user in range(3)])


def trends_while_a_worker_lags() -> None:
    """What is said of one tag is applied, of the other not yet; time passes, and somebody leads."""
    with town() as machine:
        machine.people_act([Act("tweet", user, 0, 0, 0) for user in range(3)])
        machine.a_quiet_moment()
        machine.people_act([Act("tweet", user, 0, 1, 0) for user in range(3)])
        machine.people_act([Act("open", 0, 0, 0, 0)] * 40)
        machine.trends_are_worked_out(which=0, generation=0, breaks=None)


def hasty() -> AbstractContextManager[Any]:
    """Whoever leads does not look at how far the log is applied."""

    async def watermark(self: Leader) -> int:
        return self._now_ms() - CLOCK_SKEW_MS

    return mock.patch.object(Leader, "watermark", watermark)


def ignored() -> AbstractContextManager[Any]:
    """Workers apply what was decided upon where it stands as well."""

    async def about(*_: Any) -> tuple[int, ...]:
        return ()

    return mock.patch.object(Decisions, "about", about)


def last() -> AbstractContextManager[Any]:
    """Of two decisions the second counts."""

    def add(self: Folded, partition: int, offset: int, event: Any) -> None:
        origins = self._by_source.setdefault((event.topic, event.partition), {})
        origins[event.offset] = Place(event.attempt, partition, offset)

    return mock.patch.object(Folded, "add", add)


def never_ready() -> AbstractContextManager[Any]:
    """Workers never learn that their generation is ready."""

    async def building(self: Phase) -> bool:
        return self._name != "g1"

    return mock.patch.object(Phase, "building", building)


CASES: list[tuple[Callable[[], None], Callable[[], AbstractContextManager[Any]]]] = [
    (partial(a_letter_in_a_replay, "without", twice=False), ignored),
    (partial(a_letter_in_a_replay, "edited", twice=True), last),
    (a_promotion, never_ready),
    (trends_while_a_worker_lags, hasty),
]


@pytest.mark.parametrize(
    ("story", "defect"), CASES, ids=["decided", "first counts", "phase", "watermark"]
)
def test_a_planted_defect_is_seen(
    story: Callable[[], None], defect: Callable[[], AbstractContextManager[Any]]
) -> None:
    story()
    with defect(), pytest.raises(AssertionError, match="differ from the oracle"):
        story()
