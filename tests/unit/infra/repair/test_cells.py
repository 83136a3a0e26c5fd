"""What the log says of cells, and what puts a stored one right."""

from __future__ import annotations

from typing import Any

import pytest

from events.slices import Record
from events.types import Event, ListCreated, ListDeleted, UserBlocked, UserErased
from infra.repair.cells import ROW, Cell, Change, Expected, Row, Written, changes, written
from projections.accounts.unit import rows_of as account_rows
from projections.collections.unit import rows_of as list_rows
from projections.timelines.graph import facts
from projections.versions import final, first, latest

END = 100
PINS = ("pins", (1,))
KEYS = {
    "accounts": ["user_id"],
    "pins": ["user_id"],
    "lists": ["list_id", "user_id"],
    "lists_of": ["user_id", "list_id"],
    "graph_out": ["user_id", "other_id"],
    "graph_in": ["user_id", "follower_id"],
}


def expected(*cells: tuple[int, int], durable_below: int = END) -> Expected:
    """Pins by offset and tweet."""
    found = Expected()
    for offset, tweet in cells:
        one = Written(PINS, {"tweet_id": tweet}, latest(offset))
        found.add(one, offset < durable_below)
    return found


def found(one: Expected, tweet: int | None, at: int = 0, attempt: int = 0) -> list[Change]:
    stored = {PINS: {"tweet_id": Cell(tweet, at)}} if tweet is not None else {}
    return changes(one, stored, {(PINS, "tweet_id"): attempt, (PINS, ROW): attempt}, END)


def test_the_statements_of_units_are_taken_apart() -> None:
    erased = [written(w, KEYS) for w in account_rows(Record(4, 0, _event(UserErased)))]
    assert erased[0].row == ("accounts", (1,)) and erased[0].at == final(4)
    assert (erased[0].cells["erased"], erased[0].cells["new_url"]) == (True, "")
    assert erased[1] == Written(PINS, {"tweet_id": 0}, final(4))
    named = {"name": "n", "description": "", "private": True}
    made = [
        written(w, KEYS) for w in list_rows(Record(4, 0, _event(ListCreated, list_id=2, **named)))
    ]
    assert made[0].cells == {"created_at": 1, **named} and made[0].at == first(4)
    assert made[1] == Written(("lists_of", (1, 2)), {"deleted": False}, first(4))
    gone = [written(w, KEYS) for w in list_rows(Record(4, 0, _event(ListDeleted, list_id=2)))]
    assert gone[0].cells["deleted"] is True and gone[1].cells == {"deleted": True}
    blocked = [written(w, KEYS) for w in facts(Record(4, 0, _event(UserBlocked, target_user_id=3)))]
    assert blocked[0] == Written(("graph_out", (1, 3)), {"block_id": 9}, latest(4))
    assert {one.row[0] for one in blocked} == {"graph_out", "graph_in"}


def _event(kind: Any, **fields: Any) -> Event:
    event: Event = kind(event_id=9, occurred_at=1, user_id=1, **fields)
    return event


def test_what_no_unit_writes_is_refused() -> None:
    with pytest.raises(ValueError, match="not a statement"):
        written(("DELETE FROM {pins} WHERE user_id = ?", (1,)), KEYS)


def test_what_is_as_the_log_says_is_left_alone() -> None:
    assert found(expected((3, 50), (7, 60)), 60, latest(7)) == []
    assert found(Expected(), None) == []


@pytest.mark.parametrize(("tweet", "at"), [(50, latest(3)), (60, latest(7))])
def test_what_a_worker_may_not_have_applied_yet_is_right_either_way(tweet: int, at: int) -> None:
    assert found(expected((3, 50), (7, 60), durable_below=5), tweet, at) == []


def test_what_is_missing_or_old_is_written_as_the_worker_would() -> None:
    (missing,) = found(expected((3, 50)), None)
    assert (missing.column, missing.right, missing.at) == ("tweet_id", 50, latest(3))
    (old,) = found(expected((3, 50), (7, 60)), 50, latest(3))
    assert (old.stored, old.right, old.at, old.is_above_log) == (50, 60, latest(7), False)


@pytest.mark.parametrize("at", [latest(3), latest(7), END])
def test_a_wrong_value_is_beaten_just_above_its_own_timestamp(at: int) -> None:
    (change,) = found(expected((3, 50)), 51, at)
    assert (change.right, change.at, change.is_above_log) == (50, at + 1, False)
    assert found(expected((3, 50)), 50, change.at) == []


def test_a_value_above_the_log_is_beaten_and_told() -> None:
    (change,) = found(expected((3, 50)), 51, 1 << 50)
    assert (change.right, change.at, change.is_above_log) == (50, (1 << 50) + 1, True)


