"""Counts and lists as clients see them, through every engine."""

from __future__ import annotations

import msgspec
import pytest

from gateway.answers import TweetAnswer, TweetMetrics, UserPage
from tests.end_to_end.town import Person, Town

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


async def metrics(reader: Person, tweet: str) -> TweetMetrics:
    """A tweet's counts, once what the reader wrote is in them."""
    response = await reader.send("GET", f"/api/tweets/{tweet}")
    found = msgspec.json.decode(response.content, type=TweetAnswer).data.public_metrics
    assert found is not None
    return found


async def likers(reader: Person, tweet: str) -> list[str]:
    """Who likes a tweet, as one page."""
    response = await reader.send("GET", f"/api/tweets/{tweet}/liking_users")
    return [user.id for user in msgspec.json.decode(response.content, type=UserPage).data]


async def test_ones_own_like_is_counted_when_it_is_read_next(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    tweet = await alice.tweet("like me")
    bob.written += alice.written[-1:]
    assert (await metrics(bob, tweet)).like_count == 0
    await bob.do(201, "POST", f"/api/tweets/{tweet}/like")
    assert (await metrics(bob, tweet)).like_count == 1
    assert await likers(bob, tweet) == [bob.id]
    await bob.do(409, "POST", f"/api/tweets/{tweet}/like")
    alice.written += bob.written[-1:]
    await alice.do(201, "POST", f"/api/tweets/{tweet}/like")
    assert (await metrics(alice, tweet)).like_count == 2
    assert await likers(alice, tweet) == [alice.id, bob.id]
    assert await bob.pages(f"/api/users/{bob.id}/likes") == [tweet]
    await bob.do(200, "DELETE", f"/api/tweets/{tweet}/like")
    bob.written += alice.written[-1:]
    assert (await metrics(bob, tweet)).like_count == 1
    assert await bob.pages(f"/api/users/{bob.id}/likes") == []


async def test_replies_quotes_and_retweets_are_counted_and_listed(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    tweet = await alice.tweet("talk to me")
    bob.written += alice.written[-1:]
    reply = await bob.tweet("a reply", reply_to=tweet)
    gone = await bob.tweet("another", reply_to=tweet)
    quote = await bob.tweet("a quote", quote_tweet_id=tweet)
    await bob.retweet(tweet)
    await bob.do(200, "DELETE", f"/api/tweets/{gone}")
    found = await metrics(bob, tweet)
    assert (found.reply_count, found.quote_count, found.retweet_count) == (1, 1, 1)
    assert await bob.pages(f"/api/tweets/{tweet}/replies") == [reply]
    assert await bob.pages(f"/api/tweets/{tweet}/quotes") == [quote]
    response = await bob.send("GET", f"/api/tweets/{tweet}/retweeted_by")
    users = msgspec.json.decode(response.content, type=UserPage).data
    assert [user.id for user in users] == [bob.id]
    await bob.do(200, "DELETE", f"/api/tweets/{tweet}/retweet")
    assert (await metrics(bob, tweet)).retweet_count == 0


async def test_counts_are_in_every_tweet_of_a_page(here: Town) -> None:
    alice, bob = await here.people("alice", "bob")
    tweet = await alice.tweet("count me")
    bob.written += alice.written[-1:]
    await bob.relate("follow", alice)
    await bob.do(201, "POST", f"/api/tweets/{tweet}/like")
    page = await bob.do(200, "GET", "/api/timeline/home")
    assert [item["public_metrics"]["like_count"] for item in page["data"]] == [1]
