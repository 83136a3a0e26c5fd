"""Letters and decisions as both topics say them: each letter once, and one state."""

from __future__ import annotations

from typing import Any

import pytest

from events.letters import BURIALS_MAX, Book, LetterId, State
from events.ranges import Raw
from events.types import LetterDiscarded, RedriveRequested

NAME = LetterId("tweets", "new-tweets", 3, 17)


def raw(offset: int, *, attempt: int = 1, group: str = "g1", value: bytes | None = b"junk") -> Raw:
    ours = {
        "dl_topic": "new-tweets",
        "dl_partition": 3,
        "dl_offset": 17,
        "dl_unit": "tweets",
        "dl_reason": "undecodable",
        "dl_detail": "MalformedEvent: 4 bytes",
        "dl_attempt": attempt,
        "dl_appended_at": 1_000,
        "dl_group": group,
    }
    headers = [("ce_type", b"TweetPosted"), *((n, str(v).encode()) for n, v in ours.items())]
    return Raw(offset, 2_000 + offset, b"key", value, headers)


def decision(kind: type[Any] = RedriveRequested, **fields: Any) -> Any:
    return kind(event_id=1, occurred_at=1, **NAME._asdict(), **fields)


def buried(*raws: Raw) -> Book:
    book = Book()
    for one in raws:
        book.bury(0, one)
    return book


def state_of(book: Book, position: int = 0) -> State:
    letter = book.get(NAME)
    assert letter is not None
    return letter.state({"redrive/0": position})


def test_a_letter_is_listed_once_however_often_it_was_buried() -> None:
    book = buried(raw(0), raw(1), raw(2, group="g2"))
    (letter,) = book
    assert (letter.id, letter.attempts, letter.buried_at) == (NAME, 1, 2_000)
    assert [burial.group for burial in letter.burials] == ["g1", "g1", "g2"]
    assert letter.headers == [("ce_type", b"TweetPosted")]


def test_of_many_burials_the_first_and_the_last_are_kept() -> None:
    book = buried(*(raw(offset) for offset in range(3 * BURIALS_MAX)))
    (letter,) = book
    offsets = [burial.offset for burial in letter.burials]
    assert len(offsets) == BURIALS_MAX
    assert (offsets[0], offsets[-1]) == (0, 3 * BURIALS_MAX - 1)


def test_what_is_no_letter_is_left_out() -> None:
    book = Book()
    book.bury(0, Raw(0, 1, None, b"junk", [("dl_topic", b"new-tweets")]))
    assert list(book) == []


def test_a_letter_is_redriven_until_its_unit_is_past_the_request() -> None:
    book = buried(raw(0))
    assert state_of(book) == "open"
    book.rule(0, 5, 1, decision(payload=b"x"))
    assert [state_of(book, position) for position in (0, 5, 6)] == [
        "redriven",
        "redriven",
        "applied",
    ]


def test_a_redrive_that_failed_leaves_the_letter_open() -> None:
    book = buried(raw(0))
    book.rule(0, 5, 1, decision())
    book.bury(0, raw(1, attempt=2))
    assert state_of(book, 6) == "open"
    letter = book.get(NAME)
    assert letter is not None
    assert (letter.attempts, letter.next_attempt) == (2, 2)
    book.rule(0, 6, 1, decision(attempt=2))
    assert state_of(book, 7) == "applied"


def test_of_two_decisions_with_one_attempt_the_first_counts() -> None:
    book = buried(raw(0))
    book.rule(0, 5, 1, decision(LetterDiscarded, actor="ada"))
    book.rule(0, 6, 1, decision(payload=b"x", actor="bob"))
    assert state_of(book, 9) == "discarded"
    letter = book.get(NAME)
    assert letter is not None
    assert letter.counting is not None
    assert letter.counting.actor == "ada"


def test_a_discarded_letter_can_still_be_sent_back() -> None:
    book = buried(raw(0))
    book.rule(0, 5, 1, decision(LetterDiscarded))
    letter = book.get(NAME)
    assert letter is not None
    book.rule(0, 6, 1, decision(attempt=letter.next_attempt))
    assert state_of(book, 9) == "applied"


def test_a_decision_that_is_read_before_its_letter_waits_for_it() -> None:
    book = Book()
    book.rule(0, 5, 1, decision())
    book.bury(0, raw(0))
    assert state_of(book, 6) == "applied"


@pytest.mark.parametrize("text", [str(NAME), "tweets:new-tweets/3@17"])
def test_a_letter_is_named_in_two_ways(text: str) -> None:
    assert LetterId.parse(text) == NAME


@pytest.mark.parametrize("text", ["", "tweets", "tweets:new-tweets:x:1", "a:b:1:2:3"])
def test_other_texts_name_none(text: str) -> None:
    with pytest.raises(ValueError, match="timelines:new-tweets:3:1234"):
        LetterId.parse(text)
