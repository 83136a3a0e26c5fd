"""How texts are compared, and which words say nothing: shared by whatever looks into texts.

Stop words: Snowball's lists, frozen in ``stop_words.txt``.

Bounded by: ``WORDS_REMEMBERED_MAX``.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from pathlib import Path

WORDS_REMEMBERED_MAX = 50_000

_ALIASES = {"in": "id", "nb": "no", "nn": "no"}


def fold(text: str) -> str:
    """Returns the text as it is compared: NFKC, then case folding."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def language_of(tag: str | None) -> str:
    """Returns the language that a BCP 47 tag names, in lower case; ``und`` for none."""
    primary = (tag or "und").partition("-")[0].lower()
    return _ALIASES.get(primary, primary)


def is_stop_word(word: str, language: str) -> bool:
    """Says whether a folded word says nothing by itself in a language."""
    return word in _stop_words().get(language, ())


@lru_cache(WORDS_REMEMBERED_MAX)
def stop_languages(word: str) -> tuple[str, ...]:
    """Returns the languages in which a folded word is a stop word."""
    return tuple(language for language, words in _stop_words().items() if word in words)


@cache
def _stop_words() -> dict[str, frozenset[str]]:
    text = Path(__file__).with_name("stop_words.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {language: frozenset(words) for language, *words in lines}
