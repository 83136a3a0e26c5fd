"""Kafka and Cassandra killed with -9 while they are written to: all that was acknowledged is there.

What decision 0007 promises of each engine. Valkey, which may come back empty, has its own test.
"""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.compose import close_cassandra, open_cassandra
from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.own import BACK_S_MAX, Own

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

WRITES_BEFORE = 200


@pytest.mark.parametrize("killed", [False, True], ids=["control", "killed"])
async def test_cassandra(own: Own, seed: int, killed: bool) -> None:
    table = f"{own.settings.keyspace}.killed_{seed}"
    session = await open_cassandra(own.settings)
    session.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text)")
    restarts = own.engine("cassandra").restarts
    acknowledged = await asyncio.to_thread(write_until_refused, own, session, table, killed)
    refused = time.monotonic()
    await close_cassandra(session)
    if killed:
        await own.until_back("cassandra", restarts)
    back = time.monotonic() - refused
    session = await open_cassandra(own.settings)
    found = {row[0] for row in session.execute(f"SELECT id FROM {table}")}
    await close_cassandra(session)
    assert acknowledged >= WRITES_BEFORE
    assert set(range(acknowledged)) <= found
    more = f"{acknowledged} acknowledged rows, all there"
    name = "Cassandra killed, bare writes" + ("" if killed else ": control")
    record(Figures(name, seed, back, compared=len(found), more=more))


def write_until_refused(own: Own, session: Session, table: str, killed: bool) -> int:
    """One write after the other until Cassandra, killed in the middle of them, takes none."""
    insert = session.prepare(f"INSERT INTO {table} (id, body) VALUES (?, ?)")
    acknowledged = 0
    try:
        while killed or acknowledged < 2 * WRITES_BEFORE:
            if killed and acknowledged == WRITES_BEFORE:
                kill(own, "cassandra")
            session.execute(insert, (acknowledged, "x" * 200), timeout=5)
            acknowledged += 1
    except (DriverException, NoHostAvailable):
        assert killed, "nobody had killed it"
    return acknowledged


@pytest.mark.parametrize("killed", [False, True], ids=["control", "killed"])
async def test_kafka(own: Own, topic_prefix: str, seed: int, killed: bool) -> None:
    topic = f"{topic_prefix}killed"
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_bootstrap, "log_level": 0})
    await asyncio.wrap_future(admin.create_topics([NewTopic(topic, 1, 1)])[topic])
    restarts, began = own.engine("kafka").restarts, time.monotonic()
    acknowledged = await asyncio.to_thread(produce_over_a_kill, own, topic, killed)
    if killed:
        await own.until_back("kafka", restarts)
    back = time.monotonic() - began
    in_log = await asyncio.to_thread(read_all, own.settings, topic)
    assert acknowledged >= WRITES_BEFORE
    # Idempotent, so neither lost nor twice, whatever was in flight.
    assert in_log == list(range(acknowledged))
    more = f"{acknowledged} acknowledged records, each once"
    name = "Kafka killed, bare writes" + ("" if killed else ": control")
    record(Figures(name, seed, back, compared=len(in_log), more=more))


def kill(own: Own, name: str) -> None:
    identity = own.engine(name).identity()
    assert identity is not None
    identity.signal(signal.SIGKILL)


def produce_over_a_kill(own: Own, topic: str, killed: bool) -> int:
    acknowledged = 0

    def told(error: KafkaError | None, _message: Message) -> None:
        nonlocal acknowledged
        assert error is None, error
        acknowledged += 1

    producer = Producer(
        {
            "bootstrap.servers": own.settings.kafka_bootstrap,
            "enable.idempotence": True,
            "linger.ms": 1,
            "message.timeout.ms": int(BACK_S_MAX * 1000),
            "log_level": 0,
        }
    )
    for number in range(10 * WRITES_BEFORE):
        producer.produce(topic, str(number).encode(), on_delivery=told)
        producer.poll(0.001)
        if killed and number == 5 * WRITES_BEFORE:
            kill(own, "kafka")
    assert producer.flush(BACK_S_MAX) == 0
    return acknowledged


def read_all(settings: Settings, topic: str) -> list[int]:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap, "group.id": "killed", "log_level": 0}
    )
    place = TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(place, timeout=10)
    consumer.assign([place])
    values: list[int] = []
    while len(values) < end:
        message = consumer.poll(10)
        assert message is not None, "the log ends early"
        assert message.error() is None, message.error()
        value = message.value()
        assert value is not None
        values.append(int(value))
    consumer.close()
    return values
