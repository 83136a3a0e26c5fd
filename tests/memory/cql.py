"""The part of CQL that this project uses, parsed: one statement with ``?`` in place of values.

::

    SELECT [DISTINCT] column | WRITETIME(column) | COUNT(*), … FROM t [WHERE …]
        [ORDER BY column [ASC | DESC]] [PER PARTITION LIMIT n] [LIMIT n] [ALLOW FILTERING]
    INSERT INTO t (…) VALUES (…) [IF NOT EXISTS] [USING TIMESTAMP n [AND TTL n]]
    UPDATE t [USING TIMESTAMP n [AND TTL n]] SET column = value, … WHERE … [IF …]
    DELETE [column, …] FROM t [USING TIMESTAMP n] WHERE … [IF …]
    CREATE TABLE [IF NOT EXISTS] t (…) [WITH CLUSTERING ORDER BY (…)]

Anything else is refused: a statement of the product that is not understood must fail its test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[A-Za-z_][\w.]*|-?\d+|<=|>=|[(){}?,=<>*;.])")

Term: TypeAlias = Callable[[Sequence[Any]], Any]
"""Gives a term's value, from the values bound to the statement."""


class Condition(msgspec.Struct, frozen=True):
    """``column operator term``; the operator is one of ``= < > <= >= IN``."""

    column: str
    operator: str
    term: Term


class Select(msgspec.Struct, frozen=True):
    """A read; ``wanted`` has pairs of a function (none, ``writetime``, ``count``) and a column.

    A distinct one is of columns of the partition key.
    """

    table: str
    wanted: list[tuple[str, str]]
    where: list[Condition]
    descending: bool | None
    per_partition: Term | None
    limit: Term | None
    distinct: bool


class Write(msgspec.Struct, frozen=True):
    """An upsert, or a deletion of cells or of whole rows.

    Attributes:
        table: Its name.
        cells: Column and value; of an INSERT the key's among them; none of a deletion of rows.
        where: The key, of an UPDATE and a DELETE.
        inserts: It is an INSERT, which makes a row even without cells.
        deletes: It is a DELETE.
        at: The write timestamp, if the statement says one.
        ttl: Seconds to live, if the statement says so.
        conditions: Of a lightweight transaction; None where it is none.
        absent: It is one that wants no such row.
    """

    table: str
    cells: list[tuple[str, Term]]
    where: list[Condition]
    inserts: bool
    deletes: bool
    at: Term | None
    ttl: Term | None
    conditions: list[Condition] | None
    absent: bool


class Definition(msgspec.Struct, frozen=True):
    """A table."""

    table: str
    columns: dict[str, str]
    partition_key: list[str]
    clustering: list[str]
    descending: bool


Statement: TypeAlias = Select | Write | Definition


