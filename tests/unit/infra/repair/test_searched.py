"""One tweet as search has it, and a user's names: each fault is found and mended in both tiers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from events.types import Event, ProfileChanged, TweetDeleted, TweetPosted, UserRegistered
from infra.repair.searched import People, Searched
from projections.bus import RedisBus
from projections.keys import Keys
from projections.search.entries import Entries
from projections.search.layout import (
    SPAN_BITS,
    Window,
    author_mark,
    document,
    hash_of,
    index_key,
    packed_id,
)
from projections.search.part import NEWEST
from projections.search.program import Place, Words
from projections.search.read import SearchReader
from projections.search.unit import Search
from projections.store import Store
from tests.posts import post
from tests.unit.infra.repair.generation import Generation

ANN, BOB, ZOE = 1, 2, 3
BEGIN = 1 << SPAN_BITS
TWEET, TWICE, GONE, OTHER = range(BEGIN, BEGIN + 4)
WINDOW = Window(tweets=3, segments=3)
TEXT = "running cats and a #tag cat"
TERMS = {"cat", "run", "#tag", "from:1"}


def _unit(bus: RedisBus, store: Store, keys: Keys) -> Search:
    return Search(bus, store, keys, WINDOW, few=1)


async def told() -> Generation:
    """A tweet, one that was posted twice, one that was deleted, and others with the same words."""
    here = await Generation("search", _unit).open()
    append = partial(here.log.append, "new-tweets")
    append(BOB, post(OTHER, BOB, text=TEXT, lang="en"))
    append(ANN, post(TWEET, ANN, text=TEXT, lang="en"))
    append(ANN, post(TWICE, ANN, text="cat one", lang="en"))
    append(ANN, post(TWICE, ANN, text="cat two", lang="en"))
    append(ANN, post(GONE, ANN, text=TEXT, lang="en"))
    append(ANN, deleted(GONE))
    named: dict[str, Any] = {"username": "Ada", "name": "Ada of the Lake", "created_at": 1}
    here.log.append("users", ANN, UserRegistered(event_id=1, occurred_at=1, user_id=ANN, **named))
    changed = ProfileChanged(event_id=2, occurred_at=1, user_id=ANN, name="Augusta")
    here.log.append("users", ANN, changed)
    await here.feed()
    return here


def deleted(tweet_id: int) -> Event:
    return TweetDeleted(event_id=9, occurred_at=1, tweet_id=tweet_id, user_id=ANN)


def target(here: Generation, tweet_id: int = TWEET, *authors: int) -> Searched:
    return Searched(tweet_id, authors or (ANN,), Entries(here.bus, here.keys, WINDOW))


async def found(here: Generation) -> dict[str, list[int]]:
    """What the blender, and the archive by itself, find by each term."""
    bus, keys = here.bus, here.keys
    reader = SearchReader(bus, here.store, keys, archive_seconds=60)
    lost = SearchReader(bus, here.store, Keys("nobody", "search", 2), archive_seconds=60)
    answers = {}
    for term in sorted(TERMS | {"one", "two"}):
        program = Words((Place(0, (term,), ()),))
        for name, tier in (("both", reader), ("archive", lost)):
            answers[f"{name} {term}"] = (await tier.find(program, NEWEST, 10)).ids
    return answers


async def test_what_is_right_is_left_alone() -> None:
    here = await told()
    for tweet in (TWEET, TWICE, GONE, OTHER, 99):
        assert await here.wrong(target(here, tweet)) == []
    assert await here.wrong(target(here, OTHER, BOB)) == []
    assert await here.wrong(People(ANN)) == []
    answers = await found(here)
    assert answers["both cat"] == answers["archive cat"] == [OTHER, TWICE, TWEET]


WHERE = f" WHERE term = 'run' AND tweet_id = {TWEET} AND author_id = 1 AND posted_at = 0"
ARCHIVE = {
    "no document": f"DELETE FROM {{documents}} USING TIMESTAMP 1 WHERE tweet_id = {TWEET}"
    " AND author_id = 1",
    "a document of another post": "UPDATE {documents} USING TIMESTAMP 1 SET posted_at = 7"
    f" WHERE tweet_id = {TWEET} AND author_id = 1",
    "deleted by nobody": "INSERT INTO {documents} (tweet_id, author_id, deleted)"
    f" VALUES ({TWEET}, 1, true) USING TIMESTAMP 1",
    "nobody's document": "INSERT INTO {documents} (tweet_id, author_id, posted_at, language, flags)"
    f" VALUES ({TWEET}, 3, 0, 'en', 0) USING TIMESTAMP -1",
    "no posting": "DELETE FROM {%s} USING TIMESTAMP 1 WHERE %s",
    "a posting altered": "UPDATE {%s} USING TIMESTAMP 2 SET places = 0x07 WHERE %s",
    "nobody's posting": "INSERT INTO {rare_postings} (term, tweet_id, author_id, posted_at, places)"
    f" VALUES ('run', {TWEET}, 3, 0, 0x01) USING TIMESTAMP 1",
}


@pytest.mark.parametrize("fault", ARCHIVE)
async def test_a_fault_of_the_archive_is_found_and_mended(fault: str) -> None:
    here = await told()
    right, answers = await here.all(), await found(here)
    cql = ARCHIVE[fault].replace("0x07", "?").replace("0x01", "?")
    values = (b"\x07",) if "?" in cql else ()
    if "%s" in cql:
        cql %= await _where(here)
    await here.store.execute(cql, values)
    assert await here.all() != right
    assert await here.mend(target(here, TWEET, ANN, ZOE))
    assert _in_either(await here.all()) == _in_either(right)
    assert await found(here) == answers
    assert await here.wrong(target(here, TWEET, ANN, ZOE)) == []


def _in_either(tables: dict[str, Any]) -> dict[str, Any]:
    """Postings, whichever of their tables they stand in."""
    rest = {name: rows for name, rows in tables.items() if "posting" not in name}
    by_span = [(term, *posting) for term, _, *posting in tables["postings"]]
    return rest | {"postings": sorted([*tables["rare_postings"], *by_span])}


async def test_the_span_of_a_posting_is_written_where_it_is_missing() -> None:
    here = await told()
    right, answers = await here.all(), await found(here)
    await here.store.execute(
        "DELETE FROM {posting_spans} USING TIMESTAMP 1 WHERE term = 'from:1' AND span = 1"
    )
    assert await found(here) != answers
    assert await here.mend(target(here, TWICE)) == ["posting_spans['from:1', 1]: nothing -> True"]
    assert (await here.all(), await found(here)) == (right, answers)


async def _where(here: Generation) -> tuple[str, str]:
    """The table that the posting stands in, and its key."""
    of = f"term = 'run' AND tweet_id = {TWEET}"
    rows = await here.store.execute(f"SELECT posted_at FROM {{rare_postings}} WHERE {of}")
    if rows:
        return "rare_postings", f"{of} AND author_id = 1 AND posted_at = {rows[0][0]}"
    of = f"term = 'run' AND span = 1 AND tweet_id = {TWEET}"
    ((at,),) = await here.store.execute(f"SELECT posted_at FROM {{postings}} WHERE {of}")
    return "postings", f"{of} AND author_id = 1 AND posted_at = {at}"


async def test_a_posting_may_stand_in_both_tables_and_is_right_in_both() -> None:
    here = await told()
    table, _ = await _where(here)
    (one,) = [
        document(record.event, record.offset)
        for record in here.log.all
        if isinstance(record.event, TweetPosted) and record.event.tweet_id == TWEET
    ]
    cells = ("run", one.tweet_id, one.author_id, one.posted_at)
    places = bytes(place for term, place in one.terms if term == "run")
    other = {"postings": "rare_postings", "rare_postings": "postings"}[table]
    names, values = "term, tweet_id, author_id, posted_at, places", [*cells, places, 1]
    if other == "postings":
        names, values = f"span, {names}", [1, *values]
    marks = ", ".join("?" for _ in values[1:])
    cql = f"INSERT INTO {{{other}}} ({names}) VALUES ({marks}) USING TIMESTAMP ?"
    await here.store.execute(cql, values)
    assert await here.mend(target(here)) in ([], ["posting_spans['run', 1]: nothing -> True"])
    values[-2:] = [b"\x09", 2]
    await here.store.execute(cql, values)
    (words,) = await here.mend(target(here))
    assert other in words and await here.wrong(target(here)) == []


def _is(event: Event, tweet_id: int) -> bool:
    return getattr(event, "tweet_id", None) == tweet_id


# --- the real-time tier ---


async def test_an_entry_that_is_missing_is_put_in() -> None:
    here = await told()
    answers = await found(here)
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ANN, ())
    assert seen is not None and seen.is_there
    assert await here.bus.call(*entries.nothing(seen, TWEET, ANN)) == 1
    assert TWEET not in (await found(here))["both cat"]
    (words,) = await here.mend(target(here))
    assert words.startswith(f"recent[{TWEET}, 1]: nothing -> ")
    assert await found(here) == answers


async def test_an_entry_of_another_text_is_replaced() -> None:
    here = await told()
    answers = await found(here)
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ANN, ())
    offset = next(record.offset for record in here.log.all if _is(record.event, TWEET))
    other = document(post(TWEET, ANN, text="two", lang="en"), offset)
    assert seen is not None and await here.bus.call(*entries.posted(seen, other)) == 1
    assert TWEET in (await found(here))["both two"]
    assert await here.mend(target(here))
    assert await found(here) == answers


async def test_an_entry_that_is_wrongly_deleted_is_there_again_and_the_other_way_round() -> None:
    here = await told()
    answers = await found(here)
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ANN, ())
    assert seen is not None
    await here.bus.call(*entries.deleted(seen, TWEET, ANN))
    gone = await entries.read(GONE, ANN, ())
    assert gone is not None and gone.is_deleted and not gone.is_there
    await here.bus.call(*entries.posted(gone, document(post(GONE, ANN, text=TEXT), 0)))
    assert await found(here) != answers
    assert [w for w in await here.mend(target(here)) if w.startswith("recent")]
    assert [w for w in await here.mend(target(here, GONE)) if w.endswith("deleted")]
    assert await found(here) == answers
    seen = await entries.read(GONE, ANN, ())
    assert seen is not None and seen.is_deleted


async def test_what_nobody_posted_is_taken_out_and_may_still_be_posted() -> None:
    here = await told()
    answers = await found(here)
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ZOE, ())
    assert seen is not None and not seen.is_there
    await here.bus.call(*entries.posted(seen, document(post(TWEET, ZOE, text="two"), 0)))
    assert TWEET in (await found(here))["both two"]
    await here.mend(target(here, TWEET, ANN, ZOE))
    assert await found(here) == answers
    here.log.append("new-tweets", ZOE, post(TWEET, ZOE, text="one", lang="en"))
    await here.feed()
    assert TWEET in (await found(here))["both one"]
    assert await here.wrong(target(here, TWEET, ANN, ZOE)) == []


async def test_what_a_worker_has_changed_since_it_was_seen_is_left() -> None:
    here = await told()
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ANN, ())
    assert seen is not None
    here.log.append("new-tweets", ANN, deleted(TWEET))
    await here.feed()
    one = document(post(TWEET, ANN, text=TEXT, lang="en"), 0)
    assert await here.bus.call(*entries.posted(seen, one)) == 0
    now = await entries.read(TWEET, ANN, ())
    assert now is not None and now.is_deleted
    assert await here.wrong(target(here)) == []


async def test_what_is_below_the_window_is_not_put_in() -> None:
    here = await told()
    for number in range(40):
        tweet = BEGIN + 100 + number
        here.log.append("new-tweets", ANN, post(tweet, ANN, text="cat", lang="en"))
    await here.feed()
    entries = Entries(here.bus, here.keys, WINDOW)
    assert await entries.read(TWEET, ANN, ()) is None
    assert await here.wrong(target(here)) == []


async def test_what_no_worker_has_surely_applied_is_right_either_way() -> None:
    here = await told()
    behind = dict(here.applied)
    tweet = BEGIN + 50
    here.log.append("new-tweets", ANN, post(tweet, ANN, text=TEXT, lang="en"))
    assert await here.wrong(target(here, tweet)) == []
    await here.feed()
    here.applied, after = behind, here.applied
    assert await here.wrong(target(here, tweet)) == []
    here.log.append("new-tweets", ANN, deleted(tweet))
    here.applied = after
    assert await here.wrong(target(here, tweet)) == []
    await here.feed()
    here.applied = behind
    assert await here.wrong(target(here, tweet)) == []


async def test_an_index_that_was_lost_is_nobody_s_fault() -> None:
    here = await told()
    bucket = here.keys.bucket(TWEET)
    await here.bus.call("DEL", index_key(here.keys, bucket))
    assert await here.wrong(target(here)) == []


async def test_an_entry_is_read_by_the_terms_that_find_it() -> None:
    here = await told()
    entries = Entries(here.bus, here.keys, WINDOW)
    seen = await entries.read(TWEET, ANN, [*TERMS, "nothing"])
    assert seen is not None
    assert {term for term, _ in seen.terms} == {hash_of(term) for term in TERMS}
    assert author_mark(ANN) != author_mark(ZOE) and packed_id(TWEET) != packed_id(TWICE)


# --- names ---


async def test_a_name_that_is_missing_is_written() -> None:
    here = await told()
    right = await here.all()
    for word in ("ada", "lake", "augusta"):
        await here.store.execute(
            "DELETE FROM {people} USING TIMESTAMP 1 WHERE start = ? AND word = ? AND user_id = 1",
            (word[:2], word),
        )
    assert len(await here.mend(People(ANN))) == 3
    assert await here.all() == right


async def test_names_of_others_are_left_as_they_are() -> None:
    here = await told()
    await here.store.execute(
        "INSERT INTO {people} (start, word, user_id) VALUES ('ad', 'ada', 5) USING TIMESTAMP 1"
    )
    assert await here.wrong(People(ANN)) == []
