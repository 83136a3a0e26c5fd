"""The parts of a replay that need no engine: bounds, progress, pointers, what is refused."""

from __future__ import annotations

import pytest

from events.slices import Record, Slice
from events.types import Event, TweetPosted, UserFollowed
from infra.replay.bounded import Bounded, bounded
from infra.replay.progress import Progress
from projections.generations import WHOLE, Bounds, Pointer
from tests.posts import post


class Kept:
    """A unit that keeps what it is fed."""

    name = "kept"
    topics = frozenset({"new-tweets"})

    def __init__(self, at: int | None = None) -> None:
        self.slices: list[Slice] = []
        self._at = at

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def heartbeat(self) -> None: ...

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        return self._at

    async def apply(self, piece: Slice) -> None:
        self.slices.append(piece)


def follow(event_id: int, user: int, target: int) -> UserFollowed:
    return UserFollowed(event_id=event_id, occurred_at=0, user_id=user, target_user_id=target)


def piece(*events: Event) -> Slice:
    records = [Record(offset, 0, event) for offset, event in enumerate(events, start=10)]
    return Slice("new-tweets", 0, "id", 10, 10 + len(events), records)


def test_all_of_the_log_is_no_bound() -> None:
    unit = Kept()
    assert bounded(unit, WHOLE) is unit
    assert isinstance(bounded(unit, Bounds(only=(1,))), Bounded)


async def test_what_is_outside_the_bounds_is_left_out_and_covered_all_the_same() -> None:
    unit = Kept()
    whole = piece(follow(1, 7, 8), follow(2, 8, 9), follow(3, 9, 7), follow(4, 7, 9))
    await Bounded(unit, Bounds(end={"new-tweets/0": 13}, only=(7,))).apply(whole)
    (fed,) = unit.slices
    assert [record.offset for record in fed.records] == [10, 12]
    assert (fed.start, fed.end) == (10, 14)


@pytest.mark.parametrize(("at", "begins"), [(None, 40), (55, 55)])
async def test_it_begins_where_the_part_does_and_goes_on_where_it_was(
    at: int | None, begins: int
) -> None:
    part = Bounded(Kept(at), Bounds(first={"new-tweets/0": 40}))
    assert await part.resume("new-tweets", 0, "id") == begins


async def test_a_reply_concerns_the_one_replied_to() -> None:
    unit = Kept()
    reply = post(5, 2, reply_to_id=4, reply_to_user_id=7)
    assert isinstance(reply, TweetPosted)
    await Bounded(unit, Bounds(only=(7,))).apply(piece(reply, post(6, 3)))
    assert [record.event for record in unit.slices[0].records] == [reply]


def progress(at: float, applied: dict[str, int]) -> Progress:
    return Progress(at=at, first={"a/0": 5, "a/1": 0}, applied=applied, ends={"a/0": 25, "a/1": 10})


def test_progress_counts_from_where_it_began() -> None:
    begun, half = progress(0.0, {}), progress(2.0, {"a/0": 15})
    assert (begun.total, begun.done, begun.lag) == (30, 0, {"a/0": 20, "a/1": 10})
    assert (half.done, half.behind, half.rate(begun)) == (10, 20, 5.0)
    assert half.reached({"a/0": 15})
    assert not half.reached(begun.ends)


def test_an_empty_log_is_reached_at_once() -> None:
    empty = Progress(at=0.0, first={"a/0": 3}, applied={}, ends={"a/0": 3})
    assert (empty.total, empty.behind) == (0, 0)


def test_a_pointer_takes_effect_at_its_moment_for_all() -> None:
    pointer = Pointer("g2", "g1", 1_000)
    assert [pointer.at(now) for now in (999, 1_000, 1_001)] == ["g1", "g2", "g2"]
    assert Pointer("g1").at(0) == "g1"
