"""How relevant a tweet is: text times recency times engagement.

- *Text*: BM25 (Robertson and Zaragoza, 2009) over the words and phrases that a query looks for,
  each as rare as the other, since how rare a word is, is not kept.
- *Recency*: halves every ``HALF_LIFE_MS``, by the time in the ids.
- *Engagement*: grows with the logarithm of likes, and of what costs more than a like.

Keeps true: pure functions of what is given; no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from projections.search.analysis.terms import asked, indexed
from projections.search.query import tree
from projections.search.query.tree import Node

K1, B = 1.2, 0.3
"""Of BM25; tweets are of nearly one length, so their lengths say little."""

LENGTH_USUAL = 10
"""Terms of a usual tweet."""

HALF_LIFE_MS = 6 * 3_600_000
RETWEET, REPLY, QUOTE = 2, 1, 2
"""What one is worth, in likes."""

_TIME_SHIFT = 22


def text(query: Node, said: str, lang: str | None) -> float:
    """Returns how well a text fits a query; at least a little, whatever else found it."""
    terms = indexed(said, lang)
    places: dict[str, int] = {}
    for term in terms:
        places[term.text] = places.get(term.text, 0) + 1
    norm = K1 * (1 - B + B * len(terms) / LENGTH_USUAL)
    score = 0.0
    for words in _wanted(query):
        wanted = asked(words.text)
        often = min(sum(places.get(term, 0) for term in one.terms) for one in wanted)
        score += often * (K1 + 1) / (often + norm)
    return 0.1 + score


def recency(tweet_id: int, top: int) -> float:
    """Returns 1 for a tweet as new as the id ``top``, a half for one of a half-life before."""
    age_ms = max(0, (top >> _TIME_SHIFT) - (tweet_id >> _TIME_SHIFT))
    return math.exp2(-age_ms / HALF_LIFE_MS)


def engagement(likes: int, retweets: int, replies: int, quotes: int) -> float:
    """Returns 1 for a tweet that nobody touched, and more for others."""
    return 1 + math.log1p(likes + RETWEET * retweets + REPLY * replies + QUOTE * quotes)


def _wanted(node: Node) -> Iterator[tree.Words]:
    match node:
        case tree.Words():
            yield node
        case tree.And(nodes=nodes) | tree.Or(nodes=nodes):
            for one in nodes:
                yield from _wanted(one)
        case _:
            return
