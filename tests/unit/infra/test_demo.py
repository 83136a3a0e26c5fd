"""The demo's parts that need no engine: reading pages, comparing, explaining, showing."""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from events.types import Event, TweetLiked, TweetViewed, UserFollowed, UserRegistered
from gateway.auth import Tokens, new_private_key
from infra.demo.check import Difference, Outcome, compare, compare_counts, explain, sample_tweets
from infra.demo.children import Child, ChildFailed
from infra.demo.convergence import Offsets
from infra.demo.reading import HomeReader, ReadFailed
from infra.demo.rebuilding import Rebuilt
from infra.demo.searching import compare_searches, sample_queries
from infra.demo.summary import Summary
from infra.demo.view import Numbers, View
from infra.stack.process import Identity
from streams.errors import Restart
from tests.oracle import LogRecord, Oracle
from tests.posts import post

ANN, BOB = 1, 2
TWEETS = list(range(100, 130))


def records() -> list[LogRecord]:
    """Ann follows Bob, who tweets."""
    events = [
        UserRegistered(
            event_id=1, occurred_at=0, user_id=ANN, username="a", name="A", created_at=0
        ),
        UserRegistered(
            event_id=2, occurred_at=0, user_id=BOB, username="b", name="B", created_at=0
        ),
        UserFollowed(event_id=3, occurred_at=0, user_id=ANN, target_user_id=BOB),
        *(post(i, BOB, event_id=10 + i, occurred_at=0, created_at=0) for i in TWEETS),
    ]
    topics = ["users", "users", "social-graph", *["new-tweets"] * len(TWEETS)]
    return [
        LogRecord(topic, 0, at, event)
        for at, (topic, event) in enumerate(zip(topics, events, strict=True))
    ]


class FakeView:
    """A log in memory."""

    async def records(self, start: Offsets, end: Offsets) -> AsyncIterator[LogRecord]:
        for record in records():
            yield record


def gateway(home: list[int], page: int = 7, status: int = 200) -> httpx.MockTransport:
    """A gateway whose every home timeline is ``home``; cursors are places in it."""

    def answer(request: httpx.Request) -> httpx.Response:
        if status != 200:
            return httpx.Response(status, text="no")
        assert request.headers["authorization"].startswith("Bearer ")
        at = int(request.url.params.get("cursor", "0"))
        size = min(page, int(request.url.params["count"]))
        data = [{"id": str(i), "text": "x"} for i in home[at : at + size]]
        meta: dict[str, object] = {"result_count": len(data)}
        if at + size < len(home):
            meta["next_cursor"] = str(at + size)
        return httpx.Response(200, json={"data": data, "meta": meta})

    return httpx.MockTransport(answer)


def reader_of(transport: httpx.MockTransport) -> HomeReader:
    reader = HomeReader("http://gateway", Tokens(new_private_key()))
    reader._client = httpx.AsyncClient(base_url="http://gateway", transport=transport)
    return reader


async def outcome_of(home: list[int]) -> Outcome:
    async with reader_of(gateway(home)) as reader:
        return await compare(Oracle(records()), reader, [ANN])


async def test_equal_timelines_are_equal_over_all_pages() -> None:
    outcome = await outcome_of(TWEETS[::-1])
    assert outcome == Outcome(checked=1, tweets=30, differences=[])


@pytest.mark.parametrize(
    ("home", "missing", "extra"),
    [
        (TWEETS[:0:-1], [100], []),
        ([999, *TWEETS[::-1]], [], [999]),
        (TWEETS, [], []),
        ([129, *TWEETS[::-1]], [], []),
        ([], TWEETS[::-1], []),
    ],
    ids=["one missing", "one extra", "wrong order", "one twice", "empty"],
)
async def test_every_kind_of_difference_is_found(
    home: list[int], missing: list[int], extra: list[int]
) -> None:
    outcome = await outcome_of(home)
    (difference,) = outcome.differences
    assert difference == Difference(ANN, missing, extra, 30, len(home))


async def test_a_difference_is_explained_by_its_events() -> None:
    lines = await explain(FakeView(), {}, {}, [Difference(ANN, [105], [], 30, 29)])
    assert lines[0] == "user 1: 30 expected, 29 found, missing 105, extra none"
    assert any("tweet_id=105" in line for line in lines)
    assert any("social-graph/0@2" in line and "UserFollowed" in line for line in lines)
    assert not any("tweet_id=106" in line for line in lines)


