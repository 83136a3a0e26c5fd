"""Whether a tweet is what a query asks for, in Python: the archive's half of ``find.lua``.

Keeps true: both say the same of a tweet, and the same as ``tests/oracle_search.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from projections.search.program import (
    Above,
    Absent,
    All,
    Below,
    Flagged,
    Program,
    Some,
    Spoken,
    Words,
)


class Posting(NamedTuple):
    """One post: by its id, its author, and the offset of its record."""

    tweet_id: int
    author_id: int
    posted_at: int


Terms: TypeAlias = Mapping[str, bytes]
"""Places by term, of those terms that a query looks at."""

Found: TypeAlias = dict[Posting, dict[str, bytes]]
"""Terms by post."""


def candidates(program: Program, found: Found) -> list[Posting]:
    """Returns the posts of which the query must be asked, since one of its terms stands there."""
    wanted = set(_sought(program))
    return [posting for posting, terms in found.items() if not wanted.isdisjoint(terms)]


def _sought(program: Program) -> Iterable[str]:
    match program:
        case Words(places):
            for one in places:
                yield from one.terms
        case All(sought, _) | Some(sought):
            for member in sought:
                yield from _sought(member)
        case _:
            return


def matches(program: Program, tweet_id: int, terms: Terms, language: str, flags: int) -> bool:
    """Says whether a tweet with these terms is found."""

    def is_so(program: Program) -> bool:
        match program:
            case Words():
                return _stands(program, terms, language)
            case All(sought, others):
                return all(map(is_so, others)) and _all(sought)
            case Some(members):
                return any(map(is_so, members))
            case Absent(member):
                return not is_so(member)
            case _:
                return _narrows(program, tweet_id, language, flags)

    def _all(sought: tuple[Program, ...]) -> bool:
        so = [is_so(member) for member in sought]
        passed = [isinstance(member, Words) and language in member.passed_over for member in sought]
        if not all(one or other for one, other in zip(so, passed, strict=True)):
            return False
        return all(so) or any(so)

    return is_so(program)


def _narrows(program: Program, tweet_id: int, language: str, flags: int) -> bool:
    match program:
        case Flagged(flag):
            return bool(flags & flag)
        case Spoken(wanted):
            return wanted == language
        case Above(bound):
            return tweet_id > bound
        case Below(bound):
            return tweet_id < bound
        case _:
            raise TypeError(f"looks for something: {program!r}")


def _stands(words: Words, terms: Terms, language: str) -> bool:
    """Whether there is a place from which on each is right, and one that is right by its term."""
    there = [
        {place for term in one.terms for place in terms.get(term, b"")} for one in words.places
    ]
    starts = {
        place - one.place
        for one, places in zip(words.places, there, strict=True)
        for place in places
    }
    return any(
        start >= 0
        and all(
            start + one.place in places or language in one.stop_in
            for one, places in zip(words.places, there, strict=True)
        )
        for start in starts
    )
