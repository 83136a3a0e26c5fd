"""The fold of usernames against the specification, whatever is delivered again or late."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events.slices import Record
from events.types import UsernameClaimed, UsernameReleased
from projections.accounts.layout import WRITE_USERNAME
from projections.accounts.usernames import Usernames
from projections.store import Row, Store
from tests.oracle import LogRecord, Oracle

NAMES = ("ada", "bob")


class Table(Store):
    """The rows of ``usernames`` as the store keeps them: of each name the highest timestamp's."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, Row]] = {}

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        return [self.rows[key][1] for key in values[0] if key in self.rows]

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        for cql, (*row, timestamp) in rows:
            assert cql == WRITE_USERNAME
            held = self.rows.get(row[0])
            if held is not None and held[0] == timestamp:
                assert held[1] == tuple(row), "two writers disagree at one timestamp"
            if held is None or held[0] < timestamp:
                self.rows[row[0]] = (timestamp, tuple(row))


def usernames(table: Table) -> Usernames:
    return Usernames(table)


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
    names = usernames(table := Table())
    done = 0
    while done < len(log):
        begin = data.draw(st.integers(0, done), label="redelivered from")
        end = data.draw(st.integers(done + 1, len(log)), label="to")
        await names.record(log[begin:end])
        done = end
        behind = data.draw(st.integers(0, done), label="a zombie writes from")
        await names.record(log[behind : data.draw(st.integers(behind, done))])
    oracle = Oracle(LogRecord("usernames", 0, r.offset, r.event) for r in log)
    claims = await names.claims(list(NAMES))
    assert {n: c.user_id for n, c in claims.items()} == {
        name: holder for name in NAMES if (holder := oracle.holder(name)) is not None
    }
    assert len(table.rows) <= len(NAMES)


@given(ACTIONS, st.integers(0, 14), st.integers(0, 14))
async def test_a_zombie_that_read_before_and_writes_after_loses(
    actions: list[tuple[bool, int, str]], begin: int, end: int
) -> None:
    log = records(actions)
    begin, end = min(begin, len(log)), min(max(begin, end), len(log))
    table = Table()
    await usernames(table).record(log[:begin])

    stale = Table()  # what the zombie read before it was paused
    stale.rows = dict(table.rows)
    await usernames(table).record(log[begin:])
    before = dict(table.rows)
    await usernames(stale).record(log[begin:end])
    late = [(WRITE_USERNAME, (*row, timestamp)) for timestamp, row in stale.rows.values()]
    await table.write(late)
    assert table.rows == before


async def test_a_claim_tells_its_event_so_that_the_claimant_knows_whether_it_won() -> None:
    names = usernames(Table())
    await names.record(records([(True, 1, "ada"), (True, 2, "ada")]))
    claim = (await names.claims(["ada"]))["ada"]
    assert (claim.user_id, claim.event_id, claim.offset) == (1, 100, 0)
    assert claim.username == "Ada"
