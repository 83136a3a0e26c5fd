"""The X importer on hand-made exports: what is kept, what is skipped and why, and twice is once."""

from __future__ import annotations

import codecs
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.errors import KeyReused
from events.snowflake import time_of
from events.types import (
    Event,
    TweetLiked,
    TweetPosted,
    UserBlocked,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UserRegistered,
)
from infra.importing.archive import Archive
from infra.importing.convert import followed, key_of_fact
from infra.importing.errors import BrokenArchive, NameTaken, NotAnArchive
from infra.importing.importer import Importer, Tally
from tests.unit.infra.x_archive import (
    OWNER,
    account_files,
    folder,
    others,
    script,
    tweet,
    zipped,
)

CREATED_MS = 1_539_202_764_000


class FakeLog:
    """An append-only list with idempotency keys, and the read model that follows it at once."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.by_key: dict[str, Event] = {}
        self.foreign: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.lagging = False

    async def append(self, event: Event, key: str | None) -> bool:
        if key is None:
            self.events.append(event)
            return True
        known = self.by_key.setdefault(key, event)
        if known is event:
            self.events.append(event)
            return True
        if known != event:
            raise KeyReused(key)
        return False

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def catch_up(self) -> None:
        self.lagging = False

    async def holder(self, username: str) -> int | None:
        claimed = {e.username_key: e.user_id for e in self.of(UsernameClaimed)}
        return self.names.get(username.casefold(), claimed.get(username.casefold()))

    async def registered(self, user_id: int) -> bool:
        return user_id in {e.user_id for e in self.of(UserRegistered)}

    async def authors(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        known = {} if self.lagging else {e.tweet_id: e.user_id for e in self.of(TweetPosted)}
        return {i: a for i, a in {**known, **self.foreign}.items() if i in tweet_ids}


async def run(path: Path, log: FakeLog, **options: bool) -> dict[str, Tally]:
    with Archive(path) as archive:
        importer = Importer(archive, log, log, **options)
        await importer.run()
    return importer.tallies


def with_tweets(*tweets: dict[str, Any]) -> dict[str, str | bytes]:
    return account_files() | {"data/tweets.js": script("tweets", 0, list(tweets))}


async def imported(path: Path, *tweets: dict[str, Any]) -> tuple[list[Any], Tally]:
    log = FakeLog()
    tallies = await run(folder(path, with_tweets(*tweets)), log)
    return log.of(TweetPosted), tallies["tweets"]


# --- finding and reading files ---


async def test_a_folder_a_zip_and_a_zip_with_a_folder_give_the_same(tmp_path: Path) -> None:
    files = with_tweets(tweet(10, "one"), tweet(11, "two"))
    logs = []
    for path in (
        folder(tmp_path / "plain", files),
        folder(tmp_path / "outer" / "twitter-2024", files).parent,
        zipped(tmp_path / "a.zip", files),
        zipped(tmp_path / "b.zip", files, inside="twitter-2024/"),
        zipped(tmp_path / "c.zip", files, inside="twitter-2024\\"),
    ):
        log = FakeLog()
        await run(path, log)
        logs.append(log.events)
    assert len(logs[0]) == 4
    assert logs[1:] == logs[:1] * 4


async def test_old_names_old_shape_and_parts_in_order(tmp_path: Path) -> None:
    files = account_files() | {
        "data/tweet.js": script("tweet", 0, [tweet(1, "a")["tweet"]]),
        "data/tweet-part10.js": script("tweet", 10, [tweet(4, "d")]),
        "data/tweet-part1.js": script("tweet", 1, [tweet(2, "b"), tweet(3, "c")]),
        "data/tweet-headers.js": script("tweet_headers", 0, [{"tweet": {"tweet_id": "1"}}]),
        "data/deleted-tweets.js": script("deleted_tweets", 0, [tweet(9, "gone")]),
    }
    log = FakeLog()
    await run(folder(tmp_path, files), log)
    assert [(e.tweet_id, e.text) for e in log.of(TweetPosted)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
        (4, "d"),
    ]


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
async def test_byte_order_marks(tmp_path: Path, bom: bytes, encoding: str) -> None:
    text = script("tweets", 0, [tweet(1, "Grüße 猫 👩‍💻")])
    files = account_files() | {"data/tweets.js": bom + text.encode(encoding)}
    log = FakeLog()
    await run(folder(tmp_path, files), log)
    assert log.of(TweetPosted)[0].text == "Grüße 猫 👩‍💻"


async def test_bytes_and_surrogates_that_are_no_text_become_replacements(tmp_path: Path) -> None:
    text = (
        script("tweets", 0, [tweet(1, "a@b")]).encode().replace(b"a@b", b"caf\xe9 \\ud83d x\\u0000")
    )
    files = account_files() | {"data/tweets.js": text}
    log = FakeLog()
    await run(folder(tmp_path, files), log)
    assert log.of(TweetPosted)[0].text == "caf\ufffd \ufffd x\ufffd"


async def test_a_big_file_is_streamed(tmp_path: Path) -> None:
    tweets = [tweet(i + 1, "x" * 2_000) for i in range(6_000)]
    path = folder(tmp_path, with_tweets(*tweets))
    size = (path / "data/tweets.js").stat().st_size
    del tweets
    tracemalloc.start()
    with Archive(path) as archive:
        importer = Importer(archive, None, None)
        await importer.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert importer.tallies["tweets"].appended == 6_000
    assert peak < size / 2


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "not.zip").write_text("hello")
    for name in ("empty", "not.zip", "missing"):
        with pytest.raises(NotAnArchive):
            Archive(tmp_path / name)
    files = account_files() | {"data/account.js": script("account", 0, [{"account": {}}])}
    with Archive(folder(tmp_path / "anonymous", files)) as archive, pytest.raises(NotAnArchive):
        Importer(archive, None, None)


@pytest.mark.parametrize("damage", ["cut", "garbage", "no list"])
async def test_a_damaged_export_is_refused_before_anything_is_appended(
    tmp_path: Path, damage: str
) -> None:
    text = others("following", "following", [5, 6, 7])
    broken = {
        "cut": text[:-20],
        "garbage": text.replace("accountId", 'acc"ountId', 1),
        "no list": "window.YTD.following.part0 = {}",
    }[damage]
    files = with_tweets(tweet(1, "a")) | {"data/following.js": broken}
    log = FakeLog()
    with pytest.raises(BrokenArchive, match=r"following\.js"):
        await run(folder(tmp_path, files), log)
    assert log.events == []


async def test_a_cut_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", with_tweets(tweet(1, "a")))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(NotAnArchive):
        Archive(path)


# --- tweets ---


async def test_ids_times_and_texts_are_kept(tmp_path: Path) -> None:
    place = {"type": "Point", "coordinates": ["9.99", "48.4"]}
    tweets, tally = await imported(
        tmp_path,
        tweet(
            1050118621198921728, "a &lt; b &amp;&amp; c &gt; d &amp;lt; &copy;", coordinates=place
        ),
        tweet(20, "just setting up", created_at="2006-03-21T20:50:14.000Z", lang="in"),
        tweet(30, "?", lang="und", geo={"type": "Point", "coordinates": ["48.4", "9.99"]}),
    )
    first, second, third = tweets
    assert first.text == "a < b && c > d &lt; &copy;"
    assert (first.tweet_id, first.created_at) == (1050118621198921728, CREATED_MS)
    assert abs(time_of(first.tweet_id) - first.created_at) < 86_400_000 * 2
    assert (first.user_id, first.lang, first.source) == (OWNER, "en", "Phone & Co")
    assert (first.coordinates.latitude, first.coordinates.longitude) == (48.4, 9.99)
    assert (third.coordinates.latitude, third.coordinates.longitude, third.lang) == (
        48.4,
        9.99,
        None,
    )
    assert (second.created_at, second.lang, second.coordinates) == (1_142_974_214_000, "id", None)
    assert [e.conversation_id for e in tweets] == [e.tweet_id for e in tweets]
    assert tally == Tally(read=3, appended=3)


async def test_long_tweets_are_kept_whole(tmp_path: Path) -> None:
    tweets, _ = await imported(tmp_path, tweet(1, "猫" * 4_000))
    assert len(tweets[0].text) == 4_000


async def test_replies_and_threads(tmp_path: Path) -> None:
    to_self = {"in_reply_to_user_id_str": str(OWNER), "in_reply_to_screen_name": "Ann_Example"}
    tweets, _ = await imported(
        tmp_path,
        tweet(13, "third", in_reply_to_status_id_str="12", **to_self),
        tweet(12, "second", in_reply_to_status_id="11", **to_self),
        tweet(11, "first"),
        tweet(22, "on", in_reply_to_status_id_str="21", **to_self),
        tweet(21, "@x hi", in_reply_to_status_id_str="7", in_reply_to_user_id_str="99"),
        tweet(31, "@x hello", in_reply_to_user_id_str="99"),
    )
    found = {e.tweet_id: (e.conversation_id, e.reply_to_id, e.reply_to_user_id) for e in tweets}
    assert found == {
        13: (11, 12, OWNER),
        12: (11, 11, OWNER),
        11: (11, None, None),
        22: (7, 21, OWNER),
        21: (7, 7, 99),
        31: (31, None, None),
    }


async def test_quotes_are_known_by_name_or_by_their_link(tmp_path: Path) -> None:
    def link(url: str) -> dict[str, Any]:
        return {"entities": {"urls": [{"url": "https://t.co/a", "expanded_url": url}]}}

    tweets, _ = await imported(
        tmp_path,
        tweet(1, "a", quoted_status_id_str="7"),
        tweet(2, "b", **link("https://twitter.com/someone/status/8?s=20")),
        tweet(3, "c", **link("https://x.com/ANN_example/status/1")),
        tweet(4, "d", **link("https://example.com/someone/status/8")),
    )
    assert [(e.quote_of_id, e.quote_of_user_id) for e in tweets] == [
        (7, None),
        (8, None),
        (1, OWNER),
        (None, None),
    ]


async def test_only_the_last_version_of_an_edited_tweet_is_kept(tmp_path: Path) -> None:
    initial = {"initial": {"editTweetIds": ["5", "6"], "isEditEligible": True}}
    edit = {"edit": {"initialTweetId": "5", "editControlInitial": initial["initial"]}}
    never = {"initial": {"editTweetIds": ["8"]}}
    tweets, tally = await imported(
        tmp_path,
        tweet(6, "typo gone", edit_info=edit),
        tweet(5, "tpyo", edit_info=initial),
        tweet(8, "plain", edit_info=never),
    )
    assert [e.tweet_id for e in tweets] == [6, 8]
    assert tally.skipped == {"earlier_version_of_an_edited_tweet": 1}


async def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path) -> None:
    tweets, tally = await imported(
        tmp_path,
        tweet(1, "RT @other: what they said…"),
        tweet(2, "RT is how it starts"),
        tweet(3, "no time", created_at="yesterday"),
        tweet(4, "before time", created_at="Wed Oct 10 20:19:24 +0000 1918"),
        tweet(5, "bad id", id_str="12x", id="12x"),
        tweet(6, ""),
        {"tweet": "nothing"},
    )
    assert [e.tweet_id for e in tweets] == [2]
    assert tally.read == 7
    assert tally.skipped == {
        "retweet_without_original": 1,
        "bad_time": 2,
        "bad_id": 1,
        "tweet_without_text": 1,
        "malformed": 1,
    }


async def test_retweets_can_be_kept_as_text(tmp_path: Path) -> None:
    log = FakeLog()
    path = folder(tmp_path, with_tweets(tweet(1, "RT @other: hi")))
    await run(path, log, retweets_as_text=True)
    assert log.of(TweetPosted)[0].text == "RT @other: hi"


async def test_an_id_of_another_author_is_refused(tmp_path: Path) -> None:
    log = FakeLog()
    log.foreign = {2: 777}
    tallies = await run(folder(tmp_path, with_tweets(tweet(1, "a"), tweet(2, "b"))), log)
    assert [e.tweet_id for e in log.of(TweetPosted)] == [1]
    assert tallies["tweets"].refused == {"id_of_another_author": 1}


async def test_a_tweet_deleted_here_stays_deleted(tmp_path: Path) -> None:
    log = FakeLog()
    log.foreign = {1: OWNER}  # the read model knows the ids of deleted tweets, too
    tallies = await run(folder(tmp_path, with_tweets(tweet(1, "a"))), log)
    assert log.of(TweetPosted) == []
    assert tallies["tweets"].already_here == 1


async def test_a_fact_whose_key_has_other_content_is_refused(tmp_path: Path) -> None:
    log = FakeLog()
    path = folder(tmp_path, social_files())
    await log.append(followed(OWNER, 9), key_of_fact("follow", OWNER, 5))
    tallies = await run(path, log)
    assert tallies["following"].refused == {"other_content_under_this_id": 1}
    assert tallies["follower"].appended == 1


# --- the owner and the others ---


async def test_the_owner_registers_with_the_old_id_and_time(tmp_path: Path) -> None:
    log = FakeLog()
    await run(folder(tmp_path, account_files()), log)
    claim, registered = log.events
    assert isinstance(registered, UserRegistered)
    assert (claim.occurred_at, registered.occurred_at) == (registered.created_at,) * 2
    assert await log.holder("ann_example") == OWNER
    assert (registered.username, registered.name) == ("Ann_Example", "Ann & Co")
    assert registered.created_at == 1_241_179_200_123
    assert (registered.description, registered.location) == ("I <3 birds", "Ulm")


async def test_a_name_of_somebody_else_stops_the_import(tmp_path: Path) -> None:
    log = FakeLog()
    log.names = {"ann_example": 42}
    with pytest.raises(NameTaken, match="@Ann_Example belongs to user 42"):
        await run(folder(tmp_path, with_tweets(tweet(1, "a"))), log)
    assert log.events == []


def social_files() -> dict[str, str | bytes]:
    return with_tweets(tweet(10, "mine")) | {
        "data/following.js": others("following", "following", [5, OWNER]),
        "data/follower.js": others("follower", "follower", [6]),
        "data/block.js": others("block", "blocking", [7]),
        "data/mute.js": others("mute", "muting", [8]),
        "data/like.js": script(
            "like",
            0,
            [
                {"like": {"tweetId": "10", "fullText": "mine"}},
                {"like": {"tweetId": "11", "expandedUrl": "x"}},
                {"like": {"tweetId": "12"}},
            ],
        ),
    }


async def test_follows_blocks_mutes_and_likes(tmp_path: Path) -> None:
    log = FakeLog()
    log.foreign = {11: 5}
    tallies = await run(folder(tmp_path, social_files()), log)
    pairs = [(e.user_id, e.target_user_id) for e in log.of(UserFollowed)]
    assert pairs == [(OWNER, 5), (6, OWNER)]
    assert [(e.user_id, e.target_user_id) for e in log.of(UserBlocked)] == [(OWNER, 7)]
    assert [(e.user_id, e.target_user_id) for e in log.of(UserMuted)] == [(OWNER, 8)]
    likes = [(e.tweet_id, e.tweet_author_id, e.user_id) for e in log.of(TweetLiked)]
    assert likes == [(10, OWNER, OWNER), (11, 5, OWNER)]
    assert tallies["like"].skipped == {"liked_tweet_is_not_here": 1}
    assert tallies["following"].skipped == {"about_oneself": 1}
    # Whatever happens here later is newer, and a block beats a follow.
    follow_ids = [e.event_id for e in log.of(UserFollowed)]
    block_ids = [e.event_id for e in log.of(UserBlocked)]
    assert max(follow_ids) < min(block_ids)
    assert time_of(max(block_ids)) < 1_320_000_000_000


@pytest.mark.parametrize("lagging", [False, True])
async def test_twice_adds_nothing(tmp_path: Path, lagging: bool) -> None:
    log = FakeLog()
    path = folder(tmp_path, social_files())
    first = await run(path, log)
    count = len(log.events)
    log.lagging = lagging  # what is read is right only after the wait for the read models
    second = await run(path, log)
    assert len(log.events) == count
    assert sum(tally.appended for tally in second.values()) == 0
    for kind, tally in second.items():
        assert tally.already_here == first[kind].appended


async def test_both_sides_of_a_follow_are_one_event(tmp_path: Path) -> None:
    log = FakeLog()
    await run(folder(tmp_path / "ann", social_files()), log)
    bob = account_files("bob")
    bob["data/account.js"] = str(bob["data/account.js"]).replace(str(OWNER), "5")
    bob["data/follower.js"] = others("follower", "follower", [OWNER])
    tallies = await run(folder(tmp_path / "bob", bob), log)
    assert tallies["follower"] == Tally(read=1, already_here=1)


async def test_a_dry_run_counts_the_same_and_needs_no_log(tmp_path: Path) -> None:
    path = folder(tmp_path, social_files())
    with Archive(path) as archive:
        dry = Importer(archive, None, None)
        await dry.run()
    wet = await run(path, FakeLog())
    assert dry.tallies == wet
