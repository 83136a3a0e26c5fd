from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from infra.settings import Settings
from tests.end_to_end.town import Town, town


@pytest.fixture(scope="session")
async def here(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One town for all tests; each makes its own people."""
    settings = stack.model_copy(update={"topic_prefix": f"e{secrets.token_hex(5)}-"})
    async with town(settings, tmp_path_factory.mktemp("town")) as running:
        yield running
