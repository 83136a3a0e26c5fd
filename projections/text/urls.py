"""URLs in text, by twitter-text's rules, found in one pass instead of by its one large pattern.

Source of the rules: twitter-text 3.1 (``extractUrlsWithIndices`` and the patterns that it names).
That pattern nests repetitions over overlapping classes: in a Python port of it a tweet of 280
characters, ``a.a.a.…``, takes 133 ms (decision 0031). Here a text is cut into *host runs*
(characters that a domain may hold), each run is judged label by label, and a path and a query are
single possessive runs trimmed to a character that may end them.

Keeps true:
- Indices count code points, ``[start, end)``, into the text as given.
- With a protocol a domain may hold any letters; without one only its ASCII (and accented Latin)
  part counts, it needs a known top-level domain, and ``-``, ``_``, ``.`` or ``/`` before it
  forbids it.

Bounded by: ``URL_LENGTH_MAX``, ``LABEL_LENGTH_MAX``, ``STARTS_MAX`` places of a run where a domain
may begin; the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

URL_LENGTH_MAX = 4096
LABEL_LENGTH_MAX = 63
TCO_SLUG_LENGTH_MAX = 40
STARTS_MAX = 64
TLD_CACHE_ENTRIES_MAX = 8192

LATIN_ACCENTS = (
    "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff\u0100-\u024f\u0253\u0254\u0256\u0257\u0259\u025b\u0263"
    "\u0268\u026f\u0272\u0289\u028b\u02bb\u0300-\u036f\u1e00-\u1eff"
)
SPACES = "\u0009-\u000d\u0020\u0085\u00a0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_DIRECTION = "\u202a-\u202e\u061c\u200e\u200f\u2066-\u2069"
_INVALID = "\ufffe\ufeff\uffff"
_PUNCTUATION_BUT_DASH_UNDERSCORE_DOT = r"!'#%&()*+,\\/:;<=>?@\[\]^{|}~$"

_HOST_RUN = re.compile(
    rf"[^{_PUNCTUATION_BUT_DASH_UNDERSCORE_DOT}{SPACES}{_INVALID}{_DIRECTION}.]++"
    rf"(?:\.[^{_PUNCTUATION_BUT_DASH_UNDERSCORE_DOT}{SPACES}{_INVALID}{_DIRECTION}.]++)++"
)
_PROTOCOL = re.compile(r"https?://\Z", re.IGNORECASE | re.ASCII)
_PRECEDING = re.compile(rf"[^A-Za-z0-9@\uff20$#\uff03{_INVALID}]")
_DASHES = "-_"
_CANNOT_FOLLOW_DOMAIN = "@+"
_ASCII_TLD_ENDS = re.compile(r"[^0-9A-Za-z@+-]|\Z")
_ASCII_LABELS = re.compile(rf"(?:[-a-zA-Z0-9{LATIN_ACCENTS}]++\.)++")
_PUNYCODE = re.compile(r"xn--[-0-9a-z]+", re.IGNORECASE | re.ASCII)

_GENERAL = rf"[a-zA-Z\u0400-\u04ff0-9!*';:=+,.$/%#\[\]\-\u2013_~@|&{LATIN_ACCENTS}]"
_BALANCED = rf"\((?:{_GENERAL}++(?:\({_GENERAL}++\){_GENERAL}*+)?|\({_GENERAL}++\){_GENERAL}*+)\)"
_PORT = re.compile(r":[0-9]+")
_PATH = re.compile(rf"/(?:{_GENERAL}++|{_BALANCED})*+")
_PATH_CANNOT_END = "!*';:.,$%[]\u2013~@|&"
_QUERY = re.compile(r"\?[a-zA-Z0-9!?*'@():;&=+$/%#\[\]\-_.,~|]++", re.ASCII)
_QUERY_CANNOT_END = "!?*'@():;+$%[].,~|"
_TCO = re.compile(
    r"https?://t\.co/([a-z0-9]+)(?:\?[a-z0-9!?*'@():;&=+$/%#\[\]\-_.,~|]*[a-z0-9\-_&=#/])?",
    re.IGNORECASE | re.ASCII,
)

_TLDS = frozenset(
    line
    for line in Path(__file__).with_name("tlds.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
_TLD_LENGTH_MAX = max(map(len, _TLDS))


class UrlSpan(NamedTuple):
    """A URL as written, at code points ``[start, end)``."""

    start: int
    end: int
    url: str


def extract(text: str) -> list[UrlSpan]:
    """Returns the URLs of a text in order.

    1. Find each host run that holds a dot.  2. Find where in it a domain may start.  3. Read the
    domain, then port, path and query.  4. Without a protocol keep the ASCII domains only.
    """
    if "." not in text:
        return []
    found: list[UrlSpan] = []
    end = 0
    run = _HOST_RUN.search(text, end)  # 1
    while run is not None:
        end = _read_run(text, run.start(), run.end(), end, found)
        run = _HOST_RUN.search(text, end)
    return found


def _read_run(text: str, start: int, stop: int, floor: int, found: list[UrlSpan]) -> int:
    """Adds what the host run ``[start, stop)`` holds; returns where to go on."""
    if not _may_hold_domain(text[start:stop]):
        return stop
    for begin in islice(_starts(text, start, stop, floor), STARTS_MAX):  # 2
        domain_end = _domain_end(text, begin, stop)  # 3
        if domain_end is None:
            continue
        protocol = _protocol_before(text, begin, floor) if begin == start else ""
        end, has_path = _tail(text, domain_end)
        if not _lengths_fit(text[begin:domain_end], end - begin):
            return end
        if protocol:
            return _add_with_protocol(text, begin - len(protocol), end, found)
        if begin == 0 or text[begin - 1] not in "-_./":
            _add_ascii(text, begin, domain_end, end, has_path, found)  # 4
        return end
    return stop


def _may_hold_domain(run: str) -> bool:
    """Whether some label after the first begins with a top-level domain; most runs end here."""
    return any(_tld_length(label) for label in run.split(".")[1:])


def _starts(text: str, start: int, stop: int, floor: int) -> Iterator[int]:
    """Yields where a domain may begin in the run: after a character that may come before a URL.

    That character is at ``floor`` or later: what belongs to the URL before cannot introduce
    another.
    """
    if start == 0 or _protocol_before(text, start, floor):
        yield start
    for index in range(max(start - 1, floor), stop - 1):
        if _PRECEDING.match(text, index):
            yield index + 1


def _protocol_before(text: str, index: int, floor: int) -> str:
    """Returns the protocol that ends at ``index`` and may begin where it does, or ``""``."""
    if index < 7 or text[index - 1] != "/":
        return ""
    match = _PROTOCOL.search(text, max(floor, index - 8), index)
    if match is None:
        return ""
    before = match.start() - 1
    allowed = before < 0 or (before >= floor and _PRECEDING.match(text, before))
    return match.group() if allowed else ""


def _domain_end(text: str, begin: int, stop: int) -> int | None:
    """Returns the end of the longest domain that begins at ``begin``, or None.

    The top-level domain may be followed, within its label, by what is not ASCII:
    ``example.comです`` is ``example.com``.
    """
    labels = text[begin:stop].split(".")
    offset = begin + len(labels[0]) + 1
    best: int | None = None
    for name, label in pairwise(labels):
        if not name or name[0] in _DASHES or name[-1] in _DASHES:
            break
        length = _tld_length(label)
        if length and "_" not in name:
            end = offset + length
            if end < stop or stop == len(text) or text[stop] not in _CANNOT_FOLLOW_DOMAIN:
                best = end
        offset += len(label) + 1
    return best


@lru_cache(TLD_CACHE_ENTRIES_MAX)
def _tld_length(label: str) -> int:
    """Returns the length of the top-level domain that the label begins with, 0 for none."""
    punycode = _PUNYCODE.match(label)
    if punycode is not None:
        return punycode.end()
    folded = label.lower()
    if folded in _TLDS:
        return len(label)
    for length in range(min(len(folded), _TLD_LENGTH_MAX), 1, -1):
        if folded[:length] in _TLDS and _ASCII_TLD_ENDS.match(label, length):
            return length
    return 0


def _tail(text: str, index: int) -> tuple[int, bool]:
    """Returns the end of port, path and query from ``index`` on, and whether there is a path."""
    port = _PORT.match(text, index)
    if port is not None:
        index = port.end()
    path = _PATH.match(text, index)
    if path is not None:
        index += max(1, len(path.group().rstrip(_PATH_CANNOT_END)))
    query = _QUERY.match(text, index)
    if query is not None:
        length = len(query.group().rstrip(_QUERY_CANNOT_END))
        index += length
    return index, path is not None


def _lengths_fit(domain: str, url_length: int) -> bool:
    """Whether each label and the URL, its domain written in punycode, are within the limits."""
    if domain.isascii():
        return url_length <= URL_LENGTH_MAX and all(
            len(label) <= LABEL_LENGTH_MAX for label in domain.split(".")
        )
    if domain[:4].lower() == "xn--":
        return False
    labels = [
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in domain.split(".")
    ]
    grown = sum(map(len, labels)) + len(labels) - 1 - len(domain)
    return url_length + grown <= URL_LENGTH_MAX and all(
        len(label) <= LABEL_LENGTH_MAX for label in labels
    )


def _add_with_protocol(text: str, start: int, end: int, found: list[UrlSpan]) -> int:
    """Adds the URL; a ``t.co`` address ends after its slug and query. Returns where to go on."""
    short = _TCO.match(text, start, end)
    if short is not None:
        if len(short.group(1)) > TCO_SLUG_LENGTH_MAX:
            return end
        end = short.end()
    found.append(UrlSpan(start, end, text[start:end]))
    return end


def _add_ascii(
    text: str, begin: int, domain_end: int, end: int, has_path: bool, found: list[UrlSpan]
) -> None:
    """Adds the ASCII domains within a domain without a protocol; the last takes path and query."""
    spans: list[tuple[int, int]] = []
    labels = _ASCII_LABELS.search(text, begin, domain_end)
    while labels is not None:
        stop = _ascii_domain_end(text, labels, domain_end)
        if stop is not None:
            spans.append((labels.start(), stop))
        labels = _ASCII_LABELS.search(text, stop or labels.end(), domain_end)
    if spans and has_path:
        spans[-1] = (spans[-1][0], end)
    found.extend(UrlSpan(start, stop, text[start:stop]) for start, stop in spans)


def _ascii_domain_end(text: str, labels: re.Match[str], domain_end: int) -> int | None:
    """Returns where the longest domain ends that begins with these dotted labels, or None."""
    dot = labels.end() - 1
    while dot > labels.start():
        length = _tld_length(text[dot + 1 : domain_end].partition(".")[0])
        if length:
            return dot + 1 + length
        dot = text.rfind(".", labels.start(), dot)
    return None
