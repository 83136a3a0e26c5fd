"""A text cut into tokens: the one function that tweets and queries both go through.

1. Entities are found as everywhere else (:mod:`projections.text.entities`): a mention, a cashtag
   and a URL are one token each; a hashtag is a token, and its words are tokens besides.
2. What lies between is folded: NFKC, then case folding.
3. Words are runs of letters, marks, digits and ``_``; an emoji is a word. Scripts without spaces
   (Han, kana, Thai, Lao, Khmer, Burmese) are cut by ICU's dictionaries, Hangul into pairs of
   syllables that overlap, since particles stick to its words.

Keeps true: the same text gives the same tokens, wherever it stands; places count up by one from
token to token, so that a phrase is a run of places. A hashtag stands where its first word does.

Bounded by: ``TOKENS_MAX`` tokens; the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

import regex
from icu4py.breakers import WordBreaker

from projections.text import entities
from projections.text.folding import fold

TOKENS_MAX = 255
"""Places of one text; a tweet has 280 code points, so only one without words has more."""

_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\u3005"
_EMOJI_MODIFIERS = "[\U0001f3fb-\U0001f3ff\ufe0e\ufe0f]"
_PICTURE = rf"\p{{Extended_Pictographic}}{_EMOJI_MODIFIERS}*"
_ASCII_WORD = re.compile(r"[a-z0-9_]+")
_WORD = regex.compile(
    rf"(?P<emoji>\p{{RI}}\p{{RI}}|[#*0-9]\ufe0f?\u20e3|{_PICTURE}(?:\u200d{_PICTURE})*)"
    rf"|(?P<spaceless>[{_SPACELESS}][{_SPACELESS}\p{{M}}]*)"
    r"|(?P<hangul>\p{Hangul}+)"
    rf"|(?P<word>[[\p{{L}}\p{{M}}\p{{N}}_]--[{_SPACELESS}\p{{Hangul}}]]+)",
    regex.V1,
)
_WORD_CHARACTER = regex.compile(r"[\p{L}\p{N}_]")
_MODIFIERS = re.compile(_EMOJI_MODIFIERS)


class Kind(IntEnum):
    """What a token is."""

    WORD = 0
    EXACT = 1
    """A mention, tag, cashtag, host or emoji: never stemmed, and no stop word."""


class Token(NamedTuple):
    """One token: folded, with its sign if it has one, and its place."""

    kind: Kind
    text: str
    place: int


def tokens(text: str, found: entities.Entities | None = None) -> list[Token]:
    """Returns the tokens of a text in order.

    Args:
        text: A tweet's, or what somebody searches for.
        found: The text's entities, where they are known already.
    """
    parsed = entities.parse(text) if found is None else found
    if parsed is entities.NONE:  # most names and many tweets: words alone
        words_alone = islice(_words(fold(text)), TOKENS_MAX)
        return [Token(kind, word, place) for place, (kind, word) in enumerate(words_alone)]
    made: list[Token] = []
    place = 0
    for exact, words in _pieces(text, parsed):
        made += [Token(Kind.EXACT, signed, place) for signed in exact]
        if words is None:
            place += 1
        else:
            before = place
            for kind, word in _words(fold(words)):
                made.append(Token(kind, word, place))
                place += 1
            if exact and place == before:
                place += 1
        if place >= TOKENS_MAX:
            break
    return [token for token in made if token.place < TOKENS_MAX]


def _pieces(text: str, parsed: entities.Entities) -> Iterator[tuple[list[str], str | None]]:
    """Yields what stands in the text one after the other: signed terms, and text to be cut."""
    spans: list[tuple[int, int, list[str], str | None]] = [
        (url.start, url.end, _hosts(url.expanded_url), None) for url in parsed.urls
    ]
    spans += [(m.start, m.end, ["@" + fold(m.username)], None) for m in parsed.mentions]
    spans += [(tag.start, tag.end, ["#" + fold(tag.tag)], tag.tag) for tag in parsed.hashtags]
    spans += [(tag.start, tag.end, ["$" + fold(tag.tag)], None) for tag in parsed.cashtags]
    at = 0
    for start, end, exact, words in sorted(spans, key=lambda span: span[0]):
        if start > at:
            yield [], text[at:start]
        yield exact, words
        at = end
    yield [], text[at:]


def _hosts(url: str) -> list[str]:
    """Returns the host of a URL and the domains that it is in: ``news.bbc.co.uk`` and the rest."""
    host = url.partition("://")[2]
    for end in "/?#":
        host = host.partition(end)[0]
    labels = fold(host.rpartition("@")[2].partition(":")[0]).removeprefix("www.").split(".")
    return [".".join(labels[at:]) for at in range(len(labels) - 1)]


def _words(folded: str) -> Iterator[tuple[Kind, str]]:
    if folded.isascii():
        for word in _ASCII_WORD.findall(folded):
            yield Kind.WORD, word
        return
    for match in _WORD.finditer(folded):
        found = match.group()
        match match.lastgroup:
            case "emoji":
                yield Kind.EXACT, _MODIFIERS.sub("", found)
            case "spaceless":
                yield from ((Kind.WORD, word) for word in _segmented(found))
            case "hangul":
                pairs = (found[at : at + 2] for at in range(max(1, len(found) - 1)))
                yield from ((Kind.WORD, pair) for pair in pairs)
            case _:
                yield Kind.WORD, found


def _segmented(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
        return
    for start, end in WordBreaker(run, "und").segments():
        if _WORD_CHARACTER.search(run, start, end):
            yield run[start:end]
