"""Topics on the broker: made from ``topics.yaml``, compared with it, and asked where they are.

Keeps true: a topic is created as the table says. Where one that is there may lose records that the
table keeps for ever, it is set right (``KEPT_BY``): every rebuild rests on them, and each hour may
lose some. Another partition count than the table's is refused, since keys would move; any other
difference is reported for an operator to judge.
Bounded: every question waits ``seconds_max`` at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from events.errors import BrokerUnreachable, EventsError, TopicMismatch
from schemas.catalog import Topic, Topics

SECONDS_MAX = 10.0
VISIBLE_SECONDS = 0.05

KEPT_BY = ("cleanup.policy", "retention.ms", "retention.bytes")
"""Options that decide which records of a topic are kept."""

FOR_EVER = "-1"

T = TypeVar("T")


class Difference(msgspec.Struct, frozen=True):
    """A topic's option that is not what ``topics.yaml`` says.

    Attributes:
        topic: Logical name.
        option: Name of the option on the broker.
        expected: Value by the table.
        actual: Value on the broker.
    """

    topic: str
    option: str
    expected: str
    actual: str

    def words(self) -> str:
        """Returns it as people read it."""
        return (
            f"topic {self.topic}: {self.option} is {self.actual}, topics.yaml says {self.expected}"
        )


class Ensured(msgspec.Struct, frozen=True):
    """What ``ensure_topics`` did and found.

    Attributes:
        created: Logical names of topics made now.
        differences: Options that differ; nothing was done about them.
        told: A line for each option that let go of what is kept for ever: it was set right, or
            what sets it where this program may not.
    """

    created: list[str]
    differences: list[Difference]
    told: list[str] = []


class Admin:
    """One cluster's topics.

    Args:
        bootstrap: Brokers, ``host:port`` separated by commas.
        topics: The topics' names and partition counts.
        options: More librdkafka options, such as ``security.protocol``.
        seconds_max: How long a question waits.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        options: Mapping[str, str] | None = None,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        self._topics = topics
        self._bootstrap = bootstrap
        self._seconds_max = seconds_max
        self._client = AdminClient(
            {"log_level": 3, **(options or {}), "bootstrap.servers": bootstrap}
        )

    async def answers(self, seconds_max: float) -> None:
        """Asks the cluster for the least that shows that a broker answers.

        Raises:
            BrokerUnreachable: None did within ``seconds_max``.
        """
        try:
            await asyncio.to_thread(
                self._client.list_topics,
                self._name(next(iter(self._topics))),
                timeout=seconds_max,
            )
        except KafkaException as error:
            raise BrokerUnreachable(f"no broker answers: {error}") from error

    async def ensure_topics(self, replication: int = 1) -> Ensured:
        """Make the topics that are missing, compare the others with the table, and keep records.

        Args:
            replication: Replication factor of topics made here (production: 3).

        Raises:
            TopicMismatch: A topic has another partition count.
            BrokerUnreachable: No broker answered.
        """
        there = await self._partition_counts()
        missing = [topic for topic in self._topics if self._name(topic) not in there]
        created = [topic.name for topic in missing if await self._create(topic, replication)]
        for topic in self._topics:
            if topic not in missing:
                self._require_partitions(topic, there[self._name(topic)])
        # Also what somebody else made in between, or a broker did not know of yet.
        kept = [topic for topic in self._topics if topic.name not in created]
        ensured = Ensured(created, [])
        for found in await self.differences(kept):
            if not self._loses(found):
                ensured.differences.append(found)
            elif await self._mend(found):
                ensured.told.append(f"{found.words()}; it was set right")
            else:
                ensured.told.append(self._warning(found))
        return ensured

    async def losing(self) -> list[str]:
        """A line for each option that lets go of what the table keeps for ever; changes nothing.

        Raises:
            BrokerUnreachable: No broker answered.
        """
        there = await self._partition_counts()
        kept = [topic for topic in self._topics if self._name(topic) in there]
        found = await self.differences(kept)
        return [self._warning(one) for one in found if self._loses(one)]

    def _warning(self, one: Difference) -> str:
        return (
            f"{one.words()}: records that every rebuild needs are being deleted; run `murmur up`, "
            f"or kafka-configs --bootstrap-server {self._bootstrap} --alter --entity-type topics "
            f"--entity-name {self._topics.name(one.topic)} --add-config {one.option}={one.expected}"
        )

    def _loses(self, one: Difference) -> bool:
        (topic,) = [topic for topic in self._topics if topic.name == one.topic]
        return one.option in KEPT_BY and _options(topic)["retention.ms"] == FOR_EVER

    async def _mend(self, one: Difference) -> bool:
        """Sets an option; False where the cluster refuses."""
        set_to = ConfigEntry(one.option, one.expected, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(
            ResourceType.TOPIC, self._topics.name(one.topic), incremental_configs=[set_to]
        )
        asked = self._client.incremental_alter_configs(
            [resource], request_timeout=self._seconds_max
        )
        try:
            await _of(asked[resource])
        except TopicMismatch:
            return False
        return True

    async def topic_ids(self, logical: Iterable[str]) -> dict[str, str]:
        """Kafka's ids of topics by logical name; a topic made anew has another.

        Raises:
            TopicMismatch: One of them does not exist.
            BrokerUnreachable: No broker answered.
        """
        names = {self._topics.name(name): name for name in logical}
        asked = self._client.describe_topics(
            TopicCollection(list(names)), request_timeout=self._seconds_max
        )
        return {names[name]: str((await _of(future)).topic_id) for name, future in asked.items()}

    async def end_offsets(self, logical: str) -> dict[int, int]:
        """The next offset of each partition of a topic.

        Raises:
            TopicMismatch: It does not exist.
            BrokerUnreachable: No broker answered.
        """
        return await self._offsets(logical, OffsetSpec.latest())

    async def first_offsets(self, logical: str) -> dict[int, int]:
        """The offset of the oldest record of each partition of a topic; of an empty one its end.

        Raises:
            TopicMismatch: It does not exist.
            BrokerUnreachable: No broker answered.
        """
        return await self._offsets(logical, OffsetSpec.earliest())

    async def offsets_at(self, logical: str, time_ms: int) -> dict[int, int]:
        """The offset of the first record of each partition that was appended at a time or later.

        Args:
            logical: The topic.
            time_ms: Milliseconds since 1970.

        Returns:
            By partition; the end where nothing was appended since.

        Raises:
            TopicMismatch: It does not exist.
            BrokerUnreachable: No broker answered.
        """
        ends = await self.end_offsets(logical)
        found = await self._offsets(logical, OffsetSpec.for_timestamp(time_ms))
        return {at: offset if offset >= 0 else ends[at] for at, offset in found.items()}

    async def _offsets(self, logical: str, spec: OffsetSpec) -> dict[int, int]:
        name = self._topics.name(logical)
        count = (await self._partition_counts()).get(name)
        if count is None:
            raise TopicMismatch(f"topic {name} does not exist")
        asked = self._client.list_offsets(
            {TopicPartition(name, partition): spec for partition in range(count)},
            request_timeout=self._seconds_max,
        )
        return {place.partition: (await _of(future)).offset for place, future in asked.items()}

    async def members(self, group: str) -> int:
        """How many processes are in a consumer group; 0 of one that nobody ever joined.

        Raises:
            BrokerUnreachable: No broker answered.
        """
        asked = self._client.describe_consumer_groups([group], request_timeout=self._seconds_max)
        try:
            return len((await asyncio.wrap_future(asked[group])).members)
        except KafkaException as error:
            if _code(error) == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise _error(error) from error

    async def delete_group(self, group: str) -> None:
        """Forgets a consumer group and its committed offsets; one that is not there is no error.

        Raises:
            TopicMismatch: It has members.
            BrokerUnreachable: No broker answered.
        """
        asked = self._client.delete_consumer_groups([group], request_timeout=self._seconds_max)
        try:
            await asyncio.wrap_future(asked[group])
        except KafkaException as error:
            if _code(error) != KafkaError.GROUP_ID_NOT_FOUND:
                raise _error(error) from error

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Committed offsets of a consumer group by (logical topic, partition); ours alone.

        Raises:
            BrokerUnreachable: No broker answered.
        """
        asked = self._client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=self._seconds_max
        )
        answer = await _of(asked[group])
        names = {self._name(topic): topic.name for topic in self._topics}
        return {
            (names[place.topic], place.partition): place.offset
            for place in answer.topic_partitions
            if place.topic in names and place.offset >= 0
        }

    def _name(self, topic: Topic) -> str:
        return self._topics.name(topic.name)

    async def _partition_counts(self) -> dict[str, int]:
        try:
            metadata = await asyncio.to_thread(self._client.list_topics, timeout=self._seconds_max)
        except KafkaException as error:
            raise _error(error) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    async def _create(self, topic: Topic, replication: int) -> bool:
        made = NewTopic(
            self._name(topic),
            self._topics.partitions(topic.name),
            replication,
            config=_options(topic),
        )
        asked = self._client.create_topics(
            [made], operation_timeout=self._seconds_max, request_timeout=self._seconds_max
        )
        try:
            await _of(asked[self._name(topic)])
        except TopicMismatch as error:
            cause = error.__cause__
            if _code(cause) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            self._require_partitions(topic, await self._count_when_visible(topic))
            return False  # somebody else made it just now
        return True

    async def _count_when_visible(self, topic: Topic) -> int:
        """The partition count of a topic that exists, though a broker may not know it yet."""
        deadline = time.monotonic() + self._seconds_max
        while (count := (await self._partition_counts()).get(self._name(topic))) is None:
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"topic {self._name(topic)} was made, and is not seen")
            await asyncio.sleep(VISIBLE_SECONDS)
        return count

    def _require_partitions(self, topic: Topic, actual: int) -> None:
        expected = self._topics.partitions(topic.name)
        if actual != expected:
            raise TopicMismatch(
                f"topic {self._name(topic)} has {actual} partitions, topics.yaml says {expected}; "
                f"keys would move, so copy it to a new version of the topic instead"
            )

    async def differences(self, kept: Iterable[Topic]) -> list[Difference]:
        """Options of topics that are there that differ from the table's."""
        topics = {self._name(topic): topic for topic in kept}
        if not topics:
            return []
        asked = self._client.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in topics],
            request_timeout=self._seconds_max,
        )
        found = []
        for resource, future in asked.items():
            held, topic = await _of(future), topics[resource.name]
            found += [
                Difference(topic.name, option, expected, str(held[option].value))
                for option, expected in _options(topic).items()
                if held[option].value != expected
            ]
        return found


def _options(topic: Topic) -> dict[str, str]:
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "message.timestamp.type": topic.timestamp,
    }


async def _of(future: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(future)
    except KafkaException as error:
        raise _error(error) from error


def _code(error: BaseException | None) -> int | None:
    return error.args[0].code() if isinstance(error, KafkaException) else None


_AWAY: Any = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
    }
)


def _error(error: KafkaException) -> EventsError:
    cause: KafkaError = error.args[0]
    what = f"{cause.name()}: {cause.str()}"
    return BrokerUnreachable(what) if cause.code() in _AWAY else TopicMismatch(what)
