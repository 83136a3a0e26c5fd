"""The notifications unit under the contract: inboxes, names, counts and settings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

from events.types import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    Event,
    NotificationsRead,
    PreferencesChanged,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from projections.base import Unit
from projections.listing import NEWEST
from projections.notifications.layout import Group, Shape, of_name
from projections.notifications.read import NotificationsReader
from projections.notifications.unit import Notifications, addressees
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord
from tests.oracle_notifications import NotificationFacts
from tests.posts import post

PARTITIONS = 3
USERS = 6
STEPS = 130
SHAPE = Shape(span_bits=5, period_bits=7)  # a reader goes through many spans and stretches
LIMIT = 3


class NotificationsCase(UnitCase):
    """Likes, follows and retweets to and fro, also by liars; tweets that speak to people."""

    name = "notifications"

    def unit(self, world: World) -> Unit:
        return Notifications(world.bus, world.store, world.keys(self.name), SHAPE)

    def reader(self, world: World) -> NotificationsReader:
        """Returns a reader that needs many steps."""
        keys = world.keys(self.name)
        return NotificationsReader(
            world.bus, world.store, keys, SHAPE, head_max=4, spans_max=2, acts_max=2
        )

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        ids = count(base + 10_000, 3)
        posted: list[TweetPosted] = []
        for _ in range(STEPS):
            event, topic, key = _said(rng, next(ids), base, posted)
            log.append(topic, key % PARTITIONS, event)
            if rng.random() < 0.15:  # a producer's retry
                log.append(topic, key % PARTITIONS, event)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        reader = self.reader(world)
        base = _base(history)
        found: dict[Any, Any] = {}
        for user in _users(history):
            name = _name(user - base, base)
            found[user] = await self._inbox(reader, user, name)
            settings = await reader.settings(user)
            found["settings", user] = settings.read_up_to, settings.preferences
            addresses = await reader.addresses(user, "web-push")
            found["addresses", user] = [(one.address, one.p256dh, one.auth) for one in addresses]
            proposal = await reader.proposed(user, "web-push")
            found["proposal", user] = proposal and (proposal.event_id, proposal.address)
        users = {*_users(history)}
        takers = [user async for user in reader.takers("push.trend") if user in users]
        return found | {"takers": sorted(takers)}

    async def _inbox(self, reader: NotificationsReader, user: int, name: str) -> Any:
        tweets: list[int] = []
        groups: list[tuple[Any, ...]] = []
        below = NEWEST
        while below:
            part = await reader.part(user, [of_name(name)], below, LIMIT)
            assert part.floor < below
            tweets += part.tweets
            at_top = {(acts.acts[0].at if acts.acts else 0): acts for acts in part.groups}
            for at, acts in sorted(at_top.items(), reverse=True):
                if part.floor <= at < below and at:
                    group = Group(acts.kind, user, acts.subject)
                    groups.append((acts.kind, acts.subject, await _acts(reader, group)))
            below = part.floor
        every = [Group(kind, user, subject) for kind, subject, _ in groups]
        hidden = [user + 1, user + 2]
        counts = await reader.counts(every, [])
        fewer = await reader.counts(every, hidden)
        return {
            "tweets": tweets,
            "groups": groups,
            "counts": [counts[group] for group in every],
            "without": [fewer[group] for group in every],
        }

    def expected(self, history: list[LogRecord]) -> Any:
        facts = NotificationFacts(history)
        base = _base(history)
        found: dict[Any, Any] = {}
        for user in _users(history):
            sought = {user, of_name(_name(user - base, base))}
            groups = sorted(
                facts.groups(user, SHAPE.period_bits).items(),
                key=lambda one: one[1][0].at,
                reverse=True,
            )
            found[user] = {
                "tweets": sorted(
                    {post.tweet_id for post in _posts(history) if sought & {*addressees(post)}},
                    reverse=True,
                ),
                "groups": [(*key, [tuple(act) for act in acts]) for key, acts in groups],
                "counts": [len(acts) for _, acts in groups],
                "without": [
                    sum(act.user_id not in (user + 1, user + 2) for act in acts)
                    for _, acts in groups
                ],
            }
            found["settings", user] = facts.read[user], facts.preferences[user]
            found["addresses", user] = facts.addressed(user, "web-push")
            found["proposal", user] = facts.proposals.get((user, "web-push"))
        found["takers"] = [
            user for user in _users(history) if facts.preferences[user].get("push.trend")
        ]
        return found

    async def size(self, world: World, history: list[LogRecord]) -> int:
        total = 0
        for group in _groups(history):
            for table in ("acts_told", "acts_by", "act_counts"):
                rows = await world.store.execute(
                    f"SELECT act_group FROM {{{table}}} WHERE act_group = ?", (group,)
                )
                total += len(rows)
        return total

    def size_max(self, history: list[LogRecord]) -> int:
        """Two rows for each act and group, and a register for each partition of one."""
        acts: set[tuple[Any, ...]] = set()
        for record in history:
            event: Any = record.event
            acts.add((record.topic, event.event_id, getattr(event, "user_id", 0)))
        return 2 * len(acts) + len(_groups(history)) * PARTITIONS


async def _acts(reader: NotificationsReader, group: Group) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    below = NEWEST
    while below:
        acts, below = await reader.acts(group, below, 2)
        found += [(act.at, act.user_id) for act in acts]
    return found


def _posts(history: list[LogRecord]) -> Iterator[TweetPosted]:
    for record in history:
        if isinstance(record.event, TweetPosted) and not record.event.retweet_of_id:
            yield record.event


def _base(history: list[LogRecord]) -> int:
    return min(_users(history)) >> 20 << 20


def _users(history: list[LogRecord]) -> list[int]:
    return sorted({record.event.user_id for record in history})  # type: ignore[attr-defined]


def _groups(history: list[LogRecord]) -> set[str]:
    facts = NotificationFacts(history)
    return {
        Group(kind, user, subject).name
        for user in _users(history)
        for kind, subject in facts.groups(user, SHAPE.period_bits)
    }


def _name(number: int, base: int) -> str:
    """A name that no other test's history knows."""
    rest, digits = base >> 20, ""
    while rest:
        rest, digit = divmod(rest, 36)
        digits += "0123456789abcdefghijklmnopqrstuvwxyz"[digit]
    return f"N{number}{digits}"


