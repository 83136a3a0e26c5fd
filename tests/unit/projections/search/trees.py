"""Random trees of queries."""

from __future__ import annotations

from hypothesis import strategies as st

from projections.search.query import tree
from projections.search.query.tree import Node

IDS = st.integers(0, 2**63 - 1)
NAMES = st.from_regex(r"[A-Za-z0-9_]{1,15}", fullmatch=True)
VOCABULARY = ("cat", "dogs", "running", "the", "to be", "die hard", "#tag", "@ann", "$TSLA", "花火")

sought: st.SearchStrategy[Node] = st.one_of(
    st.sampled_from(VOCABULARY).map(tree.Words),
    NAMES.map(tree.From),
    NAMES.map(tree.To),
    IDS.map(tree.Conversation),
)
narrowing: st.SearchStrategy[Node] = st.one_of(
    st.sampled_from(("en", "de", "ja", "und")).map(tree.Lang),
    st.sampled_from(("reply", "retweet", "quote")).map(tree.Is),
    st.sampled_from(("media", "links", "hashtags", "mentions")).map(tree.Has),
    IDS.map(tree.Newer),
    IDS.map(tree.Older),
)


def _larger(smaller: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(smaller, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(tree.And), several.map(tree.Or), smaller.map(tree.Not))


def trees(
    sought: st.SearchStrategy[Node] = sought, narrowing: st.SearchStrategy[Node] = narrowing
) -> st.SearchStrategy[Node]:
    """Trees in their normal form that a parser accepts: something is looked for."""
    loose = st.recursive(st.one_of(sought, narrowing), _larger, max_leaves=6)
    counted = st.integers(0, 2**31 - 1)
    numbers = st.lists(st.one_of(counted.map(tree.Liked), counted.map(tree.Retweeted)), max_size=1)
    return st.builds(
        lambda first, others, counts: tree.normal(tree.And((first, *others, *counts))),
        sought,
        st.lists(loose, max_size=3),
        numbers,
    )
