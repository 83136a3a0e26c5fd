"""The log behind its guard: refused at once while no broker answers, and never taken for failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from events.errors import BrokerUnreachable, OutcomeUnknown
from events.log import Log
from events.producer import ProducerSettings
from gateway.guards.breaker import Thresholds
from gateway.guards.guard import Guard, engine_away
from gateway.guards.log import GuardedProducer
from gateway.metrics import GatewayMetrics
from gateway.outcomes import append_problem
from schemas.catalog import Topics
from tests.unit.events.doubles import MemoryIdempotency, local_codec
from tests.unit.events.test_log import MOCK, NOWHERE, liked
from tests.unit.waiting import until

AT = Thresholds(bad_min=1, bad_share=0.0, trials_max=8, successes_min=1)
DELIVERY_MS_MAX = 300
AT_ONCE_SECONDS_MAX = 0.25


class Brokers:
    """What probes find."""

    def __init__(self) -> None:
        self.there = False

    async def probe(self) -> None:
        if not self.there:
            raise BrokerUnreachable("nobody")


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
async def guard(brokers: Brokers) -> AsyncIterator[Guard]:
    metrics = GatewayMetrics(CollectorRegistry())
    guard = Guard("log", AT, brokers.probe, metrics, probe_closes=False)
    yield guard
    await guard.close()


async def opened(guard: Guard, keys: MemoryIdempotency, **settings: Any) -> Log:
    log = Log(
        ProducerSettings(**settings),
        local_codec(),
        Topics("t."),
        keys,
        producer=lambda chosen: GuardedProducer(chosen, guard),
    )
    await log.open()
    return log


async def test_after_the_first_append_without_a_broker_others_are_refused_at_once(
    guard: Guard, brokers: Brokers
) -> None:
    keys = MemoryIdempotency()
    log = await opened(guard, keys, bootstrap=NOWHERE, delivery_ms_max=DELIVERY_MS_MAX)
    with pytest.raises(BrokerUnreachable):
        await log.append(liked())
    async with asyncio.timeout(AT_ONCE_SECONDS_MAX):
        for key in (None, "new"):
            with pytest.raises(BrokerUnreachable) as refused:
                await log.append(liked(), idempotency_key=key)
            assert engine_away(refused.value) is not None
            problem = append_problem(refused.value)
            assert problem.status == 503
            assert int(dict(problem.headers)["retry-after"]) >= 1
    # What was never sent is not kept either, so that its repetition is as certain as it was.
    assert keys.rows == {}
    await log.close(0.1)


async def test_a_key_that_may_have_been_sent_stays_unknown_while_the_log_is_away(
    guard: Guard,
) -> None:
    keys = MemoryIdempotency()
    log = await opened(guard, keys, bootstrap=NOWHERE, delivery_ms_max=DELIVERY_MS_MAX)
    with pytest.raises(BrokerUnreachable):
        await log.append(liked(), idempotency_key="k")
    for _ in range(2):
        async with asyncio.timeout(AT_ONCE_SECONDS_MAX):
            with pytest.raises(OutcomeUnknown, match="may have been sent before"):
                await log.append(liked(), idempotency_key="k")
    await log.close(0.1)


async def test_an_append_closes_it_once_a_probe_was_answered(
    guard: Guard, brokers: Brokers
) -> None:
    log = await opened(guard, MemoryIdempotency(), bootstrap="mock", options=MOCK)
    guard.failed("no broker")
    with pytest.raises(BrokerUnreachable):
        await log.append(liked())
    brokers.there = True
    await until(lambda: not guard.refuses)
    assert guard.away
    await log.append(liked())
    assert not guard.away
    await log.close(0.1)


async def test_what_was_sent_before_the_log_came_back_does_not_open_it_again(
    guard: Guard, brokers: Brokers
) -> None:
    began = guard.clock()
    guard.failed("no broker")
    brokers.there = True
    await until(lambda: not guard.refuses)
    with guard.admitted():
        guard.answered(0.0)
    guard.failed("timed out at last", began)
    assert not guard.away


async def test_an_append_that_is_late_is_enough_where_a_probe_fails_too(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.guards.log.SUSPECT_SECONDS", 0.05)
    log = await opened(guard, MemoryIdempotency(), bootstrap=NOWHERE, delivery_ms_max=60_000)
    waiting = asyncio.create_task(log.append(liked()))
    await until(lambda: guard.refuses)
    assert not waiting.done()
    await log.close(0.1)
    with pytest.raises(BrokerUnreachable):
        await waiting
