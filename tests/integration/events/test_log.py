"""The log on a real broker: what is in it after each way an append can go."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing

import pytest

from events.errors import BrokerUnreachable, EventTooLarge, MalformedEvent, OutcomeUnknown
from events.log import Log
from events.partitioner import partition_of
from events.position import Position
from events.reader import ReadRecord
from events.types import TweetLiked, UserRegistered, from_object, topic_of
from schemas import catalog
from tests.faults.proxy import kafka_port, proxied
from tests.integration.events.conftest import Events

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def liked(number: int = 1) -> TweetLiked:
    return TweetLiked(
        event_id=number, occurred_at=1729872000123, tweet_id=number, tweet_author_id=4, user_id=5
    )


async def records_of(events: Events, topic: str) -> list[ReadRecord]:
    async with aclosing(events.reader.tail(topic, follow=False)) as records:
        return [record async for record in records]


async def test_every_example_comes_back_from_its_topic(events: Events) -> None:
    log = await events.open_log()
    sent = [
        from_object(catalog.load_example(versions[-1]))  # what is written is today's
        for versions in catalog.schemas().values()
    ]
    positions = await log.append_many(sent)
    for topic in {topic_of(event) for event in sent}:
        read = {(topic, r.partition, r.offset): r.event for r in await records_of(events, topic)}
        for event, position in zip(sent, positions, strict=True):
            if position.topic == topic:
                assert read[(topic, position.partition, position.offset)] == event


async def test_headers_are_cloudevents_that_anybody_can_read(events: Events) -> None:
    log = await events.open_log()
    await log.append(liked(77), traceparent=TRACE)
    (record,) = await records_of(events, "engagements")
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"77",
        "ce_source": b"/murmuration",
        "ce_type": b"murmuration.TweetLiked",
        "ce_time": b"2024-10-25T16:00:00.123Z",
        "ce_subject": b"77",
        "content-type": b"application/avro",
        "traceparent": TRACE.encode(),
    }
    assert record.value is not None
    assert record.value[0] == 0
    schema = await events.registry.schema_of(int.from_bytes(record.value[1:5]))
    assert schema is not None
    assert schema["name"] == "TweetLiked"


async def test_keys_go_where_the_java_client_would_put_them(events: Events) -> None:
    log = await events.open_log()
    positions = await log.append_many([liked(number) for number in range(200)])
    expected = [partition_of(str(number).encode(), 4) for number in range(200)]
    assert [position.partition for position in positions] == expected
    assert set(expected) == {0, 1, 2, 3}


async def test_many_appends_in_flight_are_all_there_once(events: Events) -> None:
    log = await events.open_log()
    positions = await asyncio.gather(*(log.append(liked(number)) for number in range(3_000)))
    assert len(set(positions)) == 3_000
    ends = await events.admin.end_offsets("engagements")
    assert sum(ends.values()) == 3_000


async def test_an_event_that_the_broker_finds_too_large_is_told_as_such(events: Events) -> None:
    log = await events.open_log(event_bytes_max=4_000_000, compression="none")
    event = UserRegistered(
        event_id=1, occurred_at=2, user_id=3, username="a", name="x" * 2_000_000, created_at=4
    )
    with pytest.raises(EventTooLarge):
        await log.append(event)
    assert await records_of(events, "users") == []


async def test_a_broker_that_is_not_there_means_that_nothing_was_sent(events: Events) -> None:
    log = await events.open_log(bootstrap="127.0.0.1:1", delivery_ms_max=300)
    with pytest.raises(BrokerUnreachable, match="nothing was sent"):
        await log.append(liked())


async def test_a_lost_answer_is_unknown_and_the_retry_appends_the_same_event(
    events: Events,
) -> None:
    async with proxied(events.settings.kafka_bootstrap, kafka_port) as proxy:
        log = await events.open_log(bootstrap=proxy.address, delivery_ms_max=4_000)
        await log.append(liked(1))
        key = str(uuid.uuid4())
        proxy.deafen()
        with pytest.raises(OutcomeUnknown) as caught:
            await log.append(liked(2), idempotency_key=key, command=b"like")
        assert caught.value.idempotency_key == key
        proxy.reset()
        proxy.heal()
        again = await _until_it_answers(log, key)
    read = await records_of(events, "engagements")
    twos = [record for record in read if record.event == liked(2)]
    assert [r for r in read if r.event == liked(3)] == []
    assert 1 <= len(twos) <= 2
    assert (again.partition, again.offset) in {(r.partition, r.offset) for r in twos}
    assert len({record.value for record in twos}) == 1


async def _until_it_answers(log: Log, key: str) -> Position:
    for _ in range(10):
        try:
            appended = await log.append_once(liked(3), idempotency_key=key, command=b"like")
        except (OutcomeUnknown, BrokerUnreachable):
            continue
        assert appended.event == liked(2)
        assert await log.append(liked(4), idempotency_key=key, command=b"like") == appended.position
        return appended.position
    raise AssertionError("the broker did not come back")


async def test_after_an_outage_what_was_never_sent_is_told_from_what_was(events: Events) -> None:
    async with proxied(events.settings.kafka_bootstrap, kafka_port) as proxy:
        log = await events.open_log(bootstrap=proxy.address, delivery_ms_max=1_000)
        proxy.deafen()
        with pytest.raises(BrokerUnreachable):
            await log.append(liked(9))
    assert await records_of(events, "engagements") == []


async def test_foreign_bytes_are_poison_when_read_and_the_rest_goes_on(events: Events) -> None:
    log = await events.open_log()
    await log.append_raw("engagements", b"1", b"not an event", [])
    await log.append(liked(1))
    await log.append_raw("engagements", b"1", None, [])
    bad, good, tombstone = await records_of(events, "engagements")
    assert isinstance(bad.error, MalformedEvent)
    assert good.event == liked(1)
    assert (tombstone.event, tombstone.error, tombstone.value) == (None, None, None)
