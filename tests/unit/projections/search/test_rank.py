"""Relevance: what time takes away; the rest is compared with the oracle through the gateway."""

from __future__ import annotations

import pytest

from events.snowflake import compose
from projections.search import rank

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(("hours", "share"), [(0, 1.0), (6, 0.5), (12, 0.25), (-1, 1.0)])
def test_recency_halves_every_six_hours(hours: int, share: float) -> None:
    written = compose(NOW_MS - hours * HOUR_MS, 0, 0)
    assert rank.recency(written, compose(NOW_MS, 0, 0)) == pytest.approx(share)