def _said(
    rng: Random, event_id: int, base: int, posted: list[TweetPosted]
) -> tuple[Event, str, int]:
    """Something that somebody says; its topic and its key."""
    user, other = (base + rng.randrange(USERS) for _ in range(2))
    about: dict[str, Any] = {"event_id": event_id, "occurred_at": 1, "user_id": user}
    kind = rng.choices(
        ("post", "like", "unlike", "follow", "unfollow", "delete", "read", "prefer", "reach"),
        (6, 6, 3, 4, 2, 2, 1, 1, 2),
    )[0]
    if kind in ("like", "unlike", "delete") and not posted:
        kind = "post"
    match kind:
        case "post":
            event = _post(rng, event_id, user, base, posted)
            posted.append(event)
            return event, "new-tweets", event.user_id
        case "delete":
            gone = rng.choice(posted)
            who = gone.user_id if rng.random() < 0.8 else user
            return (
                TweetDeleted(**about | {"user_id": who}, tweet_id=gone.tweet_id),
                "new-tweets",
                who,
            )
        case "like" | "unlike":
            tweet = rng.choice(posted[-8:])
            author = tweet.user_id if rng.random() < 0.9 else other  # a liar names another
            made = TweetLiked if kind == "like" else TweetUnliked
            said = made(**about, tweet_id=tweet.tweet_id, tweet_author_id=author)
            return said, "engagements", tweet.tweet_id
        case "follow" | "unfollow":
            graph = UserFollowed if kind == "follow" else UserUnfollowed
            return graph(**about, target_user_id=other), "social-graph", user
        case "read":
            up_to = event_id - rng.randrange(60)
            return NotificationsRead(**about, up_to_id=up_to), "user-activity", user
        case "reach":
            where: dict[str, Any] = {
                "channel": "web-push",
                "address": f"https://push/{rng.randrange(2)}",
            }
            if rng.random() < 0.6:
                keys: dict[str, Any] = {"p256dh": f"key {rng.randrange(3)}", "auth": "secret"}
                return DeliveryAddressAdded(**about, **where, **keys), "user-activity", user
            kinds = (DeliveryAddressRemoved, DeliveryAddressProposed)
            return rng.choice(kinds)(**about, **where), "user-activity", user
    name = rng.choice(("in_app.like", "push.mention", "push.trend", "push.trend"))
    preferences = {name: rng.random() < 0.5}
    return PreferencesChanged(**about, preferences=preferences), "user-activity", user


def _post(
    rng: Random, tweet_id: int, user: int, base: int, posted: list[TweetPosted]
) -> TweetPosted:
    text = " ".join(f"@{_name(rng.randrange(USERS), base)}" for _ in range(rng.randrange(3)))
    if not posted:
        return post(tweet_id, user, text=text)
    other = rng.choice(posted[-6:])
    if rng.random() < 0.1:  # the same id once more, of the same author: the first counts
        tweet_id, user = other.tweet_id, other.user_id
    kind = rng.choices(("plain", "reply_to", "quote_of", "retweet_of"), (2, 2, 1, 4))[0]
    if kind == "plain":
        return post(tweet_id, user, text=text)
    fields: dict[str, Any] = {f"{kind}_id": other.tweet_id, f"{kind}_user_id": other.user_id}
    return post(tweet_id, user, text="" if kind == "retweet_of" else text, **fields)
