"""Mentions, hashtags, cashtags and URLs of a text, by twitter-text's rules, in X's shape.

Source of the rules: twitter-text 3.1 (``extractEntitiesWithIndices``). Its conformance cases
pass, but for top-level domains that have left the DNS root since
(``tests/unit/projections/text``).

Keeps true:
- Indices count code points, ``[start, end)``, into the text as given: an emoji is one, as in X's
  API.
- Of overlapping entities the one that begins first stays.
- The same text gives the same entities for ever: rules, letters and top-level domains are pinned.

Bounded by: the text's length; each pattern passes over it once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import regex

from projections.text import urls
from projections.text.urls import LATIN_ACCENTS, SPACES

DISPLAY_URL_LENGTH_MAX = 30
"""Characters of a URL that a client shows before it writes an ellipsis."""


class Url(msgspec.Struct, frozen=True):
    """A URL at code points ``[start, end)``: as written, whole, and as shown."""

    start: int
    end: int
    url: str
    expanded_url: str
    display_url: str


class Mention(msgspec.Struct, frozen=True):
    """``@username`` at code points ``[start, end)``; the name as written, without the sign."""

    start: int
    end: int
    username: str


class Tag(msgspec.Struct, frozen=True):
    """``#tag`` or ``$tag`` at code points ``[start, end)``; as written, without the sign."""

    start: int
    end: int
    tag: str


class Entities(msgspec.Struct, frozen=True, omit_defaults=True):
    """Entities of one text, each kind in order; a kind that does not occur is left out of JSON."""

    urls: list[Url] = []
    mentions: list[Mention] = []
    hashtags: list[Tag] = []
    cashtags: list[Tag] = []


NONE = Entities()

_HASHTAG_CHARACTERS = (
    r"\p{L}\p{M}\p{Nd}_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb"
    r"\u3003\u0f0b\u0f0c\u00b7"
)
_HASHTAG = regex.compile(
    rf"(?<![{_HASHTAG_CHARACTERS}&]|[#\uff03])[#\uff03](?![\ufe0f\u20e3])"
    rf"(?P<tag>[{_HASHTAG_CHARACTERS}]++)(?!://|[#\uff03])"
    rf"|(?<=[\ufe0e\ufe0f])[#\uff03](?![\ufe0f\u20e3])"
    rf"(?P<tag>[{_HASHTAG_CHARACTERS}]++)(?!://|[#\uff03])"
)
_LETTER = regex.compile(r"[\p{L}\p{M}]")
# The sign comes first so that the search skips to it; each lookbehind's last dot is the sign.
_MENTION = re.compile(
    r"[@\uff20](?:(?<![a-zA-Z0-9_!#$%&*@\uff20].)"
    r"|(?<=[^a-zA-Z0-9_+~.\-][rR][tT].)|(?<=\A[rR][tT].))"
    r"(?P<name>[a-zA-Z0-9_]{1,20}+)(?P<list>/[a-zA-Z][a-zA-Z0-9_-]{0,24}+)?+"
    rf"(?![@\uff20{LATIN_ACCENTS}]|://)",
    re.DOTALL,
)
_CASHTAG = regex.compile(
    rf"(?:^|(?<=[{SPACES}]))\$(?P<tag>[a-zA-Z]{{1,6}}(?:[._][a-zA-Z]{{1,2}})?)"
    r"(?=$|\s|[!'#%&()*+,\\\-./:;<=>?@\[\]^_{|}~$])"
)

_Span = tuple[int, int, Url | Mention | Tag | None, str]


def parse(text: str) -> Entities:
    """Returns the entities of a text.

    1. Find each kind by itself.  2. Order them by where they begin.  3. Drop what overlaps an
    earlier one: a hashtag within a URL is part of the URL.
    """
    spans: list[_Span] = []
    if "." in text:
        spans += _urls(text)
    if "@" in text or "\uff20" in text:
        spans += _mentions(text)
    if "#" in text or "\uff03" in text:
        spans += _hashtags(text)
    if "$" in text:
        spans += _cashtags(text)
    if not spans:
        return NONE
    spans.sort(key=lambda span: span[0])
    kinds: dict[str, list[object]] = {}
    end = 0
    for start, stop, entity, kind in spans:
        if start < end:
            continue
        end = stop
        if entity is not None:
            kinds.setdefault(kind, []).append(entity)
    return Entities(**kinds)  # type: ignore[arg-type]  # a list holds what its finder made


def _urls(text: str) -> Iterator[_Span]:
    for start, end, url in urls.extract(text):
        lower = url[:8].lower()
        protocol = 8 if lower == "https://" else 7 if lower.startswith("http://") else 0
        shown = url[protocol:]
        if len(shown) > DISPLAY_URL_LENGTH_MAX:
            shown = shown[:DISPLAY_URL_LENGTH_MAX] + "…"
        whole = url if protocol else f"https://{url}"
        yield start, end, Url(start, end, url, whole, shown), "urls"


def _mentions(text: str) -> Iterator[_Span]:
    """Yields mentions; a list (``@user/list``) takes its place but is no mention."""
    for match in _MENTION.finditer(text):
        start, end = match.span()
        is_list = match["list"] is not None
        yield start, end, None if is_list else Mention(start, end, match["name"]), "mentions"


def _hashtags(text: str) -> Iterator[_Span]:
    for match in _HASHTAG.finditer(text):
        tag = match["tag"]
        if _LETTER.search(tag):
            yield match.start(), match.end(), Tag(match.start(), match.end(), tag), "hashtags"


def _cashtags(text: str) -> Iterator[_Span]:
    for match in _CASHTAG.finditer(text):
        yield match.start(), match.end(), Tag(match.start(), match.end(), match["tag"]), "cashtags"
