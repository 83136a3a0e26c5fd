"""What of a tweet may trend: its hashtags and short phrases; and what tells its text from others.

- A hashtag is a term with its sign, folded.
- A phrase is two or three words that stand side by side in a run of words between stop words,
  signs and entities (RAKE: Rose et al., "Automatic keyword extraction from individual documents",
  2010). A longer run gives each pair of neighbours. So "the storm in New York City was loud" gives
  "new york city" alone.
- The *print* of a text is two minima of hashes over its words (MinHash: Broder, 1997): texts with
  the share ``j`` of their words in common have one print with a probability of about ``j²``. Tags,
  mentions, links and digits are no words, so a copy that changes only those has the same print.

Keeps true: the same text gives the same terms and print for ever, on any machine.

Bounded by: ``TAGS_MAX`` tags and ``PHRASES_MAX`` phrases a tweet, ``CHARACTERS_MAX`` a term.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import regex

from projections.text import entities
from projections.text.folding import fold, is_stop_word, language_of, stop_languages

TAGS_MAX = 10
PHRASES_MAX = 6
PHRASE_WORDS_MAX = 3
CHARACTERS_MAX = 100

PRINT_WORDS_MIN = 3
"""A text with fewer words of its own is not compared: it says no more than its tag."""

_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[[\p{{L}}\p{{M}}\p{{N}}_'\u2019]--[{_SPACELESS}]]+", regex.V1)
_LETTER = regex.compile(r"\p{L}")
_MIX = 0x9E3779B1
_MASK = 0xFFFFFFFF


class Term(NamedTuple):
    """What may trend: as it is compared, and as the author wrote it."""

    text: str
    written: str


class Said(NamedTuple):
    """What a tweet says, to trends.

    Attributes:
        terms: Tags first, each term once.
        tags: How many different tags there are, those beyond ``TAGS_MAX`` as well.
        print: Of the text; 0 for one that is not compared.
    """

    terms: list[Term]
    tags: int
    print: int


def said(text: str, lang: str | None) -> Said:
    """Returns what a text says.

    Args:
        text: A tweet's.
        lang: Its language, as the event has it.
    """
    found = entities.parse(text)
    tags: dict[str, str] = {}
    for tag in found.hashtags:
        tags.setdefault("#" + fold(tag.tag), "#" + tag.tag)
    runs = list(_runs(text, found))
    terms = [Term(*pair) for pair in tags.items() if len(pair[0]) <= CHARACTERS_MAX][:TAGS_MAX]
    terms += _phrases(runs, language_of(lang))
    words = {folded for run in runs for _, folded in run if _LETTER.search(folded)}
    return Said(terms, len(tags), _print_of(words))


def term_of(text: str) -> str:
    """Returns a term as it is compared, from what somebody types."""
    return " ".join(fold(text).split())


_Run = list[tuple[str, str]]
"""Words that stand side by side, each as it is written and as it is compared."""


def _runs(text: str, found: entities.Entities) -> Iterator[_Run]:
    spans: list[tuple[int, int]] = []
    for kind in (found.urls, found.mentions, found.hashtags, found.cashtags):
        spans += ((one.start, one.end) for one in kind)
    at = 0
    for start, end in [*sorted(spans), (len(text), len(text))]:
        yield from _words_between(text, at, start)
        at = max(at, end)


def _words_between(text: str, start: int, end: int) -> Iterator[_Run]:
    run: _Run = []
    last = start
    for match in _WORD.finditer(text, start, end):
        if run and text[last : match.start()] != " ":
            yield run
            run = []
        run.append((match.group(), fold(match.group())))
        last = match.end()
    if run:
        yield run


def _phrases(runs: Sequence[_Run], language: str) -> list[Term]:
    found: dict[str, str] = {}
    for run in runs:
        part: _Run = []
        for word in [*run, ("", "")]:
            if word[1] and not _says_nothing(word[1], language):
                part.append(word)
                continue
            for words in _of_run(part):
                phrase = " ".join(folded for _, folded in words)
                if len(phrase) <= CHARACTERS_MAX:
                    found.setdefault(phrase, " ".join(written for written, _ in words))
            part = []
    return [Term(*pair) for pair in list(found.items())[:PHRASES_MAX]]


def _of_run(part: _Run) -> Iterator[_Run]:
    if 2 <= len(part) <= PHRASE_WORDS_MAX:
        yield part
    elif len(part) > PHRASE_WORDS_MAX:
        for at in range(len(part) - 1):
            yield part[at : at + 2]


def _says_nothing(word: str, language: str) -> bool:
    if len(word) < 2 or not _LETTER.search(word):
        return True
    if language == "und":
        return bool(stop_languages(word))
    return is_stop_word(word, language)


def _print_of(words: set[str]) -> int:
    if len(words) < PRINT_WORDS_MIN:
        return 0
    hashes = [crc32(word.encode()) for word in words]
    return min(hashes) << 31 | min(number * _MIX & _MASK for number in hashes) >> 1 | 1
