# ruff: noqa: RUF001 - look-alike characters are what some cases are about
"""Entities by twitter-text's rules: one case for each rule, in words of our own."""

import time
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.text import entities
from projections.text.entities import parse

URLS = [
    ("http://example.com", ["http://example.com"]),
    ("HTTPS://Example.COM/Path", ["HTTPS://Example.COM/Path"]),
    ("see example.com.", ["example.com"]),
    ("see example.com/a/b?c=d#e, then", ["example.com/a/b?c=d#e"]),
    ("(http://example.com/a_(b))", ["http://example.com/a_(b)"]),
    ("http://example.com/a(b(c)d)e!", ["http://example.com/a(b(c)d)e"]),
    ("http://example.com/(unclosed", ["http://example.com/"]),
    ("http://example.com:8080/x", ["http://example.com:8080/x"]),
    ("http://example.com/?q=a.b,&", ["http://example.com/?q=a.b,&"]),
    ("http://example.com/path...", ["http://example.com/path"]),
    ("http://under_score.example.com", ["http://under_score.example.com"]),
    ("http://under_score.com", []),
    ("http://-dash.com", []),
    ("https://example.notatld", []),
    ("version 1.2.3 of file.txt", []),
    ("mail me@example.com", []),
    ("mail first.last.uk@mail.org", []),
    ("#tag.com @user.com $cash.com", []),
    ("a.b-example.com and _example.com", ["a.b-example.com"]),
    ("日本語example.comです", ["example.com"]),
    ("http://日本語.jp/道", ["http://日本語.jp/"]),
    ("http://пример.рф", ["http://пример.рф"]),
    ("http://xn--e1afmkfd.xn--p1ai/x", ["http://xn--e1afmkfd.xn--p1ai/x"]),
    ("http://t.co/AbC1?x=1…", ["http://t.co/AbC1?x=1"]),
    ("http://t.co/AbC1/more", ["http://t.co/AbC1"]),
    ("https://t.co/" + "a" * 41, []),
    ("http://" + "a" * 64 + ".com", []),
    ("http://example.com/" + "a" * 4100, []),
    ("one.com,two.org;three.net", ["one.com", "two.org", "three.net"]),
    ("\u202aexample.com\u202c", ["example.com"]),
    ("http://twitter.com/#!/a", ["http://twitter.com/#!/a"]),
    ("xhttp://example.com", []),
    ("http://example.com/é–ü", ["http://example.com/é–ü"]),
]


@pytest.mark.parametrize(("text", "expected"), URLS)
def test_urls(text: str, expected: list[str]) -> None:
    assert [url.url for url in parse(text).urls] == expected


HASHTAGS = [
    ("#one two #three", ["one", "three"]),
    ("＃全角 #日本語", ["全角", "日本語"]),
    ("#a1 #1a #1 #_ #_a", ["a1", "1a", "_a"]),
    ("a#b &#c #d", ["d"]),
    ("#a#b", []),
    ("#a://b", []),
    ("(#a) .#b ,#c", ["a", "b", "c"]),
    ("#caf\u00e9 #cafe\u0301", ["caf\u00e9", "cafe\u0301"]),
    ("#ශ්\u200dරී", ["ශ්\u200dරී"]),
    ("#\U00020021 #\U000104a0a", ["\U00020021", "\U000104a0a"]),
    ("#️⃣ #\ufe0f", []),
    ("✌\ufe0f#peace", ["peace"]),
    ("http://example.com/#frag", []),
    ("#data·mining #x・y", ["data·mining", "x・y"]),
]


@pytest.mark.parametrize(("text", "expected"), HASHTAGS)
def test_hashtags(text: str, expected: list[str]) -> None:
    assert [tag.tag for tag in parse(text).hashtags] == expected


MENTIONS = [
    ("@alice and ＠bob", ["alice", "bob"]),
    ("mail a@example .@carol (@dan)", ["carol", "dan"]),
    ("RT@alice rt:@bob", ["alice", "bob"]),
    ("art@alice", []),
    ("@alice@bob", []),
    ("@aliceé @bob", ["bob"]),
    ("@alice://x", []),
    ("@alice/list is a list, @bob is not", ["bob"]),
    ("@" + "a" * 25, ["a" * 20]),
    ("の@aliceに", ["alice"]),
    ("@ alice", []),
]


@pytest.mark.parametrize(("text", "expected"), MENTIONS)
def test_mentions(text: str, expected: list[str]) -> None:
    assert [mention.username for mention in parse(text).mentions] == expected


CASHTAGS = [
    ("$TSLA and $BRK.A, $x_ab!", ["TSLA", "BRK.A", "x_ab"]),
    ("$TOOLONG $1A a$AAPL $", []),
    ("($AAPL)", []),
]


@pytest.mark.parametrize(("text", "expected"), CASHTAGS)
def test_cashtags(text: str, expected: list[str]) -> None:
    assert [tag.tag for tag in parse(text).cashtags] == expected


def test_indices_count_code_points() -> None:
    text = "🎉🎉 @alice likes #python at example.com for $PY"
    found = parse(text)
    assert (found.mentions[0].start, found.mentions[0].end) == (3, 9)
    for url in found.urls:
        assert text[url.start : url.end] == url.url
    for tag in found.hashtags:
        assert text[tag.start : tag.end] == f"#{tag.tag}"
    for tag in found.cashtags:
        assert text[tag.start : tag.end] == f"${tag.tag}"


def test_a_url_is_expanded_and_shortened_for_show() -> None:
    (url,) = parse("example.com/" + "x" * 40).urls
    assert url.expanded_url == "https://" + url.url
    assert url.display_url == url.url[:30] + "…"


def test_json_leaves_out_kinds_that_do_not_occur() -> None:
    assert msgspec.json.decode(msgspec.json.encode(parse("#a"))) == {
        "hashtags": [{"start": 0, "end": 2, "tag": "a"}]
    }
    assert parse("nothing here") is entities.NONE


@given(st.text(alphabet="ab.@#$/:-_é日()?=！ \u202a\ufe0f🎉", max_size=80))
def test_spans_are_in_order_do_not_overlap_and_name_what_is_written(text: str) -> None:
    found = parse(text)
    spans = sorted(
        (entity.start, entity.end)
        for kind in (found.urls, found.mentions, found.hashtags, found.cashtags)
        for entity in kind
    )
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert all(text[u.start : u.end] == u.url for u in found.urls)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 12_000,
        "é-" * 12_000 + ".com",
        "http://a.com/" + "(a" * 12_000,
        "#a" * 12_000,
        "a.com" * 5_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    parse(text)
    assert time.process_time() - begun < 0.5
