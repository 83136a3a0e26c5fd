"""A query as both tiers take it: names replaced by ids, words by terms.

For the real-time tier it is packed for ``find.lua``; the archive walks the same tree. Counts
(``min_likes:``, ``min_retweets:``) are left out: whoever asks filters by them.

Bounded by: the parser's limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

import msgspec

from projections.search.analysis.terms import asked
from projections.search.layout import (
    HAS,
    IS,
    by_author,
    hash_of,
    in_conversation,
    language_code,
    to_user,
)
from projections.search.query import tree
from projections.search.query.tree import Node

_HASH = Struct(">HI")
"""Run and print of a term; bytes are no type of every msgpack that Redis has had."""


class Op(IntEnum):
    """Kinds of nodes, as ``find.lua`` numbers them."""

    WORDS = 0
    AND = 1
    OR = 2
    NOT = 3
    FLAGS = 4
    LANGUAGE = 5
    NEWER = 6
    OLDER = 7


class Place(NamedTuple):
    """What stands at a place: any of these terms, or a stop word of any of these languages."""

    place: int
    terms: tuple[str, ...]
    stop_in: tuple[str, ...]


class Words(NamedTuple):
    """Places beside each other."""

    places: tuple[Place, ...]

    @property
    def passed_over(self) -> frozenset[str]:
        """Languages of whose tweets it is not asked for."""
        return frozenset.intersection(*(frozenset(one.stop_in) for one in self.places))


class All(NamedTuple):
    """Members that look for something, and members that only narrow."""

    sought: tuple[Program, ...]
    others: tuple[Program, ...]


class Some(NamedTuple):
    """Some of the members."""

    members: tuple[Program, ...]


class Absent(NamedTuple):
    """Not the member."""

    member: Program


class Flagged(NamedTuple):
    """Tweets with this flag."""

    flag: int


class Spoken(NamedTuple):
    """Tweets in this language."""

    language: str


class Above(NamedTuple):
    """Tweets with ids above this one."""

    bound: int


class Below(NamedTuple):
    """Tweets with ids below this one."""

    bound: int


Program: TypeAlias = Words | All | Some | Absent | Flagged | Spoken | Above | Below


def names_in(query: Node) -> list[str]:
    """Returns the names of users that a query mentions."""
    found = (n.username for n in tree.leaves(query) if isinstance(n, tree.From | tree.To))
    return list(dict.fromkeys(found))


def compiled(query: Node, holders: Mapping[str, int | None]) -> Program:
    """Returns a query ready to be asked.

    Args:
        query: In its normal form.
        holders: Who holds each of the names in it; a name that nobody holds finds nothing.
    """
    languages = [n.language for n in tree.members(query) if isinstance(n, tree.Lang)]
    return _compiled(query, holders, languages[0] if len(languages) == 1 else None)


def bounds(program: Program) -> tuple[int, int]:
    """Returns ids between which, themselves left out, all lies that a query finds."""
    members = (*program.sought, *program.others) if isinstance(program, All) else (program,)
    above = max((one.bound for one in members if isinstance(one, Above)), default=0)
    below = min((one.bound for one in members if isinstance(one, Below)), default=(1 << 63) - 1)
    return above, below


def terms_of(program: Program) -> Iterator[str]:
    """Yields every term that a query has to look at."""
    match program:
        case Words(places):
            for one in places:
                yield from one.terms
        case All(sought, others):
            for member in (*sought, *others):
                yield from terms_of(member)
        case Some(members):
            for member in members:
                yield from terms_of(member)
        case Absent(member):
            yield from terms_of(member)
        case _:
            return


def packed(program: Program) -> bytes:
    """Returns a query as ``find.lua`` takes it."""
    return msgspec.msgpack.encode(_array(program))


def _compiled(node: Node, holders: Mapping[str, int | None], spoken: str | None) -> Program:
    match node:
        case tree.Words(text=text):
            return Words(tuple(Place(*one) for one in asked(text, spoken)))
        case tree.And(nodes=nodes):
            asked_for = [one for one in nodes if not isinstance(one, tree.COUNTED)]
            return _all(asked_for, holders, spoken)
        case tree.Or(nodes=nodes):
            return Some(tuple(_compiled(one, holders, spoken) for one in nodes))
        case tree.Not(node=inner):
            return Absent(_compiled(inner, holders, spoken))
        case tree.From(username=name):
            return _user(holders.get(name), by_author)
        case tree.To(username=name):
            return _user(holders.get(name), to_user)
        case tree.Conversation(tweet_id=root):
            return _term(in_conversation(root))
        case _:
            return _narrowing(node)


def _narrowing(node: Node) -> Program:
    match node:
        case tree.Is(kind=kind):
            return Flagged(IS[kind])
        case tree.Has(kind=kind):
            return Flagged(HAS[kind])
        case tree.Lang(language=language):
            return Spoken(language)
        case tree.Newer(than=bound):
            return Above(bound)
        case tree.Older(than=bound):
            return Below(bound)
        case _:
            raise TypeError(f"not for an index: {node!r}")


def _all(nodes: Sequence[Node], holders: Mapping[str, int | None], spoken: str | None) -> Program:
    made = [(one, _compiled(one, holders, spoken)) for one in nodes]
    if len(made) == 1:
        return made[0][1]
    sought = tuple(program for node, program in made if tree.looks_for_something(node))
    others = tuple(program for node, program in made if not tree.looks_for_something(node))
    return All(sought, others)


def _user(user_id: int | None, term: Any) -> Words:
    return _term(term(user_id)) if user_id is not None else Words((Place(0, (), ()),))


def _term(term: str) -> Words:
    return Words((Place(0, (term,), ()),))


def _array(program: Program) -> list[Any]:
    match program:
        case Words(places):
            return [Op.WORDS, *(_place(one) for one in places)]
        case All(sought, others):
            return [Op.AND, [_array(m) for m in sought], [_array(m) for m in others]]
        case Some(members):
            return [Op.OR, [_array(member) for member in members]]
        case Absent(member):
            return [Op.NOT, _array(member)]
        case Flagged(flag):
            return [Op.FLAGS, flag]
        case Spoken(language):
            return [Op.LANGUAGE, language_code(language)]
        case Above(bound):
            return [Op.NEWER, bound >> 32, bound & 0xFFFFFFFF]
        case Below(bound):
            return [Op.OLDER, bound >> 32, bound & 0xFFFFFFFF]


def _place(one: Place) -> list[Any]:
    hashes = [number for term in one.terms for number in _HASH.unpack(hash_of(term))]
    return [one.place, hashes, [language_code(language) for language in one.stop_in]]
