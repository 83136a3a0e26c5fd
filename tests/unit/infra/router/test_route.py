"""Who is pushed and mailed to, over the oracle; the ledger in memory, the servers real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from prometheus_client import CollectorRegistry
from py_vapid import Vapid02

from events.slices import LogRecord
from events.snowflake import compose
from events.types import TweetPosted, UserDeactivated
from gateway.levels.level import Claim, Level, Order, Said
from infra.router.confirming import PER_HOUR, Confirmations, Mailing
from infra.router.digest import Digests
from infra.router.ledger import HOUR_MS, RETAKE_SECONDS, Ledger
from infra.router.metrics import RouterMetrics
from infra.router.pausing import Pausing, Stopped
from infra.router.ports import Message, Outcome
from infra.router.route import AGE_MAX_MS, PUSHES_PER_HOUR, RESERVED, Reads, Router
from infra.router.smtp import Server, Smtp
from infra.router.trends import TrendPushes
from infra.router.web_push import WebPush
from projections.notifications.layout import Address
from tests.memory.line import Crashed, Line
from tests.memory.statements import MemoryStatements
from tests.memory.store import Database
from tests.posts import post
from tests.unit.gateway.fake_notifications import FakeNotifications
from tests.unit.gateway.fakes import STARTED_MS, FakeAccounts, FakeGraph, FakeTweets
from tests.unit.gateway.world import World
from tests.unit.infra.router.servers import HOST, PushService, mail_server, push_service

KEY = Vapid02()
KEY.generate_keys()


class Scene:
    """A gateway over the oracle, a push service, and routers."""

    def __init__(self, service: PushService, pushes: WebPush) -> None:
        self.world = World()
        self.service = service
        self.pushes = pushes
        self.now_ms = STARTED_MS + 1000
        self.database = Database()
        self.routed = 0
        self.addresses: dict[int, Address] = {}
        self.stop = asyncio.Event()
        self.metrics = RouterMetrics(CollectorRegistry())
        self.pausing = Pausing(self.stop, self.metrics)
        oracle = self.world.oracle
        self.reads = Reads(
            FakeAccounts(self.world.log),
            FakeGraph(oracle),
            FakeTweets(oracle),
            FakeNotifications(oracle),
            self.world.trends,
        )
        self.router = self.new_router()

    def ledger(self, line: Line | None = None) -> Ledger:
        return Ledger(MemoryStatements(self.database, line), "log:")

    def new_router(self, line: Line | None = None, pushes: WebPush | None = None) -> Router:
        async def ended(user: int, address: Address) -> None:
            body = {"endpoint": address.address}
            path = "/api/notifications/subscriptions"
            await self.world.call(200, "DELETE", path, body, user=user)

        async def applied(_records: Sequence[LogRecord]) -> None:
            """The oracle has."""

        return Router(
            self.reads,
            self.ledger(line),
            pushes or self.pushes,
            ended,
            applied,
            self.pausing,
            self.metrics,
            clock=lambda: self.now_ms,
            pause_seconds=0.001,
        )

    async def subscribed(self, name: str) -> int:
        """A new user with a subscription."""
        user = await self.world.register(name)
        address = self.addresses[user] = self.service.subscribe()
        keys = {"p256dh": address.p256dh, "auth": address.auth}
        body = {"endpoint": address.address, "keys": keys}
        await self.world.call(201, "POST", "/api/notifications/subscriptions", body, user=user)
        return user

    def counted(self, name: str, **labels: str) -> float | None:
        """A metric of the routers."""
        return self.metrics.registry.get_sample_value(f"murmur_router_{name}", labels)

    def said(self) -> list[LogRecord]:
        """What was posted since the last time."""
        posts = [event for event in self.world.log.events if isinstance(event, TweetPosted)]
        new = posts[self.routed :]
        self.routed = len(posts)
        return [LogRecord("new-tweets", 0, n, event) for n, event in enumerate(new)]

    async def route(self, router: Router | None = None) -> list[str]:
        """Routes what was posted; returns the ids of what was pushed meanwhile."""
        before = len(self.service.got)
        await (router or self.router).route(self.said())
        return [shown["id"] for _, shown in self.service.got[before:]]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with push_service() as service, WebPush(KEY, "mailto:a@example.com", [HOST]) as pushes:
        found = Scene(service, pushes)
        await found.ledger().create()
        yield found


async def test_the_matrix(scene: Scene) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    bob = await world.register("bob")
    own = await world.tweet(alice, "I am @alice")
    answer = await world.tweet(bob, "@alice yes", reply_to=str(own))
    quote = await world.tweet(bob, "look", quote_tweet_id=str(own))
    named = await world.tweet(bob, "hello @ALICE")
    found = await world.call(201, "POST", f"/api/tweets/{own}/retweet", user=bob)
    retweet = int(found["data"]["id"])
    await world.call(201, "POST", f"/api/tweets/{own}/like", user=bob)
    body = {"target_user_id": str(alice)}
    await world.call(201, "POST", f"/api/users/{bob}/follow", body, user=bob)
    pushed = [f"reply:{answer}", f"quote:{quote}", f"mention:{named}", f"retweet:{retweet}"]
    assert await scene.route() == pushed
    titles = [shown["title"] for _, shown in scene.service.got]
    assert titles[0] == "@bob replied to you"
    assert titles[3] == "@bob retweeted your tweet"
    assert scene.service.got[3][1]["body"] == "I am @alice"
    assert [headers["urgency"] for headers in scene.service.headers] == ["high"] * 3 + ["normal"]


async def test_who_is_not_pushed_to(scene: Scene) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    bob = await world.register("bob")
    carol = await world.register("carol")  # has no subscription
    path = "/api/notifications/preferences"
    await world.call(200, "PUT", path, {"push": {"mention": False}}, user=alice)
    await world.tweet(bob, "@alice @carol")
    assert await scene.route() == []
    await world.call(200, "PUT", path, {"push": {"mention": True}}, user=alice)
    deleted = await world.tweet(bob, "@alice")
    await world.call(200, "DELETE", f"/api/tweets/{deleted}", user=bob)
    assert await scene.route() == []
    body = {"target_user_id": str(bob)}
    await world.call(201, "POST", f"/api/users/{alice}/mute", body, user=alice)
    await world.tweet(bob, "@alice")
    assert await scene.route() == []
    assert len(await scene.route()) == 0
    seen = await world.tweet(carol, "@alice")
    assert await scene.route() == [f"mention:{seen}"]
    await world.tweet(carol, "@alice")
    await world.log.append(UserDeactivated(event_id=1, occurred_at=1, user_id=alice))
    assert await scene.route() == []


async def test_what_is_old_is_told_in_the_app_alone(scene: Scene) -> None:
    world = scene.world
    await scene.subscribed("alice")
    bob = await world.register("bob")
    await world.tweet(bob, "@alice")
    scene.now_ms += AGE_MAX_MS
    assert await scene.route() == []
    assert scene.counted("posts_passed_over_total") == 1


async def test_what_comes_again_is_pushed_once(scene: Scene) -> None:
    world = scene.world
    await scene.subscribed("alice")
    bob = await world.register("bob")
    await world.tweet(bob, "@alice")
    assert len(await scene.route()) == 1
    scene.routed = 0
    assert await scene.route() == []
    scene.routed = 0
    scene.now_ms += RETAKE_SECONDS * 1000 + 1
    assert await scene.route(scene.new_router()) == []
    decided = "notifications_total"
    assert scene.counted(decided, kind="mention", outcome="delivered") == 1
    assert scene.counted(decided, kind="mention", outcome="repeated") == 2
    assert scene.counted("delay_seconds_count") == 1


async def test_pushes_wait_at_level_one_and_what_is_old_by_then_is_dropped(scene: Scene) -> None:
    world = scene.world
    await scene.subscribed("alice")
    bob = await world.register("bob")
    measured = Said(None, (Claim("a:1", Level.LEAN, "store"),))
    await scene.pausing.told(measured)
    kept = await world.tweet(bob, "@alice")
    waiting = asyncio.create_task(scene.route())
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done() and scene.service.got == []
    assert scene.counted("degradation_level") == 1
    await scene.pausing.told(Said(Order(Level.NORMAL), measured.claims))  # an order holds alone
    assert await waiting == [f"mention:{kept}"]
    assert scene.counted("degradation_level") == 0
    await scene.pausing.told(Said(Order(Level.LEAN)))
    await world.tweet(bob, "@alice again")
    waiting = asyncio.create_task(scene.route())
    await asyncio.wait({waiting}, timeout=0.1)
    scene.now_ms += AGE_MAX_MS
    await scene.pausing.told(Said())
    assert await waiting == []
    assert scene.counted("notifications_total", kind="mention", outcome="late") == 1


async def test_a_router_that_ends_while_pushes_wait_leaves_them_to_the_next(scene: Scene) -> None:
    world = scene.world
    await scene.subscribed("alice")
    bob = await world.register("bob")
    await world.tweet(bob, "@alice")
    await scene.pausing.told(Said(Order(Level.LEAN)))
    scene.stop.set()
    with pytest.raises(Stopped):
        await scene.route()
    await scene.pausing.told(Said())
    scene.routed = 0
    assert len(await scene.route()) == 1


class _Dies:
    """Pushes, and does not live to say so."""

    def __init__(self, pushes: WebPush, line: Line) -> None:
        self._pushes = pushes
        self._line = line

    async def push(self, address: Address, message: Message) -> Outcome:
        outcome = await self._pushes.push(address, message)
        self._line.breaks_after(0, kills=True)
        return outcome


async def test_a_router_that_died_sends_what_was_under_way_once_more(scene: Scene) -> None:
    world, line = scene.world, Line()
    await scene.subscribed("alice")
    bob = await world.register("bob")
    await world.tweet(bob, "@alice")
    dying = scene.new_router(line)
    dying._pushes = _Dies(scene.pushes, line)
    with pytest.raises(Crashed):
        await scene.route(dying)
    assert len(scene.service.got) == 1
    scene.routed = 0
    assert await scene.route() == []  # whoever claimed it may still be at it
    assert len(scene.router.waiting) == 1
    scene.now_ms += RETAKE_SECONDS * 1000
    assert len(await scene.route()) == 1  # nothing was posted, and nothing is read again
    assert not scene.router.waiting
    scene.routed = 0
    scene.now_ms += RETAKE_SECONDS * 1000
    assert await scene.route() == []


async def test_what_is_taken_over_counts_once_among_fifty(scene: Scene) -> None:
    world, line = scene.world, Line()
    await scene.subscribed("alice")
    bob = await world.register("bob")
    for _ in range(PUSHES_PER_HOUR - 1):
        await world.tweet(bob, "@alice")
    assert len(await scene.route()) == PUSHES_PER_HOUR - 1
    await world.tweet(bob, "@alice")
    dying = scene.new_router(line)
    dying._pushes = _Dies(scene.pushes, line)
    with pytest.raises(Crashed):
        await scene.route(dying)
    scene.routed -= 1
    scene.now_ms += RETAKE_SECONDS * 1000
    assert len(await scene.route()) == 1


async def test_fifty_an_hour_the_urgent_first(scene: Scene) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    bob = await world.register("bob")
    tweets = [await world.tweet(alice) for _ in range(PUSHES_PER_HOUR)]
    for tweet in tweets:
        await world.call(201, "POST", f"/api/tweets/{tweet}/retweet", user=bob)
    mentions = [f"mention:{await world.tweet(bob, '@alice')}" for _ in range(5)]
    pushed = await scene.route()
    assert pushed[:5] == mentions
    assert len(pushed) == PUSHES_PER_HOUR - RESERVED
    later = [f"mention:{await world.tweet(bob, '@alice')}" for _ in range(RESERVED + 1)]
    assert await scene.route() == later[:RESERVED]
    assert scene.router.counts["limited"] == 15 + 1
    limited = [
        scene.counted("notifications_total", kind=kind, outcome="limited")
        for kind in ("retweet", "mention")
    ]
    assert limited == [15, 1]
    scene.now_ms += HOUR_MS
    dave = await scene.subscribed("dave")
    scene.now_ms = STARTED_MS + HOUR_MS + 2000
    await world.log.append(_now(dave, scene.now_ms, "@alice"))
    assert len(await scene.route()) == 1


def _now(author: int, now_ms: int, text: str) -> TweetPosted:
    tweet_id = (now_ms - 1288834974657) << 22
    return TweetPosted(
        event_id=tweet_id,
        occurred_at=now_ms,
        tweet_id=tweet_id,
        user_id=author,
        text=text,
        created_at=now_ms,
        conversation_id=tweet_id,
    )


async def test_a_service_that_is_slow_is_asked_again_and_one_that_knows_nobody_is_not(
    scene: Scene,
) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    bob = await world.register("bob")
    scene.service.statuses = [503, 429]
    await world.tweet(bob, "@alice")
    assert len(await scene.route()) == 1
    scene.service.statuses = [410]
    await world.tweet(bob, "@alice again")
    assert await scene.route() == []
    assert world.oracle.notifications.addressed(alice, "web-push") == []
    assert scene.router.counts == {"delivered": 1, "gone": 1}
    tries = [scene.counted("tries_total", outcome=one) for one in ("later", "delivered", "gone")]
    assert tries == [2, 1, 1]
    assert scene.counted("subscriptions_gone_total") == 1


async def test_a_digest_that_another_run_began_is_waited_for(scene: Scene) -> None:
    world, alice = scene.world, await scene.world.register("alice")
    await world.tweet(await world.register("bob"), "@alice hello")
    path = "/api/notifications"
    await world.call(200, "PUT", f"{path}/preferences", {"email": {"daily": True}}, user=alice)
    await world.mailed_to(alice, "alice@example.com")

    async def users() -> AsyncIterator[int]:
        yield alice

    notice = f"digest:daily:{scene.now_ms // 86_400_000}"
    began_ms = scene.now_ms - RETAKE_SECONDS * 1000 + 100
    await scene.ledger().claim(alice, notice, began_ms)  # and died
    async with mail_server() as server:
        mails = Smtp(Server(HOST, server.port, "news@example.com"))
        mailing = Mailing(mails, world.links)
        digests = Digests(scene.reads, scene.ledger(), mailing, 0.001, 0.05)
        assert await digests.send(users(), "daily", scene.now_ms) == {"delivered": 1}
        assert len(server.got) == 1


async def test_what_theirs_talk_about_is_pushed_to_those_who_want_it(scene: Scene) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    lonely = await scene.subscribed("lonely")
    others = [await world.register(name) for name in ("bob", "carol", "dora", "eve")]
    trends = TrendPushes(scene.router, scene.ledger())

    async def talk(text: str, minutes: int) -> None:
        at = STARTED_MS + minutes * 60_000
        scene.now_ms = at + 90_000
        for number, user in enumerate(others):
            tweet = post(compose(at, 2, number), user, text=f"{text} {number}x", created_at=at)
            await world.log.append(tweet)

    await talk("#before", 0)
    for user in (alice, lonely):
        path = "/api/notifications/preferences"
        await world.call(200, "PUT", path, {"push": {"trend": True}}, user=user)
    await trends.turn()  # the first router begins where things are
    for user in others[:2]:
        body = {"target_user_id": str(user)}
        await world.call(201, "POST", f"/api/users/{alice}/follow", body, user=alice)
    await talk("#Derby #Storm", 10)
    await trends.turn()
    await trends.turn()
    (pushed,) = scene.service.got
    assert pushed[0] == 0
    assert pushed[1]["title"] == "#derby and #storm are trending"
    assert pushed[1]["body"] == "2 of those whom you follow talk about #derby"
    assert pushed[1]["path"] == "/api/search?q=%23derby"
    assert scene.service.headers[0]["urgency"] == "normal"
    assert scene.router.counts == {"delivered": 1, "hidden": 1}
    await TrendPushes(scene.new_router(), scene.ledger()).turn()  # another router
    assert len(scene.service.got) == 1
    await talk("#old", 30)
    scene.now_ms += AGE_MAX_MS
    await trends.turn()
    assert len(scene.service.got) == 1
    assert scene.counted("notifications_total", kind="trend", outcome="late") == 2


async def test_trends_leave_room_for_what_concerns_one(scene: Scene) -> None:
    world, alice = scene.world, await scene.subscribed("alice")
    bob = await world.register("bob")
    await world.call(
        200, "PUT", "/api/notifications/preferences", {"push": {"trend": True}}, user=alice
    )
    numbers = count()

    async def message() -> Message:
        return Message(f"trend:{next(numbers)}", "#a is trending", "", "/", urgent=False)

    for _ in range(PUSHES_PER_HOUR):
        await scene.router.tell(alice, "trend", scene.now_ms, message)
    assert len(scene.service.got) == PUSHES_PER_HOUR - 2 * RESERVED
    await world.tweet(bob, "@alice")
    assert len(await scene.route()) == 1


async def test_a_digest_lists_what_is_new_and_unread(scene: Scene) -> None:
    world, alice = scene.world, await scene.world.register("alice")
    others = [await world.register(name) for name in ("bob", "carol", "dora", "eve")]
    own = await world.tweet(alice)
    for user in others:
        await world.call(201, "POST", f"/api/tweets/{own}/like", user=user)
    await world.tweet(others[0], "@alice hello #derby")
    for user in others:
        await world.tweet(user, "#derby")
    wanted = {"in_app": {"trend": True}}
    await world.call(200, "PUT", "/api/notifications/preferences", wanted, user=alice)
    everybody = [alice, *others]

    async def users() -> AsyncIterator[int]:
        for user in everybody:
            yield user

    async with mail_server() as server:
        mails = Smtp(Server(HOST, server.port, "news@example.com"))
        digests = Digests(scene.reads, scene.ledger(), Mailing(mails, world.links), 0.001)
        assert await digests.send(users(), "daily", scene.now_ms) == {"off": 5}
        switch = {"email": {"daily": True}}
        for user in (alice, others[0]):
            path = "/api/notifications/preferences"
            await world.call(200, "PUT", path, switch, user=user)
        await world.mailed_to(alice, "alice@example.com")
        server.replies = ["451 later"]
        counts = await digests.send(users(), "daily", scene.now_ms)
        assert counts == {"delivered": 1, "nowhere": 1, "off": 3}
        counts = await digests.send(users(), "daily", scene.now_ms)
        assert counts == {"repeated": 1, "nowhere": 1, "off": 3}
        (mail,) = server.got
        assert mail["subject"] == "3 new notifications"
        assert mail.get_content().splitlines()[:3] == [
            "- #derby is trending",
            "- @bob mentioned you",
            "- @eve, @dora and 2 others liked your tweet",
        ]
        stop = mail["list-unsubscribe"].strip("<>")
        assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        assert mail.get_content().splitlines()[-1].endswith(stop)
        tomorrow = scene.now_ms + 86_400_000 + 120_000  # a trend is known some time after it began
        counts = await digests.send(users(), "daily", tomorrow)
        assert counts == {"nothing": 1, "nowhere": 1, "off": 3}
        assert len(server.got) == 1
    path = stop.removeprefix("https://murmur.example")
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await world.send("POST", path, raw=b"List-Unsubscribe=One-Click", headers=form)
    assert answer.status == 200
    assert world.oracle.notifications.addressed(alice, "email") == []


async def test_an_address_is_confirmed_by_a_link_that_is_mailed_there(scene: Scene) -> None:
    world = scene.world
    alice, bob = await world.register("alice"), await world.register("bob")
    facts = world.oracle.notifications
    taken = 0

    async def propose(user: int, address: str) -> None:
        body = {"address": address}
        await world.call(200, "PUT", "/api/notifications/email", body, user=user)

    def said() -> list[LogRecord]:
        nonlocal taken
        new = world.log.events[taken:]
        taken += len(new)
        return [LogRecord("user-activity", 0, n, event) for n, event in enumerate(new)]

    async with mail_server() as server:
        mailing = Mailing(Smtp(Server(HOST, server.port, "news@example.com")), world.links)
        ledger = scene.ledger()
        confirmations = Confirmations(
            ledger, mailing, scene.metrics, clock=lambda: scene.now_ms, pause_seconds=0.001
        )
        await propose(alice, "alice@example.com")
        records = said()
        for _ in range(2):
            await confirmations.route(records)
        (mail,) = server.got
        assert (mail["to"], mail["subject"]) == ("alice@example.com", "Confirm your address")
        (line,) = [line for line in mail.get_content().splitlines() if line.startswith("https:")]
        assert facts.addressed(alice, "email") == []
        answer = await world.send("POST", line.removeprefix("https://murmur.example"))
        assert answer.status == 200
        assert facts.addressed(alice, "email") == [("alice@example.com", "", "")]
        for number in range(PER_HOUR):
            await propose(bob, f"{number}@example.com")
        await propose(alice, "1@example.com")  # counted for the address as well
        await propose(alice, "0@example.com")
        await confirmations.route(said())
        assert len(server.got) == 1 + PER_HOUR + 2
        await propose(bob, "more@example.com")
        await propose(alice, "more@example.com")
        await confirmations.route(said())
        assert len(server.got) == 1 + PER_HOUR + 2
        await propose(bob, "old@example.com")
        scene.now_ms += AGE_MAX_MS
        await confirmations.route(said())
    decided = "notifications_total"
    outcomes = [
        scene.counted(decided, kind="confirmation", outcome=one)
        for one in ("delivered", "repeated", "limited", "late")
    ]
    assert outcomes == [1 + PER_HOUR + 2, 1, 2, 1]
    quiet = Confirmations(ledger, None, scene.metrics, clock=lambda: scene.now_ms)
    await quiet.route(records)
    assert scene.counted(decided, kind="confirmation", outcome="nowhere") == 1
