"""What `murmur status` says of a unit, in words."""

from __future__ import annotations

from typing import Any

import pytest

from infra.unit_status import UnitStatus, problems_of

FINE: dict[str, Any] = {
    "name": "tweets",
    "workers": 1,
    "committed": {"new-tweets/0": 5_000, "new-tweets/1": 0},
    "applied": {"new-tweets/0": 5_000},
    "ends": {"new-tweets/0": 5_000, "new-tweets/1": 0},
    "events_per_s": 0.0,
    "dead_letters": 0,
}


def unit(**changed: Any) -> UnitStatus:
    return UnitStatus(**{**FINE, **changed})


def test_nothing_is_wrong() -> None:
    assert problems_of(unit()) == []
    assert unit().lag == unit().behind == 0
    assert unit().applied_words() == "new-tweets/0@5000"
    assert unit().shown()["committed_lag"] == 0


def test_lag_is_of_commits_and_behind_of_the_state() -> None:
    found = unit(committed={"new-tweets/0": 4_000}, applied={"new-tweets/0": 4_990})
    assert (found.lag, found.behind) == (1_000, 10)
    assert problems_of(found) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"applied": {}, "workers": 0},
            "5000 events wait and no worker runs; start `murmur worker",
        ),
        ({"applied": {}}, "5000 events wait and nothing moves"),
        ({"applied": {}, "events_per_s": 500.0}, "5000 events behind, about 10 s at this speed"),
        (
            {"dead_letters": 3, "oldest_letter_s": 300.0},
            "3 events could not be applied, the oldest for 5 min; see `murmur dead-letters list",
        ),
        ({"applied": {"new-tweets/0": 5_001}}, "new-tweets/0@5001 is beyond the end of the log"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(changed: dict[str, Any], told: str) -> None:
    (words,) = problems_of(unit(**changed))
    assert told in words
