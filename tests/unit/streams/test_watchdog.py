"""The watchdog's judgement, and its thread with a stall that really lasts."""

from __future__ import annotations

import threading

from streams.activity import Activity
from streams.watchdog import Progress, Stalls, Watchdog, last_word
from tests.unit.streams.records import P0, P1


def stuck_seconds(*seen: tuple[float, Progress], now: float) -> float:
    stalls = Stalls(0)
    for at, progress in seen:
        stalls.observe(at, {P0: progress})
    return stalls.longest(now)[2]


def test_frozen_under_lag_is_a_stall() -> None:
    assert stuck_seconds((1, Progress(5, 9)), (50, Progress(5, 12)), now=100) == 99


def test_commits_that_move_are_none() -> None:
    assert stuck_seconds((1, Progress(5, 9)), (99, Progress(6, 12)), now=100) == 1


def test_no_lag_is_none_however_long() -> None:
    assert stuck_seconds((1, Progress(9, 9)), (99, Progress(9, 9)), now=100) == 1


def test_lag_counts_from_when_it_appeared() -> None:
    assert (
        stuck_seconds((1, Progress(9, 9)), (90, Progress(9, 10)), (95, Progress(9, 10)), now=100)
        == 10
    )


def test_an_unknown_end_is_not_taken_for_lag() -> None:
    assert stuck_seconds((1, Progress(9, None)), (99, Progress(9, None)), now=100) == 1


def test_a_partition_without_a_position_is_a_stall() -> None:
    waiting = Progress(None, None, resumed=False)
    assert stuck_seconds((1, waiting), (99, waiting), now=100) == 99


def test_a_partition_that_moved_away_is_forgotten() -> None:
    stalls = Stalls(0)
    stalls.observe(1, {P0: Progress(0, 9)})
    stalls.observe(99, {P1: Progress(9, 9)})
    assert stalls.longest(100) == (None, None, 1)


def test_a_silent_loop_is_a_stall() -> None:
    stalls = Stalls(0)
    stalls.observe(1, {P0: Progress(9, 9)})
    assert stalls.longest(100) == (None, None, 99)


def test_the_last_word_names_everything() -> None:
    activity = Activity()
    activity.trouble("apply: RetryableError: redis is away")
    with activity.doing("applying numbers/0@[5, 9)"):
        word = last_word("toy", P0, Progress(5, 9), 61.2, activity)
    for part in (
        "unit toy",
        "numbers/0",
        "offset 5",
        "61 s",
        "4 behind",
        "applying",
        "redis is away",
    ):
        assert part in word


def test_the_thread_ends_the_process_once() -> None:
    words: list[str] = []
    ended = threading.Event()

    def end(word: str) -> None:
        words.append(word)
        ended.set()

    watchdog = Watchdog("toy", 0.2, Activity(), end)
    watchdog.start()
    assert ended.wait(5)
    watchdog.stop()
    assert len(words) == 1
    assert "the event loop has not answered" in words[0]
