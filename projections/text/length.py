"""How long a text is, in the measure that limits a tweet: Unicode code points after NFC.

NFC first, so that ``é`` counts one however it was typed; code points, so that a CJK character and
an emoji's code point count one each. What is stored is the normalised text, so that the indices
of its entities point into what a reader gets.
"""

from __future__ import annotations

import unicodedata

LENGTH_MAX = 280
"""Code points of a tweet's text at most, after NFC."""


def normalise(text: str) -> str:
    """Returns the text in NFC, which is how a text is counted and stored."""
    return unicodedata.normalize("NFC", text)


def length(text: str) -> int:
    """Returns the number of Unicode code points of the text in NFC."""
    return len(text) if text.isascii() else len(normalise(text))
