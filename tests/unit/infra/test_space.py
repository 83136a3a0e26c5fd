"""What generations take of Redis: one scan for all of them, each key with its own generation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from infra import compose
from infra.replay import space as module
from infra.replay.space import Space, spaces

SIZES = {
    b"g1:tweet:{1}:7": 100,
    b"g1:tweet:{1}:8": 100,
    b"g2:tweet:{1}:7": 300,
    b"g1:p-tweets:{1}:positions": 40,
    b"g1:counts:{1}:7": 9,
    b"g10:tweet:{1}:7": 1000,
    b"g1:q-tweets:{1}:positions": 5000,
}


class Bus:
    """A scan of all keys, some at a time."""

    def __init__(self) -> None:
        self.scans: list[str] = []

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        self.scans.append(pattern)
        keys = list(SIZES)
        yield keys[:3]
        yield keys[3:]

    async def calls_strict(self, commands: Sequence[Any]) -> list[int]:
        return [SIZES[key] for *_, key in commands]

    async def ask_each(self, command: str) -> list[int]:
        assert command == "DBSIZE"
        return [2 * len(SIZES)]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    kinds = {"tweets": "tweet", "engagement": "counts"}
    made = {
        unit: lambda _on, kind=kind: SimpleNamespace(kinds=[kind], tables=["rows"])
        for unit, kind in kinds.items()
    }
    monkeypatch.setattr(compose, "UNITS", made)

    async def on_disk(_on: Any) -> dict[str, int]:
        return {"rows_g1": 1, "rows_g2": 2}

    monkeypatch.setattr(module, "_on_disk", on_disk)
    return SimpleNamespace(bus=Bus(), settings=SimpleNamespace(topic_prefix="p-"))


async def test_all_generations_are_sized_by_one_scan(on: Any) -> None:
    found = await spaces(on, [("tweets", "g1"), ("tweets", "g2"), ("engagement", "g1")])
    assert found == {
        ("tweets", "g1"): Space(3, 240, 1),
        ("tweets", "g2"): Space(1, 300, 2),
        ("engagement", "g1"): Space(1, 9, 1),
    }
    assert on.bus.scans == ["g*:*"]


async def test_what_is_not_looked_at_is_extrapolated(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 3)
    found = await spaces(on, [("tweets", "g1"), ("tweets", "g2")])
    assert found["tweets", "g1"] == Space(9, 900, 1)  # 14 keys, of which 3 were looked at
    assert found["tweets", "g2"] == Space(4, 1200, 2)
