"""Who holds a name against the specification, whatever is delivered again, late or by a redrive."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.slices import Record
from events.types import UsernameClaimed, UsernameReleased
from projections.accounts.layout import WRITE_USERNAME
from projections.accounts.usernames import Usernames
from projections.base import PoisonError
from projections.store import Row, Store
from tests.oracle import LogRecord, Oracle

NAMES = ("ada", "bob")


class Table(Store):
    """The rows of ``username_claims`` as the store keeps them: one for each name and offset."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Row] = {}

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        return [row for (key, _), row in self.rows.items() if key in values[0]]

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        for cql, (*row, _) in rows:
            assert cql == WRITE_USERNAME
            place = (row[0], row[1])
            assert self.rows.get(place, tuple(row)) == tuple(row), "two writers disagree"
            self.rows[place] = tuple(row)


ACTIONS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 3), st.sampled_from(NAMES)), min_size=1, max_size=14
)


def records(actions: list[tuple[bool, int, str]]) -> list[Record]:
    found: list[Record] = []
    for offset, (claims, user_id, name) in enumerate(actions):
        common: dict[str, Any] = {
            "event_id": 100 + offset,
            "occurred_at": 1,
            "username_key": name,
            "user_id": user_id,
        }
        event = (
            UsernameClaimed(**common, username=name.title())
            if claims
            else UsernameReleased(**common)
        )
        found.append(Record(offset, 0, event))
    return found


@given(ACTIONS, st.data())
async def test_the_first_claim_holds_until_its_holder_releases_it(
    actions: list[tuple[bool, int, str]], data: st.DataObject
) -> None:
    log = records(actions)
    names = Usernames(Table())
    order = data.draw(st.permutations(log), label="redriven records come in any order")
    again = data.draw(st.lists(st.sampled_from(log)), label="redelivered")
    for record in [*order, *again]:
        await names.record([record])
    oracle = Oracle(LogRecord("usernames", 0, r.offset, r.event) for r in log)
    claims = await names.claims(list(NAMES))
    assert {n: c.user_id for n, c in claims.items()} == {
        name: holder for name in NAMES if (holder := oracle.holder(name)) is not None
    }


async def test_a_claim_tells_its_event_so_that_the_claimant_knows_whether_it_won() -> None:
    names = Usernames(Table())
    await names.record(records([(True, 1, "ada"), (True, 2, "ada")]))
    claim = (await names.claims(["ada"]))["ada"]
    assert (claim.user_id, claim.event_id, claim.offset) == (1, 100, 0)
    assert claim.username == "Ada"


async def test_a_name_that_is_released_is_anybodys() -> None:
    names = Usernames(Table())
    await names.record(records([(True, 1, "ada"), (False, 1, "ada"), (True, 2, "ada")]))
    assert (await names.claims(["ada"]))["ada"].user_id == 2


@pytest.mark.parametrize("name", ["", "x" * 65_536, "é" * 40_000])
async def test_a_name_that_cannot_be_a_key_is_refused(name: str) -> None:
    claim = UsernameClaimed(event_id=1, occurred_at=1, username_key=name, username="x", user_id=1)
    with pytest.raises(PoisonError) as refused:
        await Usernames(Table()).record([Record(7, 0, claim)])
    assert refused.value.offset == 7