async def test_a_gateway_that_answers_with_an_error_is_not_an_empty_timeline() -> None:
    async with reader_of(gateway([], status=503)) as reader:
        with pytest.raises(ReadFailed, match="503"):
            await reader.whole(ANN)


async def test_latencies_are_of_measured_reads_only() -> None:
    async with reader_of(gateway(TWEETS)) as reader:
        assert reader.percentile_ms(0.5) is None
        await reader.page(ANN)
        with reader.unmeasured():
            await reader.whole(ANN)
        assert reader.reads == len(reader.latencies_ms) == 1


def counting(likes: int) -> httpx.MockTransport:
    """A gateway whose every tweet has that many likes and one view."""
    metrics = {"like_count": likes, "impression_count": 1}
    others = dict.fromkeys(("reply_count", "retweet_count", "quote_count"), 0)

    def answer(request: httpx.Request) -> httpx.Response:
        tweet = {"id": request.url.path.rpartition("/")[2], "public_metrics": metrics | others}
        return httpx.Response(200, json={"data": tweet})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(("likes", "different"), [(1, 1), (2, 0)])
async def test_counts_that_differ_are_found(likes: int, different: int) -> None:
    stamp = {"occurred_at": 0, "tweet_id": TWEETS[3]}
    likers = [TweetLiked(event_id=n, tweet_author_id=BOB, user_id=n, **stamp) for n in (1, 2)]
    events: list[Event] = [*likers, TweetViewed(event_id=3, **stamp)]
    engaged = [LogRecord("engagements", 0, at, event) for at, event in enumerate(events)]
    oracle = Oracle([*records(), *engaged])
    tweets = sample_tweets(oracle, random.Random(1), 2)
    assert tweets[0] == TWEETS[3]
    async with reader_of(counting(likes)) as reader:
        outcome = await compare_counts(oracle, reader, ANN, tweets[:1])
    assert (outcome.checked, len(outcome.differences)) == (1, different)