@lru_cache(1024)
def parse(text: str) -> Statement:
    """Returns what a statement says.

    Raises:
        ValueError: it is not of the part of CQL above.
    """
    return _Parser(text).statement()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        at = 0
        text = text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"cannot read CQL at {text[at : at + 30]!r} in {text!r}")
            self._tokens.append(found.group(1))
            at = found.end()
        self._at = 0
        self._bound = 0

    def statement(self) -> Statement:
        kinds: dict[str, Callable[[], Statement]] = {
            "SELECT": self._select,
            "INSERT": self._insert,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "CREATE": self._create,
        }
        word = self._next().upper()
        if word not in kinds:
            raise ValueError(f"not a statement that is known: {self._text!r}")
        found = kinds[word]()
        if self._at != len(self._tokens):
            raise ValueError(f"cannot read CQL from {self._peek()!r} on in {self._text!r}")
        return found

    # --- tokens ---

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise ValueError(f"CQL ends too early: {self._text!r}")
        self._at += 1
        return token

    def _take(self, *words: str) -> bool:
        """Takes these words if they are next."""
        found = [token.upper() for token in self._tokens[self._at : self._at + len(words)]]
        if found != list(words):
            return False
        self._at += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._take(*words):
            raise ValueError(f"{' '.join(words)} expected, not {self._peek()!r}: {self._text!r}")

    def _table(self) -> str:
        name = self._next()
        if name == "{":
            name = self._next()
            self._expect("}")
            if self._take("."):  # {keyspace}.name, a table without a generation
                name = self._next()
        return name

    def _term(self) -> Term:
        token = self._next()
        if token == "?":
            index = self._bound
            self._bound += 1
            return lambda values: values[index]
        constant: Any
        if token.upper() in ("TRUE", "FALSE"):
            constant = token.upper() == "TRUE"
        elif token.startswith("'"):
            constant = token[1:-1].replace("''", "'")
        else:
            constant = int(token)
        return lambda _values: constant

    def _names(self) -> list[str]:
        self._expect("(")
        found = [self._next()]
        while self._take(","):
            found.append(self._next())
        self._expect(")")
        return found

    def _conditions(self) -> list[Condition]:
        found = []
        while True:
            column, operator = self._next(), self._next().upper()
            found.append(Condition(column, operator, self._term()))
            if not self._take("AND"):
                return found

    # --- statements ---

    def _select(self) -> Select:
        distinct = self._take("DISTINCT")
        wanted = [self._wanted()]
        while self._take(","):
            wanted.append(self._wanted())
        self._expect("FROM")
        table = self._table()
        where = self._conditions() if self._take("WHERE") else []
        descending = None
        if self._take("ORDER", "BY"):
            self._next()
            descending = self._take("DESC")
            if not descending:
                self._take("ASC")
        per_partition = self._term() if self._take("PER", "PARTITION", "LIMIT") else None
        limit = self._term() if self._take("LIMIT") else None
        self._take("ALLOW", "FILTERING")
        return Select(table, wanted, where, descending, per_partition, limit, distinct)

    def _wanted(self) -> tuple[str, str]:
        name = self._next()
        if not self._take("("):
            return "", name
        column = self._next()
        self._expect(")")
        return name.lower(), column

    def _using(self) -> tuple[Term | None, Term | None]:
        at = ttl = None
        if self._take("USING"):
            while True:
                if self._take("TIMESTAMP"):
                    at = self._term()
                else:
                    self._expect("TTL")
                    ttl = self._term()
                if not self._take("AND"):
                    break
        return at, ttl

    def _insert(self) -> Write:
        self._expect("INTO")
        table = self._table()
        columns = self._names()
        self._expect("VALUES", "(")
        values = [self._term()]
        while self._take(","):
            values.append(self._term())
        self._expect(")")
        absent = self._take("IF", "NOT", "EXISTS")
        at, ttl = self._using()
        cells = list(zip(columns, values, strict=True))
        return Write(table, cells, [], True, False, at, ttl, [] if absent else None, absent)

    def _update(self) -> Write:
        table = self._table()
        at, ttl = self._using()
        self._expect("SET")
        cells = []
        while True:
            column = self._next()
            self._expect("=")
            cells.append((column, self._term()))
            if not self._take(","):
                break
        self._expect("WHERE")
        where = self._conditions()
        return Write(table, cells, where, False, False, at, ttl, self._if(), False)

    def _delete(self) -> Write:
        nothing: list[tuple[str, Term]] = []
        while not self._take("FROM"):
            nothing.append((self._next(), lambda _: None))
            self._take(",")
        table = self._table()
        at, _ = self._using()
        self._expect("WHERE")
        where = self._conditions()
        return Write(table, nothing, where, False, True, at, None, self._if(), False)

    def _if(self) -> list[Condition] | None:
        if self._take("IF", "EXISTS"):
            return []
        return self._conditions() if self._take("IF") else None

    def _create(self) -> Definition:
        self._expect("TABLE")
        self._take("IF", "NOT", "EXISTS")
        table = self._table()
        self._expect("(")
        columns: dict[str, str] = {}
        partition_key: list[str] = []
        clustering: list[str] = []
        while True:
            if self._take("PRIMARY", "KEY"):
                partition_key, clustering = self._primary_key()
            else:
                name, kind = self._next(), self._next()
                columns[name] = kind.lower()
                if self._take("PRIMARY", "KEY"):
                    partition_key = [name]
            if not self._take(","):
                break
        self._expect(")")
        return Definition(table, columns, partition_key, clustering, self._options())

    def _primary_key(self) -> tuple[list[str], list[str]]:
        self._expect("(")
        partition_key = self._names() if self._peek() == "(" else [self._next()]
        clustering = []
        while self._take(","):
            clustering.append(self._next())
        self._expect(")")
        return partition_key, clustering

    def _options(self) -> bool:
        """Returns whether rows are clustered in descending order; all columns or none are."""
        if not self._take("WITH"):
            return False
        self._expect("CLUSTERING", "ORDER", "BY", "(")
        orders = set()
        while True:
            self._next()
            orders.add(self._next().upper())
            if not self._take(","):
                break
        self._expect(")")
        if len(orders) != 1:
            raise ValueError(f"mixed orders are not known: {self._text!r}")
        return orders == {"DESC"}
