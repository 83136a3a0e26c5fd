"""The log's promises, against librdkafka's mock brokers and against no broker at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from events.errors import (
    AppendManyFailed,
    BrokerUnreachable,
    EventTooLarge,
    InvalidEvent,
    KeyReused,
    LogClosed,
    OutcomeUnknown,
    PoisonError,
    QueueFull,
    RetryableError,
    StoreUnavailable,
)
from events.idempotency import IdempotencyStore
from events.log import Log
from events.position import Position
from events.producer import ProducerSettings
from events.types import TweetLiked, UserRegistered
from schemas.catalog import Topics
from tests.unit.events.doubles import MemoryIdempotency, local_codec
from tests.unit.events.idempotency_suite import IdempotencySuite

NOWHERE = "127.0.0.1:1"
MOCK = {"test.mock.num.brokers": "1"}


def liked(number: int = 1) -> TweetLiked:
    return TweetLiked(event_id=number, occurred_at=2, tweet_id=number, tweet_author_id=4, user_id=5)


def named(name: str) -> UserRegistered:
    return UserRegistered(
        event_id=1, occurred_at=2, user_id=3, username="a", name=name, created_at=4
    )


class TestKeysInMemory(IdempotencySuite):
    @pytest.fixture
    def keys(self) -> IdempotencyStore:
        return MemoryIdempotency()


@pytest.fixture
def keys() -> MemoryIdempotency:
    return MemoryIdempotency()


Opener = Callable[..., Awaitable[Log]]


@pytest.fixture
async def opened(keys: MemoryIdempotency) -> AsyncIterator[Opener]:
    logs: list[Log] = []

    async def open_log(**settings: Any) -> Log:
        producer = ProducerSettings(**{"bootstrap": "mock", "options": MOCK, **settings})
        log = Log(producer, local_codec(), Topics("t."), keys)
        await log.open()
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        await log.close(0.1)


async def test_an_append_answers_with_its_place(opened: Opener) -> None:
    log = await opened()
    first, second = await log.append(liked()), await log.append(liked())
    assert first.topic == "engagements"
    assert (second.partition, second.offset) == (first.partition, first.offset + 1)
    assert Position.parse(str(first)) == first


async def test_many_appends_keep_their_order_in_each_partition(opened: Opener) -> None:
    log = await opened()
    positions = await log.append_many([liked(number) for number in range(12_000)])
    assert len(set(positions)) == 12_000
    for partition in {position.partition for position in positions}:
        offsets = [p.offset for p in positions if p.partition == partition]
        assert offsets == sorted(offsets)


async def test_an_invalid_event_is_not_sent_and_names_its_field(opened: Opener) -> None:
    log = await opened()
    with pytest.raises(InvalidEvent) as caught:
        await log.append(liked(-1))
    assert caught.value.field == "event_id"
    with pytest.raises(InvalidEvent) as caught:
        await log.append(liked(), traceparent="not one")
    assert caught.value.field == "traceparent"


async def test_an_oversized_event_is_not_sent_nor_stored(
    opened: Opener, keys: MemoryIdempotency
) -> None:
    log = await opened(event_bytes_max=2_000)
    with pytest.raises(EventTooLarge) as caught:
        await log.append(named("x" * 2_000), idempotency_key="k")
    assert caught.value.size_bytes > caught.value.limit_bytes == 2_000
    assert keys.rows == {}


async def test_an_unreachable_broker_is_told_from_an_unknown_outcome(opened: Opener) -> None:
    log = await opened(bootstrap=NOWHERE, options={}, delivery_ms_max=300)
    with pytest.raises(BrokerUnreachable, match="nothing was sent"):
        await log.append(liked())


async def test_a_full_queue_is_told_and_nothing_is_sent(opened: Opener) -> None:
    log = await opened(bootstrap=NOWHERE, options={}, delivery_ms_max=60_000, in_flight_max=2)
    waiting = [asyncio.create_task(log.append(liked())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await log.append(liked())
    await log.close(0.1)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BrokerUnreachable] * 2


async def test_a_closed_log_takes_nothing(opened: Opener) -> None:
    log = await opened()
    await log.append(liked())
    await log.close()
    await log.close()
    with pytest.raises(LogClosed):
        await log.append(liked())


async def test_a_caller_that_gives_up_does_not_disturb_the_others(opened: Opener) -> None:
    log = await opened(linger_ms=50)
    given_up = asyncio.create_task(log.append(liked()))
    other = asyncio.create_task(log.append(liked()))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await other).offset == 1


async def test_many_that_partly_fail_tell_the_outcome_of_each(opened: Opener) -> None:
    log = await opened()
    with pytest.raises(AppendManyFailed) as caught:
        await log.append_many([liked(1), liked(-1), liked(2)])
    one, bad, two = caught.value.outcomes
    assert isinstance(one, Position)
    assert isinstance(bad, InvalidEvent)
    assert isinstance(two, Position)


async def test_raw_bytes_go_in_as_they_are(opened: Opener) -> None:
    log = await opened()
    position = await log.append_raw("dead-letters", None, b"\xff", [("origin", b"users/1@2")])
    assert position.topic == "dead-letters"


async def test_a_repeated_command_gets_the_first_answer(opened: Opener) -> None:
    log = await opened()
    first = await log.append_once(liked(1), idempotency_key="k", command=b"like 7")
    again = await log.append_once(liked(2), idempotency_key="k", command=b"like 7")
    assert (again.position, again.event) == (first.position, liked(1))
    assert (first.repeated, again.repeated) == (False, True)
    assert await log.append(liked(3), idempotency_key="k", command=b"like 7") == first.position


async def test_a_key_used_for_another_command_is_refused(opened: Opener) -> None:
    log = await opened()
    await log.append(liked(1), idempotency_key="k", command=b"like 7")
    with pytest.raises(KeyReused):
        await log.append(liked(1), idempotency_key="k", command=b"like 8")
    with pytest.raises(KeyReused):
        await log.append(named("b"), idempotency_key="k", command=b"like 7")
    with pytest.raises(KeyReused):
        await log.recall("k", b"like 8")


async def test_without_a_command_the_event_is_what_must_be_the_same(opened: Opener) -> None:
    log = await opened()
    first = await log.append(liked(1), idempotency_key="k")
    assert await log.append(liked(1), idempotency_key="k") == first
    with pytest.raises(KeyReused):
        await log.append(liked(2), idempotency_key="k")


async def test_what_a_key_stands_for_can_be_recalled(opened: Opener) -> None:
    log = await opened()
    assert await log.recall("k") is None
    await log.append(liked(1), idempotency_key="k", command=b"c")
    assert await log.recall("k") == liked(1)
    assert await log.recall("k", b"c") == liked(1)


async def test_a_retry_whose_position_is_unknown_appends_the_same_bytes(
    opened: Opener, keys: MemoryIdempotency
) -> None:
    log = await opened()
    keys.deaf = True
    first = await log.append(liked(1), idempotency_key="k", command=b"c")
    stored = keys.rows["k"].value
    keys.deaf = False
    again = await log.append_once(liked(2), idempotency_key="k", command=b"c")
    assert again.event == liked(1)
    assert (again.position.partition, again.position.offset) == (first.partition, first.offset + 1)
    assert keys.rows["k"].value == stored
    third = await log.append_once(liked(3), idempotency_key="k", command=b"c")
    assert third.position == again.position


async def test_a_store_that_is_away_means_that_nothing_was_sent(
    opened: Opener, keys: MemoryIdempotency
) -> None:
    log = await opened()
    keys.away = True
    with pytest.raises(StoreUnavailable):
        await log.append(liked(), idempotency_key="k")
    assert (await log.append(liked())).offset == 0


async def test_a_log_without_a_store_refuses_keys() -> None:
    log = Log(ProducerSettings(bootstrap="mock", options=MOCK), local_codec(), Topics())
    await log.open()
    with pytest.raises(StoreUnavailable):
        await log.append(liked(), idempotency_key="k")
    await log.close(1)


def test_what_may_be_tried_again_is_told_from_what_may_not() -> None:
    for error in (QueueFull, BrokerUnreachable, StoreUnavailable):
        assert issubclass(error, RetryableError)
    for other in (EventTooLarge, InvalidEvent, KeyReused, OutcomeUnknown, LogClosed, PoisonError):
        assert not issubclass(other, RetryableError)