def searching(found: list[int], incomplete: bool = False) -> httpx.MockTransport:
    """A gateway that finds these tweets, whatever it is asked; two of them a page."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["q"]
        at = int(request.url.params.get("cursor", "0"))
        data = [{"id": str(i)} for i in found[at : at + 2]]
        meta: dict[str, object] = {"result_count": len(data), "incomplete": incomplete}
        if at + 2 < len(found):
            meta["next_cursor"] = str(at + 2)
        return httpx.Response(200, json={"data": data, "meta": meta})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("found", "different"),
    [(TWEETS[::-1], 0), (TWEETS[:0:-1], 1), ([999, *TWEETS[::-1]], 1), (TWEETS, 1)],
    ids=["equal", "one missing", "one extra", "wrong order"],
)
async def test_searches_that_differ_are_found(found: list[int], different: int) -> None:
    oracle = Oracle(records())
    asked = sample_queries(oracle, ["b"], random.Random(1), 4)
    assert len(asked) == 4 and all(f"since_id:{TWEETS[0] - 1}" in query for query in asked)
    async with reader_of(searching(found)) as reader:
        outcome = await compare_searches(oracle, reader, ANN, ["hello"])
        assert (outcome.checked, outcome.found) == (1, len(TWEETS))
        assert len(outcome.differences) == different
        assert reader.searches > 1 and reader.search_percentile_ms(0.5) is not None


async def test_a_search_that_was_answered_in_part_is_not_compared() -> None:
    async with reader_of(searching(TWEETS, incomplete=True)) as reader:
        with pytest.raises(ReadFailed, match="in part"):
            await reader.search(ANN, "cat")


# --- showing ---


def test_without_a_terminal_there_is_a_line_a_phase_and_one_every_few_seconds() -> None:
    output = io.StringIO()
    numbers = Numbers(phase="simulating", events=5, lag={"tweets": 3})
    with View(Console(file=output, width=200, force_terminal=False)) as view:
        for numbers.events in range(5, 50):
            view.show(numbers)
        numbers.phase, numbers.detail = "comparing", ": 1 of 9"
        view.show(numbers)
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert "simulating  events 5 " in lines[0]
    assert "lag tweets=3" in lines[0]
    assert "comparing: 1 of 9" in lines[1]


def test_in_a_terminal_there_is_a_table() -> None:
    output = io.StringIO()
    with View(Console(file=output, width=100, force_terminal=True)) as view:
        asked = [("[a] cat", 7)]
        view.show(Numbers(phase="simulating", events=12_345, read_p50_ms=1.25, asked=asked))
    assert "12,345" in output.getvalue()
    assert "1.2 ms" in output.getvalue()
    assert "[a] cat" in output.getvalue() and "7 found" in output.getvalue()


def test_the_summary_has_what_others_read(tmp_path: Path) -> None:
    summary = Summary(
        events=10,
        deliveries=20,
        seconds=2.0,
        lag=0,
        timelines_checked=5,
        timelines_different=1,
        tweets_compared=50,
        counts_checked=4,
        notifications_checked=3,
        notifications_different=1,
        counts_different=2,
        trends_checked=7,
        trends_different=1,
        trends_found=9,
        searches_checked=6,
        searches_different=1,
        searched_tweets=60,
        events_per_second=5.0,
        deliveries_per_second=10.0,
        seconds_to_lag_zero=0.5,
        reads=7,
        read_failures=0,
        read_p50_ms=None,
        read_p99_ms=None,
        searches=3,
        search_p50_ms=1.5,
        search_p99_ms=None,
        rebuilt=Rebuilt(
            unit="engagement",
            generation="g2",
            events=9,
            seconds=1.0,
            keys_compared=8,
            keys_different=3,
        ),
        users=10,
        seed=1,
    )
    summary.write(tmp_path / "demo.json")
    written = json.loads((tmp_path / "demo.json").read_text())
    wanted = {"events", "deliveries", "seconds", "lag", "timelines_checked", "timelines_different"}
    wanted |= {"counts_checked", "counts_different"}
    wanted |= {"notifications_checked", "notifications_different"}
    assert wanted <= written.keys()
    assert any("1 of 5 home timelines DIFFER" in line for line in summary.words())
    assert any("2 of 4 tweets' counts DIFFER" in line for line in summary.words())
    assert any("1 of 6 searches DIFFER" in line for line in summary.words())
    assert any("1 of 7 answers about trends DIFFER" in line for line in summary.words())
    assert summary.is_different
    assert any("notifications of 1 of 3 users DIFFER" in line for line in summary.words())
    assert any("3 of 8 keys DIFFER, not promoted" in line for line in summary.words())


# --- processes ---


def child(code: str, tmp_path: Path) -> Child:
    return Child("the child", ["-c", code], tmp_path / "child.log", {})


async def test_a_child_that_asks_for_a_new_process_gets_one(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        f"import pathlib, sys; p = pathlib.Path({str(mark)!r})\n"
        f"if not p.exists(): p.touch(); sys.exit({Restart.exit_code})\n"
        "print('last words', flush=True); sys.exit(3)"
    )
    one = child(code, tmp_path)
    await one.start()
    with pytest.raises(ChildFailed, match="exit status 3\n  last words"):
        await one.supervise()
    assert one.restarts == 1


async def test_a_child_is_stopped_and_killed(tmp_path: Path) -> None:
    for how in ("stop", "kill"):
        one = child("import time; time.sleep(60)", tmp_path)
        await one.start()
        assert one.pid is not None
        identity = Identity.of(one.pid)
        assert identity is not None
        await getattr(one, how)()
        assert await identity.gone(5.0)
        assert one.pid is None


async def test_no_child_outlives_us(tmp_path: Path) -> None:
    """The process that started it is killed with -9; the child goes too."""
    code = (
        "import asyncio, pathlib, time\n"
        "from infra.demo.children import Child\n"
        "async def main():\n"
        f"    c = Child('c', ['-c', 'import time; time.sleep(60)'], pathlib.Path({str(tmp_path)!r})"
        " / 'c.log', {})\n"
        "    await c.start(); print(c.pid, flush=True); time.sleep(60)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    identity = Identity.of(int(await parent.stdout.readline()))
    assert identity is not None
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    assert await identity.gone(5.0)
