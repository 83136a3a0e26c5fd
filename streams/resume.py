"""Where a partition is read from: the position that the unit keeps with its state.

Keeps true: what is read next is what the state has not applied. The group's committed offset is
not asked: after a failover that lost acknowledged writes the state is behind it, and the log
refills it. A position that the topic cannot have is never guessed around: the worker ends and says
which numbers do not fit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from faust.types import TP

from events.errors import BrokerUnreachable
from projections.base import ForeignTopic, Unit
from streams.errors import WrongPosition
from streams.retry import Persistence
from streams.settings import WorkerSettings
from streams.transport import Bounds

logger = logging.getLogger(__name__)

DESCRIBE_SECONDS_MAX = 10.0

TopicIds = Callable[[str], Awaitable[str]]


def topic_ids(bootstrap: str) -> TopicIds:
    """Makes the question "which topic has this physical name now?" for one cluster."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})

    async def ask(name: str) -> str:
        try:
            answer = admin.describe_topics(
                TopicCollection([name]), request_timeout=DESCRIBE_SECONDS_MAX
            )[name]
            description = await asyncio.wrap_future(answer)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise BrokerUnreachable(f"topic {name} does not exist yet") from error
            raise BrokerUnreachable(f"cannot describe topic {name}: {error}") from error
        return str(description.topic_id)

    return ask


class ResumeFromState:
    """The transport's ``Resume`` for one unit.

    Attributes:
        ids: Topic id by physical name, as of the last assignment.
    """

    def __init__(
        self, unit: Unit, settings: WorkerSettings, ask: TopicIds, persistence: Persistence
    ) -> None:
        self._unit = unit
        self._settings = settings
        self._ask = ask
        self._persistence = persistence
        self.ids: dict[str, str] = {}

    async def topics_exist(self) -> None:
        """Returns when every topic of the unit exists; Kafka would just assign nothing of it.

        Raises:
            Stopping: The worker was asked to stop meanwhile.
        """
        for topic in sorted(self._unit.topics):
            name = self._settings.physical(topic)
            self.ids[name] = await self._persistence.until_done("topics", partial(self._ask, name))

    async def __call__(self, tp: TP, bounds: Bounds) -> int:
        """Returns the next offset to read.

        Raises:
            WrongPosition: The state's position is of another topic, or outside the log.
            Stopping: The worker was asked to stop while an engine was away.
        """
        topic = self._settings.logical(tp.topic)
        topic_id = await self._persistence.until_done("resume", lambda: self._ask(tp.topic))
        self.ids[tp.topic] = topic_id
        try:
            at = await self._persistence.until_done(
                "resume", lambda: self._unit.resume(topic, tp.partition, topic_id)
            )
        except ForeignTopic as error:
            raise WrongPosition(
                f"unit {self._unit.name} cannot resume {topic}/{tp.partition}: {error}. The topic "
                f"{tp.topic} now has id {topic_id}: it was made anew, or the state is another "
                "cluster's. Point the worker at the right cluster, or rebuild the unit as a new "
                "generation."
            ) from error
        if at is None:
            at = bounds.earliest
        elif not bounds.earliest <= at <= bounds.end:
            raise WrongPosition(self._explain(topic, tp.partition, at, bounds))
        logger.info("%s resumes %s/%d at %d", self._unit.name, topic, tp.partition, at)
        return at

    def _explain(self, topic: str, partition: int, at: int, bounds: Bounds) -> str:
        head = f"unit {self._unit.name} has applied {topic}/{partition} up to {at}, but the log "
        if at > bounds.end:
            return (
                f"{head}ends at {bounds.end}: the log was truncated or restored from an older "
                "copy. Restore the log, or rebuild the unit as a new generation."
            )
        return (
            f"{head}starts at {bounds.earliest}: the records between were deleted and cannot be "
            "applied. Source topics are kept for ever (retention.ms=-1): restore them, or rebuild "
            "the unit as a new generation from a complete copy."
        )
