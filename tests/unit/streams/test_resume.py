"""Where a partition is read from, and what is said when that cannot be."""

from __future__ import annotations

import asyncio

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from projections.base import ForeignTopic, RetryableError
from streams.activity import Activity
from streams.errors import OperatorNeeded
from streams.metrics import Metrics
from streams.resume import ResumeFromState
from streams.retry import Persistence
from streams.settings import WorkerSettings
from streams.transport import Bounds

SETTINGS = WorkerSettings("nowhere:1", "g", topic_prefix="test.", retry_seconds_max=0.01)
P3 = TP("test.numbers", 3)


class Positioned:
    """A unit that answers ``resume`` from a script."""

    name = "toy"
    topics = frozenset({"numbers"})

    def __init__(self, *answers: int | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int, str]] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def heartbeat(self) -> None: ...

    async def apply(self, piece: object) -> None: ...

    async def resume(self, topic: str, partition: int, topic_id: str) -> int | None:
        self.asked.append((topic, partition, topic_id))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def resumer(unit: Positioned) -> ResumeFromState:
    async def ask(name: str) -> str:
        return f"id-of-{name}"

    metrics = Metrics("toy", CollectorRegistry())
    return ResumeFromState(
        unit, SETTINGS, ask, Persistence(asyncio.Event(), metrics, Activity(), 0.01)
    )


@pytest.mark.parametrize(
    ("answer", "bounds", "expected"),
    [
        (None, Bounds(0, 9, 5), 0),
        (None, Bounds(4, 9, None), 4),
        (7, Bounds(0, 9, 5), 7),
        (3, Bounds(0, 9, 5), 3),
        (9, Bounds(0, 9, None), 9),
        (0, Bounds(0, 0, None), 0),
    ],
)
async def test_the_state_decides_not_the_group(
    answer: int | None, bounds: Bounds, expected: int
) -> None:
    unit = Positioned(answer)
    resume = resumer(unit)
    assert await resume(P3, bounds) == expected
    assert unit.asked == [("numbers", 3, "id-of-test.numbers")]
    assert resume.ids == {"test.numbers": "id-of-test.numbers"}


async def test_an_engine_that_is_away_is_asked_again() -> None:
    assert (
        await resumer(Positioned(RetryableError("a"), RetryableError("b"), 4))(
            P3, Bounds(0, 9, None)
        )
        == 4
    )


@pytest.mark.parametrize(
    ("answer", "bounds", "words"),
    [
        (12, Bounds(0, 9, 5), ("toy", "numbers/3", "12", "ends at 9", "new generation")),
        (2, Bounds(5, 9, 5), ("toy", "numbers/3", "2", "starts at 5", "kept for ever")),
        (
            ForeignTopic("the position is of topic AAA"),
            Bounds(0, 9, 5),
            ("toy", "numbers/3", "AAA", "id-of-test.numbers", "new generation"),
        ),
    ],
)
async def test_a_position_that_does_not_fit_is_explained(
    answer: int | Exception, bounds: Bounds, words: tuple[str, ...]
) -> None:
    with pytest.raises(OperatorNeeded) as caught:
        await resumer(Positioned(answer))(P3, bounds)
    assert all(word in str(caught.value) for word in words)
    assert caught.value.exit_code == 78
