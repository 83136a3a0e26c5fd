"""What the timelines unit needs of the log besides its slices: to append chunks, and its ends.

Both are made when they are first used: a worker whose authors are all small never opens a producer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from events import errors
from events.admin import Admin
from events.codec import Codec
from events.log import Log
from events.producer import ProducerSettings
from events.types import Event
from projections.base import RetryableError

if TYPE_CHECKING:
    from infra.compose import Engines


class KafkaChunks:
    """Appends chunks; ``projections.timelines.audience.ChunkLog``.

    Args:
        on: The engines.
        generation: Whose chunks they are; None for the first.
    """

    def __init__(self, on: Engines, generation: str | None) -> None:
        self._on = on
        self._generation = generation
        self._opening = asyncio.Lock()
        self._log: Log | None = None

    async def append(self, chunks: Sequence[Event]) -> None:
        """Appends chunks in order; they may be in the log twice after an error that passed.

        Raises:
            RetryableError: some may not be in the log; append all of them again.
        """
        if not chunks:
            return
        log = await self._opened()
        try:
            await log.append_many(
                [msgspec.structs.replace(chunk, generation=self._generation) for chunk in chunks]
            )
        except errors.AppendManyFailed as error:
            failed = [one for one in error.outcomes if isinstance(one, errors.EventsError)]
            if all(
                isinstance(one, errors.RetryableError | errors.OutcomeUnknown) for one in failed
            ):
                raise RetryableError(f"chunks were not appended: {failed[0]}") from error
            raise

    async def close(self) -> None:
        """Waits for what is in flight."""
        if self._log is not None:
            await self._log.close()

    async def _opened(self) -> Log:
        async with self._opening:
            if self._log is None:
                on = self._on
                producer = ProducerSettings(
                    bootstrap=on.settings.kafka_bootstrap, options=on.settings.kafka_options
                )
                codec = Codec(await on.registry.publish(), on.registry)
                log = Log(producer, codec, on.topics)
                await log.open()
                self._log = log
            return self._log


class LogEnds:
    """Where the log is; ``projections.timelines.keeper.Flow``."""

    def __init__(self, on: Engines) -> None:
        settings = on.settings
        self._admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)

    async def ends(self, topic: str) -> dict[str, int]:
        """Returns the next offset of each partition of a topic, by ``topic/partition``.

        Raises:
            RetryableError: the log is away.
        """
        try:
            ends = await self._admin.end_offsets(topic)
        except errors.EventsError as error:
            raise RetryableError(f"the log did not say where {topic} ends: {error}") from error
        return {f"{topic}/{partition}": end for partition, end in ends.items()}
