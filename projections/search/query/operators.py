"""The operators: what each takes for a value, and the node that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from events.snowflake import EPOCH_MS, TIME_SHIFT
from projections.search.query import tree
from projections.search.query.errors import QueryError, shown
from projections.search.query.tree import Node
from projections.text.folding import language_of

ID_MAX = 2**63 - 1
COUNT_MAX = 2**31 - 1

Read: TypeAlias = Callable[[str, int], Node]
"""Makes a node of a value and its place; raises ``QueryError``."""

_USERNAME = re.compile(r"@?(\w{1,50})", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{2,8})?")


def _user(make: Callable[..., Node]) -> Read:
    def read(value: str, at: int) -> Node:
        match = _USERNAME.fullmatch(value)
        if match is None:
            raise QueryError(at, "a username", shown(value))
        return make(match[1], at=at)

    return read


def _number(make: Callable[..., Node], most: int, what: str) -> Read:
    def read(value: str, at: int) -> Node:
        if not (value.isascii() and value.isdigit()) or len(value) > 19 or int(value) > most:
            raise QueryError(at, what, shown(value))
        return make(int(value), at=at)

    return read


def _one_of(make: Callable[..., Node], *kinds: str) -> Read:
    def read(value: str, at: int) -> Node:
        if value.lower() not in kinds:
            raise QueryError(at, f"{', '.join(kinds[:-1])} or {kinds[-1]}", shown(value))
        return make(value.lower(), at=at)

    return read


def _language(value: str, at: int) -> Node:
    if not _LANGUAGE.fullmatch(value):
        raise QueryError(at, "a language such as en", shown(value))
    return tree.Lang(language_of(value), at=at)


def _since(value: str, at: int) -> Node:
    return tree.Newer(_first_id(value, at) - 1, at=at)


def _until(value: str, at: int) -> Node:
    return tree.Older(_first_id(value, at), at=at)


def _first_id(value: str, at: int) -> int:
    """Returns the lowest id of a moment: of a day in UTC, or of an RFC 3339 time."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise QueryError(at, "a day such as 2024-05-31", shown(value)) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    milliseconds = int(moment.timestamp() * 1000) - EPOCH_MS
    return min(max(milliseconds << TIME_SHIFT, 1), ID_MAX)


OPERATORS: dict[str, Read] = {
    "from": _user(tree.From),
    "to": _user(tree.To),
    "conversation_id": _number(tree.Conversation, ID_MAX, "the id of a tweet"),
    "lang": _language,
    "is": _one_of(tree.Is, "reply", "retweet", "quote"),
    "has": _one_of(tree.Has, "media", "links", "hashtags", "mentions"),
    "since": _since,
    "until": _until,
    "since_id": _number(tree.Newer, ID_MAX, "the id of a tweet"),
    "until_id": _number(tree.Older, ID_MAX, "the id of a tweet"),
    "min_likes": _number(tree.Liked, COUNT_MAX, "a number"),
    "min_retweets": _number(tree.Retweeted, COUNT_MAX, "a number"),
}
"""By name."""
