"""Kafka and Cassandra killed with -9 while they are written to: all that was acknowledged is there.

What decision 0007 promises of each engine. Valkey, which may come back empty, has its own test.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.compose import close_cassandra, open_cassandra
from infra.demo.children import start_stack
from infra.settings import Settings, load
from infra.stack import state

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

STACK_READY_S = 180.0
STACK_STOP_S = 60.0
BACK_S_MAX = 120.0
WRITES_BEFORE = 200
TOPIC = "killed"


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    """A stack for this module alone."""
    folder = tmp_path_factory.mktemp("engines-killed")
    env = {"MURMUR_STACK_USUAL_PORTS": "false"}
    stack = await start_stack(folder, STACK_READY_S, folder / "launcher.log", env)
    try:
        yield load(environ={}, data_dir=folder).settings
    finally:
        await stack.stop(STACK_STOP_S)


def engine(settings: Settings, name: str) -> state.EngineState:
    current = state.read(settings.data_dir)
    assert current is not None
    return current.engines[name]


def kill(settings: Settings, name: str) -> None:
    identity = engine(settings, name).identity()
    assert identity is not None
    identity.signal(signal.SIGKILL)


async def until_back(settings: Settings, name: str) -> None:
    deadline = time.monotonic() + BACK_S_MAX
    while (now := engine(settings, name)).phase != "ready" or not now.restarts:
        assert time.monotonic() < deadline, f"{name} does not come back: {now.problem}"
        await asyncio.sleep(0.1)


async def test_cassandra(own: Settings) -> None:
    table = f"{own.keyspace}.killed"
    session = await open_cassandra(own)
    session.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text)")
    acknowledged = await asyncio.to_thread(write_until_refused, own, session, table)
    await close_cassandra(session)
    await until_back(own, "cassandra")
    session = await open_cassandra(own)
    found = {row[0] for row in session.execute(f"SELECT id FROM {table}")}
    await close_cassandra(session)
    assert acknowledged >= WRITES_BEFORE
    assert set(range(acknowledged)) <= found


def write_until_refused(settings: Settings, session: Session, table: str) -> int:
    """One write after the other; in the middle of them Cassandra is killed."""
    insert = session.prepare(f"INSERT INTO {table} (id, body) VALUES (?, ?)")
    acknowledged = 0
    try:
        while True:
            if acknowledged == WRITES_BEFORE:
                kill(settings, "cassandra")
            session.execute(insert, (acknowledged, "x" * 200), timeout=5)
            acknowledged += 1
    except (DriverException, NoHostAvailable):
        return acknowledged


async def test_kafka(own: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": own.kafka_bootstrap, "log_level": 0})
    await asyncio.wrap_future(admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC])
    acknowledged = await asyncio.to_thread(produce_over_a_kill, own)
    await until_back(own, "kafka")
    in_log = await asyncio.to_thread(read_all, own)
    assert acknowledged >= WRITES_BEFORE
    # Idempotent, so neither lost nor twice, whatever was in flight.
    assert in_log == list(range(acknowledged))


def produce_over_a_kill(settings: Settings) -> int:
    acknowledged = 0

    def told(error: KafkaError | None, _message: Message) -> None:
        nonlocal acknowledged
        assert error is None, error
        acknowledged += 1

    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "enable.idempotence": True,
            "linger.ms": 1,
            "message.timeout.ms": int(BACK_S_MAX * 1000),
            "log_level": 0,
        }
    )
    for number in range(10 * WRITES_BEFORE):
        producer.produce(TOPIC, str(number).encode(), on_delivery=told)
        producer.poll(0.001)
        if number == 5 * WRITES_BEFORE:
            kill(settings, "kafka")
    assert producer.flush(BACK_S_MAX) == 0
    return acknowledged


def read_all(settings: Settings) -> list[int]:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap, "group.id": "killed", "log_level": 0}
    )
    place = TopicPartition(TOPIC, 0, 0)
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
