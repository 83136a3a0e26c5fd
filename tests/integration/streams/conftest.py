"""One corner of the log per test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.streams.kit import Bench


@pytest.fixture
def bench(stack: Any, tmp_path: Path) -> Bench:
    """Fresh topics, group and state on the shared stack."""
    return Bench(stack.kafka_bootstrap, tmp_path)
