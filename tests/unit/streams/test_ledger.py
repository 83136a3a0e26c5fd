"""The ledger: what may be committed, under every order of acks, gaps and rebalances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ledger import Ledger, OutOfOrder, RawSlice
from tests.unit.streams.records import P0, P1, records


def opened(at: int = 0, committed: int | None = None) -> Ledger:
    ledger = Ledger()
    ledger.resume(P0, at, committed)
    return ledger


def handed(ledger: Ledger, *offsets: int, position: int | None = None) -> RawSlice:
    piece = ledger.hand_out(P0, records(*offsets), position or offsets[-1] + 1)
    assert piece is not None
    return piece


def test_a_fresh_partition_tells_where_it_stands_even_when_nothing_was_read() -> None:
    assert opened(0, None).due() == {P0: 0}
    assert opened(7, 7).due() == {}


def test_an_ack_in_order_moves_the_number() -> None:
    ledger = opened()
    piece = handed(ledger, 0, 1, 2)
    assert (piece.start, piece.end) == (0, 3)
    assert ledger.ack(piece)
    assert ledger.due() == {P0: 3}


def test_the_first_slice_of_a_fresh_group_holds_back_what_comes_after_it() -> None:
    ledger = opened(0, None)
    slow, fast = handed(ledger, 0, 1), handed(ledger, 2, 3)
    assert not ledger.ack(fast)
    assert ledger.due() == {P0: 0}
    assert ledger.ack(slow)
    assert ledger.due() == {P0: 4}


def test_what_was_told_is_not_due_again() -> None:
    ledger = opened()
    ledger.ack(handed(ledger, 0))
    ledger.told(ledger.due())
    assert ledger.due() == {}
    assert ledger.committed() == {P0: 1}


def test_a_commit_that_was_not_confirmed_stays_due() -> None:
    ledger = opened()
    ledger.ack(handed(ledger, 0))
    assert ledger.due() == ledger.due() == {P0: 1}


def test_a_gap_before_between_and_after_records_belongs_to_the_slice() -> None:
    ledger = opened(10, 10)
    piece = handed(ledger, 15, 90, position=200)
    assert (piece.start, piece.end) == (10, 200)
    ledger.ack(piece)
    assert ledger.due() == {P0: 200}


def test_a_tail_without_records_is_an_empty_slice() -> None:
    ledger = opened()
    ledger.ack(handed(ledger, 0, 1))
    tail = ledger.hand_out(P0, [], 3)
    assert tail is not None
    assert tail.records == []
    ledger.ack(tail)
    assert ledger.due() == {P0: 3}


def test_nothing_new_is_no_slice() -> None:
    assert opened(5).hand_out(P0, [], 5) is None


@pytest.mark.parametrize(("offsets", "position"), [((3,), 4), ((), 3)])
def test_a_log_that_goes_back_is_refused(offsets: tuple[int, ...], position: int) -> None:
    ledger = opened(5)
    with pytest.raises(OutOfOrder, match="numbers/0 was read to 5"):
        ledger.hand_out(P0, records(*offsets), position)


def test_an_ack_from_before_a_rebalance_changes_nothing() -> None:
    ledger = opened()
    old = handed(ledger, 0, 1)
    ledger.forget()
    assert not ledger.ack(old)
    ledger.resume(P0, 0, None)
    again = handed(ledger, 0, 1)
    assert not ledger.ack(old)
    assert ledger.due() == {P0: 0}
    assert ledger.ack(again)


def test_a_slice_acked_twice_counts_once() -> None:
    ledger = opened()
    first, second = handed(ledger, 0), handed(ledger, 1)
    assert ledger.ack(first)
    assert not ledger.ack(first)
    assert ledger.due() == {P0: 1}
    assert ledger.ack(second)


def test_a_position_below_the_committed_offset_is_told_too() -> None:
    """After lost state the unit resumes lower: the group's lag has to say so."""
    assert opened(4, 9).due() == {P0: 4}


def test_partitions_do_not_hold_each_other_back() -> None:
    ledger = opened()
    ledger.resume(P1, 0, None)
    handed(ledger, 0)
    other = ledger.hand_out(P1, records(0, 1), 2)
    assert other is not None
    ledger.ack(other)
    assert ledger.due() == {P0: 0, P1: 2}


@given(st.data())
def test_never_past_a_slice_that_is_out(data: st.DataObject) -> None:
    """Any slices with any gaps, acked in any order: due is the start of the oldest one out."""
    ledger = opened(0, None)
    at, pieces = 0, []
    for _ in range(data.draw(st.integers(1, 8))):
        first = at + data.draw(st.integers(0, 50))
        at = first + 1 + data.draw(st.integers(0, 50))
        pieces.append(handed(ledger, first, position=at))
    out = list(pieces)
    for piece in data.draw(st.permutations(pieces)):
        ledger.ack(piece)
        out.remove(piece)
        assert ledger.applied() == {P0: out[0].start if out else at}
    assert ledger.due() == {P0: at}


def test_a_slice_of_millions_of_offsets_costs_no_list() -> None:
    ledger = opened()
    piece = handed(ledger, 0, position=10**12)
    ledger.ack(piece)
    assert ledger.due() == {P0: 10**12}
