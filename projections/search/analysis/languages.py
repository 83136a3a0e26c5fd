"""Stems and stop words, by language.

A word of a tweet is indexed by its stem in the language of the tweet. Who searches has said no
language, so a word is looked for by its stems in every language of its script: few are different
(``running``: ``run`` and ``running``).

Stemmers: Snowball's, by PyStemmer (decision 0160). Stop words: :mod:`projections.text.folding`.

Bounded by: the languages listed here; PyStemmer remembers 10,000 words a language.
"""

from __future__ import annotations

from functools import cache, lru_cache

import regex
from Stemmer import Stemmer

_ALGORITHMS = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
_OF_SCRIPT = {
    "Latin": [
        *("da", "de", "en", "es", "fi", "fr", "hu", "id", "it", "nl", "no", "pl", "pt", "ro"),
        *("sv", "tr"),
    ],
    "Cyrillic": ["ru"],
    "Arabic": ["ar", "fa"],
    "Devanagari": ["hi"],
    "Greek": ["el"],
    "Tamil": ["ta"],
}
_SCRIPT = regex.compile("|".join(rf"(?P<{script}>\p{{{script}}})" for script in _OF_SCRIPT))
WORDS_REMEMBERED_MAX = 50_000

LANGUAGES = tuple(_ALGORITHMS)
"""Languages whose words are stemmed; in others a word is its own stem."""


def stem(word: str, language: str) -> str:
    """Returns the stem of a folded word in a language, the word itself where there is no stemmer.

    Words of another script than the language's are names, and stay as they are.
    """
    if language not in _ALGORITHMS or language not in _languages_of(word):
        return word
    return _stemmer(language).stemWord(word) or word


@lru_cache(WORDS_REMEMBERED_MAX)
def stems(word: str) -> tuple[str, ...]:
    """Returns the stems of a folded word in all languages, the word itself first."""
    found = (stem(word, language) for language in _languages_of(word))
    return tuple(dict.fromkeys((word, *found)))


@lru_cache(WORDS_REMEMBERED_MAX)
def _languages_of(word: str) -> list[str]:
    match = _SCRIPT.search(word)
    return _OF_SCRIPT[match.lastgroup] if match is not None and match.lastgroup else []


@cache
def _stemmer(language: str) -> Stemmer:
    return Stemmer(_ALGORITHMS[language])
