"""What a commit covers, whatever commit is under way."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from faust.types.transports import TPorTopicSet

from streams.transport import Consumer
from tests.integration.streams.waiting import until


class Telling(Consumer):
    """A consumer whose coordinator answers when it is told to."""

    def __init__(self) -> None:
        self.app: Any = faust.App("nobody", broker="kafka://nowhere:1")
        self.loop = asyncio.get_running_loop()
        self._commit_fut = None
        self.acked = 0
        self.told: list[int] = []
        self.answers = asyncio.Event()

    async def force_commit(
        self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True
    ) -> bool:
        self.told.append(self.acked)
        await self.answers.wait()
        return True


async def test_a_commit_covers_what_was_acked_while_another_was_under_way() -> None:
    consumer = Telling()
    consumer.acked = 1
    first = asyncio.create_task(consumer.commit())
    await until(lambda: consumer.told == [1])
    consumer.acked = 2
    second = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    consumer.answers.set()
    assert await first
    assert await second
    assert consumer.told == [1, 2]


async def test_a_commit_by_itself_is_one() -> None:
    consumer = Telling()
    consumer.answers.set()
    assert await consumer.commit()
    assert consumer.told == [0]
