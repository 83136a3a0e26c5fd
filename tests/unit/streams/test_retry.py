"""Failures that pass: the work keeps its place, the log is quiet, a stop is heard."""

from __future__ import annotations

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from events.errors import RegistryUnavailable
from projections.base import PoisonError, RetryableError
from streams.activity import Activity
from streams.errors import Stopping
from streams.metrics import Metrics
from streams.retry import Persistence
from tests.integration.streams.waiting import until


class Flaky:
    """Fails ``times`` times, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


@pytest.fixture
def stopping() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def persistence(stopping: asyncio.Event, registry: CollectorRegistry) -> Persistence:
    return Persistence(stopping, Metrics("toy", registry), Activity(), 0.01)


@pytest.mark.parametrize("error", [RetryableError("away"), RegistryUnavailable("away")])
async def test_what_passes_is_tried_until_it_is_done(
    persistence: Persistence,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    work = Flaky(5, error)
    with caplog.at_level(logging.WARNING):
        assert await persistence.until_done("apply", work) == "done"
    assert work.calls == 6
    assert registry.get_sample_value("murmur_retries_total", {"unit": "toy", "what": "apply"}) == 5
    assert registry.get_sample_value("murmur_retrying", {"unit": "toy"}) == 0
    assert [r.message.split()[2:4] for r in caplog.records] == [
        ["is", "retrying"],
        ["no", "longer"],
    ]


@pytest.mark.parametrize("error", [PoisonError(3, "never"), ValueError("a bug")])
async def test_what_does_not_pass_is_raised_at_once(
    persistence: Persistence, error: Exception
) -> None:
    work = Flaky(1, error)
    with pytest.raises(type(error)):
        await persistence.until_done("apply", work)
    assert work.calls == 1


async def test_a_stop_ends_the_wait(stopping: asyncio.Event, registry: CollectorRegistry) -> None:
    slow = Persistence(
        stopping, Metrics("toy", registry), Activity(), 3600
    )  # the second wait is long
    work = Flaky(10**9, RetryableError("away"))
    task = asyncio.create_task(slow.until_done("apply", work))
    await until(lambda: work.calls >= 1)
    assert registry.get_sample_value("murmur_retrying", {"unit": "toy"}) == 1
    stopping.set()
    with pytest.raises(Stopping):
        await asyncio.wait_for(task, 5)
