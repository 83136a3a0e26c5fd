from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.snowflake import compose
from projections.search.query import tree
from projections.search.query.errors import QueryError
from projections.search.query.parse import CHARACTERS_MAX, PARTS_MAX, parse
from projections.search.query.tree import And, From, Has, Is, Lang, Newer, Node, Not, Older, Or
from projections.search.query.tree import Words as W  # noqa: N817
from tests.unit.projections.search.trees import trees


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("cat", W("cat")),
        ("cat dog", And((W("cat"), W("dog")))),
        ("cat OR dog bird", Or((W("cat"), And((W("dog"), W("bird")))))),
        ("(cat OR dog) bird", And((Or((W("cat"), W("dog"))), W("bird")))),
        ('"big cat" -dog', And((W("big cat"), Not(W("dog"))))),
        ("cat -(dog OR bird)", And((W("cat"), Not(W("dog")), Not(W("bird"))))),
        ("cat -(dog bird)", And((W("cat"), Not(And((W("dog"), W("bird"))))))),
        ("cat cat CAT", And((W("cat"), W("CAT")))),
        ("cat !!! ...", W("cat")),
        ("e-mail", W("e-mail")),
        ("cat - dog", And((W("cat"), W("dog")))),
        ("https://example.com/a?b:c", W("https://example.com/a?b:c")),
        ("at 12:30", And((W("at"), W("12:30")))),
        ("FROM:@Ann cat", And((From("Ann"), W("cat")))),
        ("cat lang:PT-br has:Media", And((W("cat"), Lang("pt"), Has("media")))),
        ("cat (is:reply OR is:quote)", And((W("cat"), Or((Is("reply"), Is("quote")))))),
        (
            "cat since:2024-05-01 until:2024-05-02T00:00:00Z",
            And(
                (
                    W("cat"),
                    Newer(compose(1714521600000, 0, 0) - 1),
                    Older(compose(1714608000000, 0, 0)),
                )
            ),
        ),
    ],
)
def test_a_query_is_read(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "a word to look for"),
        ("  ?! ", 1, "a word to look for"),
        ("cat OR", 7, "a word"),
        ("(cat", 5, "a closing parenthesis"),
        ("cat)", 4, "the end"),
        ("cat ()", 6, "a word"),
        ('say "cat', 9, "the end of the quote from character 5"),
        ("--cat", 2, "a word"),
        ("cat form:ann", 5, "from:"),
        ("cat from:", 10, "a username"),
        ("cat from:a-b", 10, "a username"),
        ("cat is:cold", 8, "reply, retweet or quote"),
        ("cat min_likes:-1", 15, "a number"),
        ("cat since_id:99999999999999999999", 14, "the id of a tweet"),
        ("cat since:yesterday", 11, "a day such as 2024-05-31"),
        ("cat lang:english", 10, "a language such as en"),
        ("cat*", 4, "a whole word"),
        ("(" * 9 + "cat" + ")" * 9, 9, "at most 8 parentheses within each other"),
        ("cat (dog OR min_likes:3)", 23, "numbers of likes and retweets outside"),
        ("lang:en", 6, "a word, #tag"),
        ("cat OR -dog", 9, "a word, #tag"),
        ("x" * (CHARACTERS_MAX + 1), CHARACTERS_MAX + 1, f"at most {CHARACTERS_MAX}"),
        (" ".join(f"w{n}" for n in range(PARTS_MAX + 1)), 119, f"at most {PARTS_MAX} words"),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(
    text: str, position: int, expected: str
) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text)
    assert refused.value.position == position
    assert refused.value.expected.startswith(expected)


@given(trees())
def test_what_is_rendered_is_read_as_the_same_tree(node: Node) -> None:
    assert parse(tree.render(node)) == node
    assert tree.normal(node) == node


@given(st.text(alphabet=st.sampled_from('ab OR-()":from:is#@!*\n花'), max_size=40))
def test_whatever_is_typed_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        node = parse(text)
    except QueryError as error:
        assert 1 <= error.position <= len(text) + 1
    else:
        assert parse(tree.render(node)) == node
