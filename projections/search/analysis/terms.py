"""The terms that a tweet is indexed by, and those that a query's words look for.

The sentence: *a word of a query finds a tweet if its stem in the tweet's language is a term of the
tweet.* A stop word of the tweet's language is no term. Exact tokens (mentions, tags, hosts, emoji)
are terms as they are.

Bounded by: ``TOKENS_MAX`` places; a term's text is cut at ``TERM_CHARACTERS_MAX``.
"""

from __future__ import annotations

from typing import NamedTuple

from projections.search.analysis import languages
from projections.search.analysis.tokens import Kind, Token, tokens
from projections.text import folding
from projections.text.entities import Entities

TERM_CHARACTERS_MAX = 64
"""Characters of a term that are compared; no word is longer, but tweets hold longer runs."""


class Term(NamedTuple):
    """A term at a place of a text."""

    text: str
    place: int


class Asked(NamedTuple):
    """What a query looks for at one place.

    Attributes:
        place: Where it stands in the query.
        terms: Any of these.
        stop_in: Languages of whose tweets it is no term.
    """

    place: int
    terms: tuple[str, ...]
    stop_in: tuple[str, ...]


def indexed(text: str, lang: str | None, found: Entities | None = None) -> list[Term]:
    """Returns the terms of a tweet by place.

    Args:
        text: Of the tweet.
        lang: Its language, as ``TweetPosted.lang`` has it.
        found: Its entities, where they are known already.
    """
    language = folding.language_of(lang)
    made = tokens(text, found)
    return [
        Term(_term(token, language), token.place)
        for token in made
        if token.kind is Kind.EXACT or not folding.is_stop_word(token.text, language)
    ]


def asked(text: str, language: str | None = None) -> list[Asked]:
    """Returns what each place of a query's text looks for.

    Where several terms stand at one place, the most exact is looked for: a tag and not its first
    word, a host and not the domains that it is in.

    Args:
        text: Words, as they were typed.
        language: The language that the query is restricted to, if it is to one.
    """
    by_place: dict[int, Token] = {}
    for token in tokens(text):
        by_place.setdefault(token.place, token)
    return [_asked(token, language) for token in by_place.values()]


def _asked(token: Token, language: str | None) -> Asked:
    if token.kind is Kind.EXACT:
        return Asked(token.place, (token.text[:TERM_CHARACTERS_MAX],), ())
    if language is not None:
        spoken = folding.language_of(language)
        stop = (spoken,) if folding.is_stop_word(token.text, spoken) else ()
        return Asked(token.place, (_term(token, spoken),), stop)
    terms = dict.fromkeys(stem[:TERM_CHARACTERS_MAX] for stem in languages.stems(token.text))
    return Asked(token.place, tuple(terms), folding.stop_languages(token.text))


def _term(token: Token, language: str) -> str:
    text = token.text if token.kind is Kind.EXACT else languages.stem(token.text, language)
    return text[:TERM_CHARACTERS_MAX]
