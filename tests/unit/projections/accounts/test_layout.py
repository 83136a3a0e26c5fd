"""The fragment of a user, from a row whose cells came in any order."""

from typing import Any

import msgspec
import pytest

from projections import versions
from projections.accounts.layout import PROFILE, UserFragment, pack

REGISTERED_AT = 10


def row(changes: dict[str, tuple[str, int]] | None = None, **cells: Any) -> tuple[Any, ...]:
    """A row of ``READ``; ``changes`` maps a field to its new value and that record's offset."""
    head = {"deactivated": None, "erased": None, "username": "Ada", "created_at": 0} | cells
    found = [7, head["deactivated"], head["erased"], head["username"], head["created_at"]]
    found.append(versions.first(REGISTERED_AT) if head["created_at"] is not None else None)
    for field in PROFILE:
        value, offset = (changes or {}).get(field, (None, None))
        timestamp = None if offset is None else versions.latest(offset)
        found += [f"registered {field}", value, timestamp]
    return tuple(found)


def opened(data: bytes | None) -> tuple[UserFragment, dict[str, Any]]:
    assert data is not None
    fragment = UserFragment.unpack(data)
    return fragment, msgspec.json.decode(fragment.body + b"}")


def test_a_registered_user_is_xs_object() -> None:
    fragment, body = opened(pack(row()))
    assert body == {
        "id": "7",
        "username": "Ada",
        **{field: f"registered {field}" for field in PROFILE},
        "created_at": "1970-01-01T00:00:00.000Z",
    }
    assert fragment.active
    assert not fragment.deactivated
    assert not fragment.erased


def test_a_change_counts_after_the_registration_and_not_before() -> None:
    changes = {"name": ("new", REGISTERED_AT + 1), "url": ("too early", REGISTERED_AT - 1)}
    _, body = opened(pack(row(changes)))
    assert body["name"] == "new"
    assert body["url"] == "registered url"


def test_a_field_can_be_emptied() -> None:
    _, body = opened(pack(row({"description": ("", REGISTERED_AT + 1)})))
    assert body["description"] == ""


def test_a_pin_is_beside_the_profile_and_goes_with_it() -> None:
    assert opened(pack(row()))[0].pinned_tweet_id == 0
    assert opened(pack(row(), 1 << 62))[0].pinned_tweet_id == 1 << 62
    assert opened(pack(row(erased=True), 5))[0].pinned_tweet_id == 0


@pytest.mark.parametrize(
    ("cells", "active", "deactivated", "erased"),
    [
        ({"deactivated": True}, False, True, False),
        ({"deactivated": False}, True, False, False),
        ({"deactivated": True, "erased": True}, False, False, True),
    ],
)
def test_states_are_told_apart(
    cells: dict[str, Any], active: bool, deactivated: bool, erased: bool
) -> None:
    fragment, body = opened(pack(row(**cells)))
    assert (fragment.active, fragment.deactivated, fragment.erased) == (
        active,
        deactivated,
        erased,
    )
    assert (body == {"id": "7"}) is erased


def test_a_profile_without_a_registration_is_no_user() -> None:
    assert pack(row({"name": ("new", 3)}, created_at=None, username=None)) is None
