"""Topics on a real broker against the table."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from events.admin import Admin
from events.errors import BrokerUnreachable, TopicMismatch
from events.types import TweetLiked
from infra.settings import Settings
from schemas.catalog import Topics
from tests.integration.events.conftest import Events

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

SEEN_S_MAX = 30.0


async def make(settings: Settings, name: str, partitions: int, config: dict[str, str]) -> None:
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    name = settings.topic_prefix + name
    made = client.create_topics([NewTopic(name, partitions, 1, config=config)])
    await asyncio.wrap_future(made[name])


async def test_topics_are_made_once_as_the_table_says(settings: Settings) -> None:
    topics = Topics(settings.topic_prefix, "local")
    admin = Admin(settings.kafka_bootstrap, topics)
    made = await admin.ensure_topics()
    assert made.created == [topic.name for topic in topics]
    again = await admin.ensure_topics()
    assert (again.created, again.differences) == ([], [])
    assert set(await admin.end_offsets("new-tweets")) == set(range(8))
    ids = await admin.topic_ids(["users", "new-tweets"])
    assert len(set(ids.values())) == 2
    assert await admin.topic_ids(["users"]) == {"users": ids["users"]}


async def test_two_that_make_topics_at_once_both_end_well(settings: Settings) -> None:
    topics = Topics(settings.topic_prefix, "local")
    admins = [Admin(settings.kafka_bootstrap, topics) for _ in range(2)]
    made = await asyncio.gather(*(admin.ensure_topics() for admin in admins))
    assert sorted(name for each in made for name in each.created) == sorted(
        topic.name for topic in topics
    )


async def test_another_partition_count_is_refused(settings: Settings) -> None:
    await make(settings, "users", 3, {})
    admin = Admin(settings.kafka_bootstrap, Topics(settings.topic_prefix, "local"))
    with pytest.raises(TopicMismatch, match="has 3 partitions"):
        await admin.ensure_topics()


async def test_other_differences_are_told_and_left(settings: Settings) -> None:
    await make(settings, "users", 2, {"message.timestamp.type": "CreateTime"})
    await make(settings, "fan-out", 4, {"retention.ms": "1000"})
    admin = Admin(settings.kafka_bootstrap, Topics(settings.topic_prefix, "local"))
    for _ in range(2):
        found = await admin.ensure_topics()
        assert [(each.topic, each.option, each.actual) for each in found.differences] == [
            ("users", "message.timestamp.type", "CreateTime"),
            ("fan-out", "retention.ms", "1000"),
        ]
        assert found.told == []


async def test_a_topic_that_lets_go_of_what_is_kept_for_ever_is_told_and_set_right(
    settings: Settings,
) -> None:
    month = str(30 * 86_400_000)
    await make(settings, "redrive", 1, {"retention.ms": month, "retention.bytes": "1000"})
    await make(settings, "dead-letters", 1, {"retention.ms": month})
    await make(settings, "users", 2, {"cleanup.policy": "compact"})
    admin = Admin(settings.kafka_bootstrap, Topics(settings.topic_prefix, "local"))
    deadline = time.monotonic() + SEEN_S_MAX
    while len(losing := await admin.losing()) < 4:  # a broker learns of topics a moment later
        assert time.monotonic() < deadline, losing
        await asyncio.sleep(0.1)
    letters = next(line for line in losing if line.startswith("topic dead-letters"))
    assert f"retention.ms is {month}, topics.yaml says -1" in letters
    assert f"--entity-name {settings.topic_prefix}dead-letters" in letters
    assert "--add-config retention.ms=-1" in letters

    told = (await admin.ensure_topics()).told
    assert {line.split(";")[0] for line in told} == {line.split(": records")[0] for line in losing}
    assert all(line.endswith("it was set right") for line in told)
    starts = [" ".join(line.split()[1:3]) for line in told]
    assert {"redrive: retention.ms", "redrive: retention.bytes"} <= set(starts)
    assert {"dead-letters: retention.ms", "users: cleanup.policy"} <= set(starts)
    deadline = time.monotonic() + SEEN_S_MAX
    while losing := await admin.losing():  # and of their options
        assert time.monotonic() < deadline, losing
        await asyncio.sleep(0.1)
    assert (await admin.ensure_topics()).told == []


async def test_what_does_not_exist_and_who_does_not_answer(settings: Settings) -> None:
    topics = Topics(settings.topic_prefix, "local")
    with pytest.raises(TopicMismatch):
        await Admin(settings.kafka_bootstrap, topics).end_offsets("users")
    with pytest.raises(TopicMismatch):
        await Admin(settings.kafka_bootstrap, topics).topic_ids(["users"])


async def test_a_broker_that_is_away_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.admin.SECONDS_MAX", 0.5)
    with pytest.raises(BrokerUnreachable):
        await Admin("127.0.0.1:1", Topics()).ensure_topics()


async def test_reading_starts_where_it_is_asked_to(events: Events) -> None:
    log = await events.open_log()
    sent = [
        TweetLiked(event_id=n, occurred_at=2, tweet_id=7, tweet_author_id=4, user_id=5)
        for n in range(5)
    ]
    await log.append_many(sent)
    for start, expected in ((2, sent[2:]), ("latest", []), ("earliest", sent), (99, [])):
        async with aclosing(
            events.reader.tail("engagements", start, follow=False)  # type: ignore[arg-type]
        ) as records:
            assert [record.event async for record in records] == expected


async def test_following_sees_what_comes_later(events: Events) -> None:
    log = await events.open_log()
    async with aclosing(events.reader.tail("engagements", "earliest")) as records:
        for number in range(3):
            event = TweetLiked(
                event_id=number, occurred_at=2, tweet_id=7, tweet_author_id=4, user_id=5
            )
            await log.append(event)
            assert (await asyncio.wait_for(anext(records), 30)).event == event
