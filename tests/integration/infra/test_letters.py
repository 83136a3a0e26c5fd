"""Dead letters on real engines: buried, listed, sent back, edited, discarded; exact for every unit.

Poison of every kind lies among good records. What readers see is compared with the oracle, which is
fed the log as it was meant (`tests/oracle_redrive.py`): as a worker meets it live, and as a new
generation meets it from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from events.letters import LetterError, LetterId
from events.position import Position
from events.types import (
    Event,
    ListCreated,
    ListMemberAdded,
    ProfileChanged,
    RedriveRequested,
    TweetBookmarked,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
    UserFollowed,
    UsernameClaimed,
    UserRegistered,
)
from infra import compose
from infra.compose import Engines
from infra.letters.desk import show
from infra.prepare import prepare_on
from infra.settings import Settings
from tests.integration.infra.letters_town import UNITS, UNKNOWN_SCHEMA, Town, town, workers
from tests.oracle_engagement import TweetCounts

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

JUNK = b"\xffnot an event"
OVERSIZED = b"\xff" * 950_000


@dataclass
class Story:
    """What was appended.

    Attributes:
        users: Their ids.
        tweets: Their ids.
        list_id: The list.
        name: The name that is claimed twice.
        meant: What each poison record was meant to say, by its position.
    """

    users: tuple[int, int, int]
    tweets: tuple[int, int, int, int]
    list_id: int
    name: str
    meant: dict[Position, Event]


async def tell(here: Town) -> Story:
    """Appends good records and poison: of every topic that a unit reads facts from."""
    ada, bob, cy = users = (here.id(), here.id(), here.id())
    first, reply, retweet, other = tweets = (here.id(), here.id(), here.id(), here.id())
    list_id, name = here.id(), f"n{here.id()}"[-15:]
    story = Story(users, tweets, list_id, name, {})

    async def poison(event: Event, value: bytes = JUNK) -> None:
        story.meant[await here.poison(event, value)] = event

    for user in users:
        if user == cy:
            await poison(registered(here, user), UNKNOWN_SCHEMA + b"body")
        else:
            await here.good(registered(here, user))
    await here.poison(registered(here, ada), None)  # a tombstone is nobody's letter
    await poison(here.say(ProfileChanged, user_id=ada, name="changed once"))
    await here.good(here.say(ProfileChanged, user_id=ada, description="changed later"))
    await poison(claim(here, name, ada), UNKNOWN_SCHEMA + b"body")
    await here.good(claim(here, name, bob))
    too_long = here.codec.encode(claim(here, "x" * 70_000, cy))  # read, and refused by the unit
    await poison(claim(here, f"c{name[1:]}", cy), too_long)
    await poison(here.say(UserFollowed, user_id=bob, target_user_id=ada))
    await here.good(here.say(UserFollowed, user_id=cy, target_user_id=ada))
    await poison(post(here, first, ada), OVERSIZED)
    await here.good(post(here, reply, bob, reply_to_id=first, reply_to_user_id=ada))
    await poison(post(here, retweet, bob, text="", retweet_of_id=first, retweet_of_user_id=ada))
    await here.good(here.say(TweetDeleted, tweet_id=retweet, user_id=bob))
    await here.good(post(here, other, ada))
    await poison(here.say(TweetDeleted, tweet_id=reply, user_id=bob))
    about: dict[str, Any] = {"tweet_id": other, "tweet_author_id": ada}
    await poison(here.say(TweetLiked, user_id=bob, **about))
    await here.good(here.say(TweetUnliked, user_id=bob, **about))
    await poison(here.say(TweetLiked, user_id=cy, **about))
    await here.good(here.say(TweetLiked, user_id=ada, **about))
    await poison(here.say(TweetUnliked, user_id=ada, **about))
    await poison(here.say(TweetViewed, tweet_id=other, user_id=cy))
    await here.good(here.say(TweetViewed, tweet_id=other, user_id=bob))
    await poison(
        here.say(
            ListCreated, list_id=list_id, user_id=ada, name="friends", description="", private=False
        )
    )
    await here.good(here.say(ListMemberAdded, list_id=list_id, user_id=ada, member_id=bob))
    await poison(here.say(TweetBookmarked, tweet_id=other, user_id=cy))
    return story


def registered(here: Town, user: int) -> Event:
    return here.say(
        UserRegistered, user_id=user, username=f"u{user}"[-15:], name="first", created_at=1
    )


def claim(here: Town, name: str, user: int) -> Event:
    return here.say(UsernameClaimed, username_key=name, username=name, user_id=user)


def post(here: Town, tweet: int, user: int, text: str = "said", **references: Any) -> Event:
    return here.say(
        TweetPosted,
        tweet_id=tweet,
        user_id=user,
        text=text,
        created_at=1,
        conversation_id=tweet,
        **references,
    )


async def seen(here: Town, on: Engines, story: Story) -> dict[str, Any]:
    """What readers of a generation see."""
    accounts, engagement = compose.accounts_reader(on), compose.engagement_reader(on)
    collections, homes = compose.collections_reader(on), here.homes(on)
    found = await accounts.users(story.users)
    counts = await engagement.counts(story.tweets)
    liked = await engagement.liked_by(story.tweets[3])
    bodies = await compose.tweets_reader(on).get(story.tweets)
    return {
        "users": sorted(found),
        "profile": b"changed once" in found[story.users[0]].body if found else None,
        "holder": await accounts.holder(story.name),
        "other": await accounts.holder(f"c{story.name[1:]}"),
        "tweets": sorted(bodies),
        "counts": {
            tweet: TweetCounts(c.likes, c.views, c.replies, c.retweets, c.quotes)
            for tweet, c in counts.items()
        },
        "liked_by": [entry.user_id for entry in liked.entries],
        "homes": {
            user: [tweet for tweet, _ in (await homes.page(user, None, 50)).tweets]
            for user in story.users
        },
        "members": list(await collections.members(story.list_id)),
        "bookmarks": [e.tweet_id for e in (await collections.bookmarks(story.users[2])).entries],
    }


async def expected(here: Town, story: Story) -> dict[str, Any]:
    """The same by the oracle."""
    oracle = await here.oracle()
    profile = oracle.profile(story.users[0])
    return {
        "users": [user for user in story.users if oracle.profile(user)],
        "profile": profile is not None and profile.name == "changed once",
        "holder": oracle.holder(story.name),
        "other": oracle.holder(f"c{story.name[1:]}"),
        "tweets": sorted(tweet for tweet in story.tweets if oracle.tweet(tweet)),
        "counts": {tweet: oracle.counts(tweet) for tweet in story.tweets},
        "liked_by": oracle.liked_by(story.tweets[3]),
        "homes": {user: oracle.home(user) for user in story.users},
        "members": oracle.collections.members(story.list_id),
        "bookmarks": oracle.collections.bookmarks(story.users[2]),
    }


def letters_of(story: Story) -> dict[LetterId, Position]:
    """The letters that there must be: of each record one for each unit that reads its topic."""
    return {
        LetterId(unit, at.topic, at.partition, at.offset): at
        for at in story.meant
        for unit in UNITS
        if at.topic in TOPICS_OF[unit]
    }


TOPICS_OF = {
    "accounts": {"users", "usernames"},
    "tweets": {"new-tweets"},
    "timelines": {"new-tweets", "social-graph"},
    "engagement": {"new-tweets", "engagements"},
    "collections": {"lists", "bookmarks"},
}


async def test_what_is_sent_back_has_the_effect_of_its_place(settings: Settings) -> None:
    async with town(settings) as here:
        async with workers(here.on):
            story = await tell(here)
            await here.settled()
            wanted = letters_of(story)
            assert await here.states() == {str(name): "open" for name in wanted}
            reasons = {letter.burials[0].reason for letter in here.reading.book}
            assert reasons == {"undecodable", "refused"}
            assert await seen(here, here.on, story) == await expected(here, story)
            last: Position | None = None
            for name, at in wanted.items():
                last = await here.mend(name.unit, at, story.meant[at])
            await here.settled()
            assert await here.states() == {str(name): "applied" for name in wanted}
            now = await seen(here, here.on, story)
            assert now == await expected(here, story)
            assert now["holder"] == story.users[0], "the first claim wins, though it came late"
            assert now["counts"][story.tweets[3]].views == 2
            assert last is not None
            await decided_again(here, story)
            assert await seen(here, here.on, story) == now
        await in_a_new_generation(here, story, now)


async def decided_again(here: Town, story: Story) -> None:
    """Whoever redrives again is told; where two did at once, the first in the log wins."""
    wanted = letters_of(story)
    outcomes = await here.desk.redrive(list(wanted), actor="bob", reason="once more", force=True)
    assert {outcome.position for outcome in outcomes} == {None}
    assert all("applied already" in outcome.why for outcome in outcomes)
    outcomes = await here.desk.discard(list(wanted), actor="bob", reason="late")
    assert {outcome.position for outcome in outcomes} == {None}
    for name, at in wanted.items():
        other = here.codec.encode(here.say(type(story.meant[at]), **changed(story.meant[at])))
        await here.log.append(
            here.say(RedriveRequested, **name._asdict(), payload=other, actor="cy")
        )
    await here.settled()
    assert set((await here.states()).values()) == {"applied"}


def changed(event: Event) -> dict[str, Any]:
    """The fields of an event but for those that every event has, one of them another."""
    fields = {f: getattr(event, f) for f in event.__struct_fields__}
    del fields["event_id"], fields["occurred_at"]
    for name in ("target_user_id", "text", "name", "tweet_id", "username"):
        if name in fields:
            value = fields[name]
            fields[name] = value + 1 if isinstance(value, int) else f"{value}2"
            return fields
    return fields


async def in_a_new_generation(here: Town, story: Story, live: dict[str, Any]) -> None:
    """It meets the poison first, then what was decided, and comes to the same."""
    chosen = here.on.settings.model_copy(update={"generation": "t2"})
    before = await here.states()
    async with compose.engines(chosen) as on:
        await prepare_on(on)
        async with workers(on):
            await here.settled(on)
            assert await seen(here, on, story) == live
    assert await here.states() == before, "nothing is listed twice"


async def test_what_fails_again_is_open_again_and_what_is_discarded_is_left_out(
    settings: Settings,
) -> None:
    async with town(settings) as here, workers(here.on):
        ada = here.id()
        follow = here.say(UserFollowed, user_id=ada, target_user_id=ada + 1)
        at = await here.poison(follow, JUNK)
        gone = await here.poison(here.say(UserFollowed, user_id=ada, target_user_id=5), JUNK)
        await here.settled()
        name = LetterId("timelines", at.topic, at.partition, at.offset)
        (outcome,) = await here.desk.redrive([name], actor="ada", reason="")
        assert outcome.position is None
        assert "still cannot be decoded: MalformedEvent" in outcome.why
        with pytest.raises(LetterError, match="no record of social-graph"):
            await here.desk.redrive([name], actor="ada", reason="", body=b"more junk")
        (outcome,) = await here.desk.redrive([name], actor="ada", reason="hope", force=True)
        assert outcome.position is not None
        await here.settled()
        letter = here.reading.book.get(name)
        assert letter is not None
        assert (letter.attempts, (await here.states())[str(name)]) == (2, "open")
        await here.mend("timelines", at, follow)
        other = LetterId("timelines", gone.topic, gone.partition, gone.offset)
        await here.desk.discard([other], actor="ada", reason="a load test left it")
        await here.settled()
        assert await here.states() == {str(name): "applied", str(other): "discarded"}
        graph = compose.timelines_reader(here.on).graph
        assert (await graph.relations_of(ada)).following == {ada + 1}
        letter = here.reading.book.get(other)
        assert letter is not None
        ruling = letter.counting
        assert ruling is not None
        assert (ruling.actor, ruling.reason) == ("ada", "a load test left it")


async def test_a_letter_shows_its_bytes_wherever_they_are(settings: Settings) -> None:
    async with town(settings) as here, workers(here.on):
        follow = here.say(UserFollowed, user_id=here.id(), target_user_id=here.id())
        places = [await here.poison(follow, value) for value in (JUNK, OVERSIZED)]
        wrong = await here.log.append_raw(
            "social-graph", b"1", here.codec.encode(here.say(TweetViewed, tweet_id=7)), []
        )
        await here.settled()
        shown = []
        for at in (*places, wrong):
            letter = here.reading.book.get(LetterId("timelines", *_place(at)))
            assert letter is not None
            shown.append(await show(here.reading, letter, "open"))
        assert [one.value for one in shown[:2]] == [JUNK, OVERSIZED]
        assert shown[1].letter.left_out_bytes == len(OVERSIZED)
        assert "WrongType" in shown[2].error
        assert [one.letter.burials[0].reason for one in shown] == ["undecodable"] * 3


def _place(at: Position) -> tuple[str, int, int]:
    return at.topic, at.partition, at.offset
