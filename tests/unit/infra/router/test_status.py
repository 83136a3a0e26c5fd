"""What `murmur status` says of the router."""

from __future__ import annotations

import pytest

from gateway.levels.level import Level
from infra.router.status import problems_of


@pytest.mark.parametrize(
    ("lag", "level", "told"),
    [
        (None, Level.NORMAL, ""),
        (None, Level.LEAN, ""),
        (0, Level.LEAN, ""),
        (1_000, Level.NORMAL, ""),
        (1_001, Level.NORMAL, "1001 posts wait to be pushed about; is `murmur router` running?"),
        (7, Level.LEAN, "7 posts wait to be pushed about; pushes are off at level 1; what is kept"),
    ],
)
def test_what_waits_is_told(lag: int | None, level: Level, told: str) -> None:
    found = problems_of(lag, level)
    assert [words.startswith(f"router: {told}") for words in found] == [True] * bool(told)
