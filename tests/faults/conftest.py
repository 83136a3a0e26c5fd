"""What the fault tests share: one stack of their own, for those that do harm to engines."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator

import pytest

from tests.faults.own import Own, own_stack
from tests.faults.town import Town, town

logger = logging.getLogger(__name__)


@pytest.fixture(scope="session")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    """Started when the first test asks for it; never the stack that others use."""
    async with own_stack(tmp_path_factory.mktemp("own").resolve()) as found:
        yield found


@pytest.fixture(scope="session")
async def own_town(own: Own, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A whole system on that stack, warm; every test leaves it well."""
    async with town(own.settings, tmp_path_factory.mktemp("own-town")) as found:
        await found.clients.homes()
        yield found


@pytest.fixture
def seed() -> int:
    """In the log, so that a failure can be looked at again."""
    found = random.randrange(1 << 32)
    logger.warning("seed %d", found)
    return found
