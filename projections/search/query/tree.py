"""The tree of a query: its nodes, its normal form, and the text that it stands for.

What a node says of a tweet is written beside it; ``tests/oracle_search.py`` is the same as plain
Python over the log. In the normal form

- an ``And`` holds no ``And`` and an ``Or`` no ``Or``, each has at least two different members;
- nothing is negated twice, and no ``Or`` is negated.

Keeps true: ``parse(render(tree))`` is the normal form of ``tree``.

Bounded by: the parser's limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

_PLAIN = re.compile(r"(?!OR\Z)[\w#@$]+")


@dataclass(frozen=True, slots=True)
class Placed:
    """A node, and where in the query it was read; equal whatever that place is."""

    at: int = field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Words(Placed):
    """The words stand in the tweet beside each other: a word, a phrase, ``#tag`` or ``@user``."""

    text: str


@dataclass(frozen=True, slots=True)
class From(Placed):
    """Whoever holds this name wrote it."""

    username: str


@dataclass(frozen=True, slots=True)
class To(Placed):
    """It answers a tweet of whoever holds this name."""

    username: str


@dataclass(frozen=True, slots=True)
class Conversation(Placed):
    """It belongs to the conversation that this tweet began."""

    tweet_id: int


@dataclass(frozen=True, slots=True)
class Lang(Placed):
    """It is in this language."""

    language: str


@dataclass(frozen=True, slots=True)
class Is(Placed):
    """It is a ``reply``, a ``retweet`` or a ``quote``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Has(Placed):
    """It has ``media``, ``links``, ``hashtags`` or ``mentions``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Newer(Placed):
    """Its id is above this one."""

    than: int


@dataclass(frozen=True, slots=True)
class Older(Placed):
    """Its id is below this one."""

    than: int


@dataclass(frozen=True, slots=True)
class Liked(Placed):
    """So many like it, or more."""

    at_least: int


@dataclass(frozen=True, slots=True)
class Retweeted(Placed):
    """It was retweeted so often, or more."""

    at_least: int


@dataclass(frozen=True, slots=True)
class Not(Placed):
    """What the node says is not so."""

    node: Node


@dataclass(frozen=True, slots=True)
class And(Placed):
    """All of it is so.

    A member whose words are all stop words in the tweet's language is not asked for, where another
    member that says what to look for is so.
    """

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Placed):
    """Some of it is so."""

    nodes: tuple[Node, ...]


Leaf: TypeAlias = (
    Words | From | To | Conversation | Lang | Is | Has | Newer | Older | Liked | Retweeted
)
Node: TypeAlias = Leaf | Not | And | Or

SOUGHT = (Words, From, To, Conversation)
"""Nodes that say what to look for; the others narrow what was found."""

COUNTED = (Liked, Retweeted)
"""Nodes that are about counts, which this unit does not have: whoever asks it filters by them."""


def normal(node: Node) -> Node:
    """Returns the normal form."""
    match node:
        case Not(node=inner):
            return _negated(normal(inner), node.at)
        case And(nodes=nodes):
            return joined(And, map(normal, nodes), node.at)
        case Or(nodes=nodes):
            return joined(Or, map(normal, nodes), node.at)
        case _:
            return node


def _negated(inner: Node, at: int) -> Node:
    match inner:
        case Not(node=node):
            return node
        case Or(nodes=nodes):
            return joined(And, (_negated(node, node.at) for node in nodes), at)
        case _:
            return Not(inner, at=at)


def joined(kind: type[And | Or], nodes: Iterable[Node], at: int = 0) -> Node:
    """Returns the nodes as one, which must be in their normal form."""
    found: dict[Node, None] = {}
    for node in nodes:
        if isinstance(node, And | Or) and isinstance(node, kind):
            found.update(dict.fromkeys(node.nodes))
        else:
            found[node] = None
    return next(iter(found)) if len(found) == 1 else kind(tuple(found), at=at)


def members(node: Node) -> tuple[Node, ...]:
    """Returns what must all be so: the members of an ``And``, or the node itself."""
    return node.nodes if isinstance(node, And) else (node,)


def looks_for_something(node: Node) -> bool:
    """Says whether a node can be answered without looking at every tweet."""
    match node:
        case And(nodes=nodes):
            return any(map(looks_for_something, nodes))
        case Or(nodes=nodes):
            return all(map(looks_for_something, nodes))
        case _:
            return isinstance(node, SOUGHT)


def leaves(node: Node) -> Iterator[Leaf]:
    """Yields the leaves of a tree from left to right."""
    match node:
        case Not(node=inner):
            yield from leaves(inner)
        case And(nodes=nodes) | Or(nodes=nodes):
            for one in nodes:
                yield from leaves(one)
        case _:
            yield node


def render(node: Node) -> str:
    """Returns a query that is read as this tree's normal form."""
    match node:
        case Not(node=inner):
            return "-" + _grouped(inner)
        case And(nodes=nodes):
            return " ".join(map(_grouped, nodes))
        case Or(nodes=nodes):
            return " OR ".join(map(_grouped, nodes))
        case Words(text=text):
            return text if _PLAIN.fullmatch(text) else f'"{text}"'
        case _:
            name, value = _OPERATORS[type(node)]
            return f"{name}:{getattr(node, value)}"


def _grouped(node: Node) -> str:
    return f"({render(node)})" if isinstance(node, And | Or) else render(node)


_OPERATORS: dict[type[Leaf], tuple[str, str]] = {
    From: ("from", "username"),
    To: ("to", "username"),
    Conversation: ("conversation_id", "tweet_id"),
    Lang: ("lang", "language"),
    Is: ("is", "kind"),
    Has: ("has", "kind"),
    Newer: ("since_id", "than"),
    Older: ("until_id", "than"),
    Liked: ("min_likes", "at_least"),
    Retweeted: ("min_retweets", "at_least"),
}
"""Name and field of each operator."""
