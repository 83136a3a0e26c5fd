"""Reads a query, or says where it cannot be read and what was expected there.

1. The grammar (``query.lark``) makes a tree of words, phrases and operators.
2. Each operator's value is read (:mod:`.operators`); a name that is no operator makes a word,
   unless it is nearly one.
3. What holds no word, such as ``!!!``, is left out; the rest comes into its normal form.
4. The whole is held to the limits.

Keeps true: a query that is read can be evaluated by both tiers; every refusal is a ``QueryError``
that names a place.

Bounded by: ``CHARACTERS_MAX``, ``PARTS_MAX`` and ``DEPTH_MAX``.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from projections.search.analysis.tokens import tokens
from projections.search.query import tree
from projections.search.query.errors import QueryError, shown
from projections.search.query.operators import OPERATORS
from projections.search.query.tree import Node

CHARACTERS_MAX = 512
PARTS_MAX = 32
"""Words, phrases and operators of one query."""

DEPTH_MAX = 8
"""Parentheses within each other."""

NEAR = 0.75
"""How much a name must be like an operator's to be taken for a slip of the hand (difflib)."""

NEAR_CHARACTERS_MIN = 4

_EXPECTED = {
    "WORD": "a word",
    "PHRASE": "a phrase in quotes",
    "_CLOSE": "a closing parenthesis",
    "_OR": "OR",
}


def parse(text: str) -> Node:
    """Returns the normal form of a query.

    Raises:
        QueryError: it cannot be read, or asks for more than is allowed.
    """
    if len(text) > CHARACTERS_MAX:
        most = f"at most {CHARACTERS_MAX} characters"
        raise QueryError(CHARACTERS_MAX + 1, most, f"{len(text)} of them")
    _check_depth(text)
    if not text.strip():
        raise QueryError(1, "a word to look for", "nothing")
    try:
        found = _Reader().transform(_grammar().parse(text))  # 1, 2
    except UnexpectedInput as error:
        raise _refused(text, error) from error
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise
    if found is None:
        raise QueryError(1, "a word to look for", "only signs")
    node = tree.normal(found)  # 3
    _check(node)  # 4
    return node


class _Reader(Transformer[Token, Any]):
    """Makes nodes of what the grammar has found; None for what holds no word."""

    def start(self, children: list[Node | None]) -> Node | None:
        return children[0]

    def either(self, children: list[Node | None]) -> Node | None:
        return _group(tree.Or, children)

    def both(self, children: list[Node | None]) -> Node | None:
        return _group(tree.And, children)

    def negated(self, children: list[Node | None]) -> Node | None:
        (node,) = children
        return tree.Not(node, at=node.at) if node is not None else None

    def phrase(self, children: list[Token]) -> Node | None:
        return _words(str(children[0])[1:-1], _place(children[0]))

    def word(self, children: list[Token]) -> Node | None:
        return _words(str(children[0]), _place(children[0]))

    def operator(self, children: list[Token]) -> Node | None:
        text, at = str(children[0]), _place(children[0])
        name, _, value = text.partition(":")
        read = OPERATORS.get(name.lower())
        if read is not None:
            return read(value, at + len(name) + 1)
        near = get_close_matches(name.lower(), OPERATORS, 1, NEAR)
        if near and value.strip("/:") and value[0] != "/" and len(name) >= NEAR_CHARACTERS_MIN:
            raise QueryError(at, f"{near[0]}:", f"{name}:")
        return _words(text, at)


def _group(kind: type[tree.And | tree.Or], children: list[Node | None]) -> Node | None:
    nodes = [node for node in children if node is not None]
    if len(nodes) < 2:
        return nodes[0] if nodes else None
    return kind(tuple(nodes), at=nodes[0].at)


def _words(text: str, at: int) -> Node | None:
    if text[-1:] == "*" and text.strip("*"):
        raise QueryError(at + len(text) - 1, "a whole word", "a wildcard")
    return tree.Words(text, at=at) if tokens(text) else None


def _place(token: Token) -> int:
    return int(token.start_pos or 0) + 1


def _check(node: Node) -> None:
    parts = list(tree.leaves(node))
    if len(parts) > PARTS_MAX:
        most = f"at most {PARTS_MAX} words and operators"
        raise QueryError(parts[PARTS_MAX].at, most, f"{len(parts)} of them")
    for part in parts:
        if isinstance(part, tree.COUNTED) and part not in tree.members(node):
            raise QueryError(part.at, "numbers of likes and retweets outside of OR, - and groups")
    if not tree.looks_for_something(node):
        what = "a word, #tag, @user, from:, to: or conversation_id: beside what only narrows"
        raise QueryError(_loose(node).at, what)


def _loose(node: Node) -> Node:
    """Returns what would have every tweet looked at, in a tree that looks for nothing."""
    if isinstance(node, tree.Or):
        return next(one for one in node.nodes if not tree.looks_for_something(one))
    return tree.members(node)[0]


def _check_depth(text: str) -> None:
    depth = 0
    quoted = False
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "()":
            depth += 1 if character == "(" else -1
            if depth > DEPTH_MAX:
                raise QueryError(at + 1, f"at most {DEPTH_MAX} parentheses within each other")


def _refused(text: str, error: UnexpectedInput) -> QueryError:
    if isinstance(error, UnexpectedCharacters):
        at = int(error.pos_in_stream or 0)
        if text[at] == '"':
            return QueryError(len(text) + 1, f"the end of the quote from character {at + 1}")
        return QueryError(at + 1, "a word", shown(text[at]))
    names: set[str] = set()
    found, at = "the end", len(text)
    if isinstance(error, UnexpectedToken):
        names = {str(name) for name in error.expected}
        if error.token.type != "$END":
            found, at = shown(str(error.token)), int(error.token.start_pos or 0)
    wanted = [said for name, said in _EXPECTED.items() if name in names]
    return QueryError(at + 1, " or ".join(wanted[:2]) or "the end", found)


@cache
def _grammar() -> Lark:
    return Lark.open("query.lark", rel_to=__file__, parser="lalr")
