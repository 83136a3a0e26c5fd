"""Users by the beginnings of their names: candidates for a typeahead.

A user is found by the username and by each word of the display name, folded. What is read here
are candidates: a name that was changed keeps its rows, and so does a user who is gone. Who is
found, and by what name, is for the reader to know, who has the profiles (:func:`found_by`).

Facts (Cassandra), memberships that only grow: ``people`` by the first ``START_CHARACTERS`` of a
word, the words in order.

Bounded by: ``WORDS_MAX`` words a name; the caller's limit.
"""

from __future__ import annotations

from collections.abc import Iterator

from events.types import Event, ProfileChanged, UserRegistered
from projections.search.analysis.tokens import tokens
from projections.store import Store
from projections.text.folding import fold

TABLES = {
    "people": """
        CREATE TABLE IF NOT EXISTS {table} (
            start text, word text, user_id bigint, PRIMARY KEY (start, word, user_id))""",
}
WRITE = "INSERT INTO {people} (start, word, user_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
READ = "SELECT user_id FROM {people} WHERE start = ? AND word >= ? AND word < ? LIMIT ?"

START_CHARACTERS = 2
"""Of a word that name its partition. Never changed within a generation."""

WORDS_MAX = 10
WRITTEN_AT = 1
"""Timestamp of every row: a membership that only grows needs no order."""

LAST = "\U0010ffff"
"""Sorts after whatever a word goes on with."""

Row = tuple[str, tuple[str, str, int, int]]


def words_of(username: str, name: str) -> list[str]:
    """Returns what a user is found by."""
    found = [token.text.lstrip("@#$") for token in tokens(name)][:WORDS_MAX]
    return list(dict.fromkeys(filter(None, (fold(username), *found))))


def words_asked(text: str) -> list[str]:
    """Returns the beginnings of words that somebody typed."""
    return list(dict.fromkeys(filter(None, (fold(part).lstrip("@") for part in text.split()))))


def found_by(asked: list[str], username: str, name: str) -> bool:
    """Says whether each beginning that was asked for is one of a word of this user."""
    key = fold(username)
    rest = [one for one in asked if not key.startswith(one)]
    if not rest:
        return True  # without cutting the name, which is most of the work
    words = words_of("", name)
    return all(any(word.startswith(one) for word in words) for one in rest)


def rows_of(event: Event) -> Iterator[Row]:
    """Yields the rows that a record of ``users`` comes to."""
    match event:
        case UserRegistered(user_id=user):
            words = words_of(event.username, event.name)
        case ProfileChanged(user_id=user, name=str() as name):
            words = words_of("", name)
        case _:
            return
    for word in words:
        yield WRITE, (word[:START_CHARACTERS], word, user, WRITTEN_AT)


class PeopleReader:
    """Reads candidates.

    Args:
        store: The generation's tables.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def starting_with(self, asked: list[str], limit: int) -> list[int]:
        """Returns users of whom a word begins with the longest of these, the shortest word first.

        Raises:
            RetryableError: the store is away.
        """
        if not asked:
            return []
        longest = max(asked, key=len)
        rows = await self._store.execute(
            READ, (longest[:START_CHARACTERS], longest, longest + LAST, limit)
        )
        return list(dict.fromkeys(user_id for (user_id,) in rows))