def test_a_wrong_value_is_beaten_by_one_however_often_it_comes_back() -> None:
    """Only what stays away is written higher each time: a clock's timestamp would hide events."""
    (change,) = found(expected((3, 50)), 51, 7, attempt=5)
    assert change.at == 8


def test_what_is_above_is_measured_in_the_partition_that_speaks_of_the_row() -> None:
    log = Expected()
    log.add(Written(PINS, {"tweet_id": 50}, latest(3)), True, 10)
    (change,) = found(log, 51, 10)
    assert not change.is_above_log
    (change,) = found(log, 51, 11)
    assert change.is_above_log


def test_a_row_that_nobody_spoke_of_is_deleted_at_its_own_timestamp() -> None:
    (change,) = found(Expected(), 51, 5)
    assert (change.column, change.right, change.at) == (ROW, None, 5)


def test_a_row_without_cells_is_deleted_higher_at_each_attempt() -> None:
    key_only = {("mentions", ("@a", 0, 1)): dict[str, Cell]()}
    ((row, _),) = key_only.items()
    at = [changes(Expected(), key_only, {(row, ROW): n}, END)[0].at for n in range(3)]
    assert at[:2] == [0, END] and at[2] > END


def test_what_stays_missing_was_deleted_and_is_written_higher_at_each_attempt() -> None:
    at = [found(expected((3, 50)), None, attempt=attempt)[0].at for attempt in range(4)]
    assert at[:3] == [latest(3), latest(3), END + 1] and at[3] > END + 1


def test_a_timestamp_that_is_read_for_its_offset_keeps_it() -> None:
    row = ("accounts", (1,))
    log = Expected()
    log.add(Written(row, {"created_at": 5}, first(8)), True)
    (change,) = changes(log, {row: {"created_at": Cell(6, first(8))}}, {}, END)
    assert (change.right, change.at, change.is_hopeless) == (5, latest(8), False)
    assert changes(log, {row: {"created_at": Cell(5, change.at)}}, {}, END) == []
    (change,) = changes(log, {row: {"created_at": Cell(6, latest(20))}}, {}, END)
    assert change.is_hopeless


@pytest.mark.parametrize(("one", "other", "winner"), [(4, 9, "redriven_id"), (9, 4, "event_id")])
def test_of_two_rivals_the_later_still_has_the_higher_timestamp_afterwards(
    one: int, other: int, winner: str
) -> None:
    row = ("likes", (1, 2))
    known = Expected()
    for column, offset in (("event_id", one), ("redriven_id", other)):
        known.add(Written(row, {column: offset}, latest(offset)), True)
    wrong = 20  # the timestamp of what is wrong, above both
    loser = {"event_id": "redriven_id", "redriven_id": "event_id"}[winner]
    right = {column: Cell(at, latest(at)) for column, at in known_values(one, other).items()}
    stored = {row: {**right, loser: Cell(77, wrong)}}
    at = {change.column: change.at for change in changes(known, stored, {}, END)}
    assert at[loser] > wrong
    assert at[winner] > at[loser] or (winner == "event_id" and at[winner] == at[loser])
    mended = {column: Cell(value, at[column]) for column, value in known_values(one, other).items()}
    assert changes(known, {row: mended}, {}, END) == []


def known_values(one: int, other: int) -> dict[str, int]:
    return {"event_id": one, "redriven_id": other}


REGISTER = ("tallies", (1, "engagements/0"))


def registers(*positions: int) -> Expected:
    """A register that counts a like at each position."""
    known = Expected()
    for likes, position in enumerate(positions, 1):
        known.add(Written(REGISTER, {"position": position, "likes": likes}, position), True, END)
    return known


def test_a_register_is_right_or_wrong_by_its_own_position() -> None:
    known = registers(3, 5, 9)
    right = {"position": Cell(9, 9), "likes": Cell(3, 9)}
    assert changes(known, {REGISTER: right}, {}, END) == []
    raised = {"position": Cell(9, 12), "likes": Cell(3, 12)}
    assert changes(known, {REGISTER: raised}, {}, END) == []
    for wrong in (
        {"position": Cell(9, 10), "likes": Cell(2, 10)},  # a number of another position
        {"position": Cell(5, 10), "likes": Cell(2, 10)},  # of the past
        {"position": Cell(9, 10)},
    ):
        made = changes(known, {REGISTER: wrong}, {}, END)
        assert {(one.column, one.right) for one in made} == {("position", 9), ("likes", 3)}
        assert {one.at for one in made} == {11}


def test_a_register_that_a_deletion_hides_is_written_higher_at_each_try() -> None:
    known = registers(3)
    lost: list[dict[Row, dict[str, Cell]]] = [{}, {REGISTER: {}}]
    for stored in lost:
        tries = {(REGISTER, "position"): 2, (REGISTER, "likes"): 2, (REGISTER, ROW): 2}
        assert {one.at for one in changes(known, stored, tries, END)} == {END + 1}
