"""What can happen in the log: acts of a few people, drawn as small numbers, made into events.

An act is a kind and numbers that pick who and what; a number picks among what there is by then,
so that every sequence of acts means something and a shorter one still does. The log may hold what
a command would refuse (an act about oneself, a stranger's deletion, a name that is taken): what it
means is the oracle's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
    NotificationsRead,
    Place,
    PreferencesChanged,
    ProfileChanged,
    TimelineOpened,
    TweetBookmarked,
    TweetDeleted,
    TweetLiked,
    TweetPinned,
    TweetPosted,
    TweetUnbookmarked,
    TweetUnliked,
    TweetUnpinned,
    TweetViewed,
    UserBlocked,
    UserDeactivated,
    UserErased,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UsernameReleased,
    UserReactivated,
    UserRegistered,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)

PEOPLE = 5
FIRST_USER = 1 << 60
"""Ids as long as real ones: they exceed what a double holds."""

FIRST_EVENT = 1 << 61
STEP = 1 << 12
BASE_BITS = 24
"""Bits of the ids of one run."""

PLACE = Place(44418, 23424975)
LATE_MS = 3_000
"""By so much a producer that was held up is too late for trends."""


class Act(NamedTuple):
    """One act: a kind of ``KINDS``, and what it picks."""

    kind: str
    who: int
    whom: int
    what: int
    odd: int


class Append(Protocol):
    """Appends an event."""

    def __call__(self, event: Event, gap: int = 0, *, garbled: bool = False) -> None: ...


class Life:
    """Makes events of acts.

    Args:
        append: Appends an event to the log, after so many offsets without a record; ``garbled`` if
            nobody is to be able to read it.
        now_ms: The log's time.
        base: Added to all ids, and part of all names.
    """

    def __init__(self, append: Append, now_ms: Callable[[], int], base: int = 0) -> None:
        self._append = append
        self.now_ms = now_ms
        self._garbles = False
        self._minted = 0
        self._gap = 0
        self._late = 0
        self._base = base
        self._tag = f"{base >> BASE_BITS:x}" if base else ""
        self.people = [FIRST_USER + base + 7919 * number for number in range(PEOPLE)]
        self.posts: list[TweetPosted] = []
        self.lists: list[tuple[int, int]] = []
        self.said: list[Event] = []

    def act(self, act: Act) -> None:
        """Does one act; one that needs something that is not there yet does nothing."""
        self._gap = int(act.odd % 5 == 4)
        self._garbles = act.kind == "garble"
        kind = GARBLED[act.what % len(GARBLED)] if self._garbles else act.kind
        _ACTS[kind](self, act)
        self._garbles = False

    def say(self, kind: type[Event], **fields: Any) -> int:
        """Appends an event of that kind; returns its id."""
        event_id = fields.pop("event_id", 0) or self.mint(0)
        event = kind(event_id=event_id, occurred_at=self._minted, **fields)
        self.said.append(event)
        self._append(event, self._gap, garbled=self._garbles)
        return event_id

    def repeat(self, number: int) -> None:
        """Appends what was said before anew, the last by 0: a producer's duplicate."""
        if self.said:
            self._append(self.said[-1 - number % len(self.said)], self._gap)

    def mint(self, odd: int) -> int:
        """Returns an id: the highest yet or, by ``odd``, of a producer that was held up a while."""
        if odd % 8 == 7:
            self._late += 1
            return FIRST_EVENT + self._base + max(0, self._minted - odd // 8) * STEP + self._late
        self._minted += 1
        return FIRST_EVENT + self._base + self._minted * STEP

    def user(self, number: int) -> int:
        return self.people[number % PEOPLE]

    def name(self, user: int) -> str:
        return f"User{self.people.index(user)}{self._tag}"

    def word(self, number: int) -> str:
        """Returns a word that nobody says outside of this run."""
        return f"{number}x{self._tag}" if self._tag else f"{number}"

    def post_of(self, number: int) -> TweetPosted | None:
        """Returns a post, the newest by 0."""
        return self.posts[-1 - number % len(self.posts)] if self.posts else None


def _register(life: Life, act: Act) -> None:
    user = life.user(act.who)
    name = life.name(user)
    life.say(UsernameClaimed, username_key=name.casefold(), username=name, user_id=user)
    life.say(
        UserRegistered, user_id=user, username=name, name=f"N{act.what}", created_at=1, url="u"
    )


def _tweet(life: Life, act: Act, **fields: Any) -> None:
    user, tweet_id = life.user(act.who), life.mint(act.odd)
    text = "" if "retweet_of_id" in fields else f"{life.word(act.what)} #Tag{act.what % 2}"
    if act.whom % 3 == 0 and text:
        text += f" @{life.name(life.user(act.whom)).lower()}!"
    if act.whom % 2:
        fields["place"] = PLACE
    fields.setdefault("conversation_id", tweet_id)
    life.say(
        TweetPosted,
        event_id=tweet_id,
        tweet_id=tweet_id,
        user_id=user,
        text=text,
        created_at=life.now_ms() - LATE_MS * (act.odd % 8 == 7),
        **fields,
    )
    event = life.said[-1]
    assert isinstance(event, TweetPosted)
    life.posts.append(event)


def _reply(life: Life, act: Act) -> None:
    to = life.post_of(act.what)
    if to is not None and to.retweet_of_id is None:
        _tweet(
            life,
            act,
            reply_to_id=to.tweet_id,
            reply_to_user_id=to.user_id,
            conversation_id=to.conversation_id,
        )


def _quote(life: Life, act: Act) -> None:
    of = life.post_of(act.what)
    if of is not None and of.retweet_of_id is None:
        _tweet(life, act, quote_of_id=of.tweet_id, quote_of_user_id=of.user_id)


def _retweet(life: Life, act: Act) -> None:
    of = life.post_of(act.what)
    if of is not None and of.retweet_of_id is None:
        _tweet(life, act, retweet_of_id=of.tweet_id, retweet_of_user_id=of.user_id)


def _delete(life: Life, act: Act) -> None:
    post = life.post_of(act.what)
    if post is not None:
        stranger = life.user(act.who) if act.odd % 6 == 5 else post.user_id
        life.say(
            TweetDeleted,
            tweet_id=post.tweet_id,
            user_id=stranger,
            reply_to_id=post.reply_to_id,
            reply_to_user_id=post.reply_to_user_id,
            quote_of_id=post.quote_of_id,
            quote_of_user_id=post.quote_of_user_id,
            retweet_of_id=post.retweet_of_id,
            retweet_of_user_id=post.retweet_of_user_id,
        )


def _about_tweet(kind: type[Event], *, author: bool = False) -> Callable[[Life, Act], None]:
    def act_out(life: Life, act: Act) -> None:
        post = life.post_of(act.what)
        if post is not None:
            fields = {"tweet_author_id": post.user_id} if author else {}
            life.say(
                kind,
                event_id=life.mint(act.odd),
                tweet_id=post.tweet_id,
                user_id=life.user(act.who),
                **fields,
            )

    return act_out


def _about_user(kind: type[Event]) -> Callable[[Life, Act], None]:
    def act_out(life: Life, act: Act) -> None:
        user, target = life.user(act.who), life.user(act.whom)
        life.say(kind, event_id=life.mint(act.odd), user_id=user, target_user_id=target)

    return act_out


def _about_oneself(kind: type[Event]) -> Callable[[Life, Act], None]:
    return lambda life, act: _ignored(life.say(kind, user_id=life.user(act.who)))


def _ignored(_event_id: int) -> None:
    """Who acts about himself picks nothing."""


def _profile(life: Life, act: Act) -> None:
    field = ("name", "description", "location", "url", "profile_image_url")[act.what % 5]
    life.say(ProfileChanged, user_id=life.user(act.who), **{field: f"new {act.whom}"})


def _claim(life: Life, act: Act) -> None:
    name = life.name(life.user(act.whom))
    kind = UsernameReleased if act.odd % 3 else UsernameClaimed
    fields = {} if act.odd % 3 else {"username": name.upper()}
    life.say(kind, username_key=name.casefold(), user_id=life.user(act.who), **fields)


def _list(life: Life, act: Act) -> None:
    list_id, owner = life.mint(0), life.user(act.who)
    life.say(
        ListCreated,
        event_id=list_id,
        list_id=list_id,
        user_id=owner,
        name=f"L{act.what}",
        description="",
        private=act.odd % 3 == 2,
    )
    life.lists.append((list_id, owner))


def _about_list(life: Life, act: Act) -> None:
    if not life.lists:
        return
    list_id, owner = life.lists[act.what % len(life.lists)]
    who = life.user(act.who) if act.odd % 6 == 5 else owner
    said = {"list_id": list_id, "user_id": who}
    match act.what // 4 % 4:
        case 0:
            life.say(ListChanged, **said, private=act.whom % 2 == 0)
        case 1:
            life.say(ListChanged, **said, name=f"other {act.whom}")
        case 2 if act.odd % 4 == 3:
            life.say(ListDeleted, **said)
        case 2:
            life.say(ListMemberRemoved, **said, member_id=life.user(act.whom))
        case _:
            life.say(ListMemberAdded, **said, member_id=life.user(act.whom))


def _enlist(life: Life, act: Act) -> None:
    if life.lists:
        list_id, owner = life.lists[act.what % len(life.lists)]
        life.say(ListMemberAdded, list_id=list_id, user_id=owner, member_id=life.user(act.whom))


def _read(life: Life, act: Act) -> None:
    life.say(NotificationsRead, user_id=life.user(act.who), up_to_id=life.mint(act.odd))


def _prefer(life: Life, act: Act) -> None:
    name = ("in_app.like", "in_app.mention", "push.trend", "in_app.trend")[act.what % 4]
    preferences = {name: act.whom % 2 == 0}
    life.say(PreferencesChanged, user_id=life.user(act.who), preferences=preferences)


def _again(life: Life, act: Act) -> None:
    life.repeat(act.what)


_ACTS: dict[str, Callable[[Life, Act], None]] = {
    "tweet": _tweet,
    "follow": _about_user(UserFollowed),
    "like": _about_tweet(TweetLiked, author=True),
    "retweet": _retweet,
    "reply": _reply,
    "delete": _delete,
    "unfollow": _about_user(UserUnfollowed),
    "unlike": _about_tweet(TweetUnliked, author=True),
    "block": _about_user(UserBlocked),
    "unblock": _about_user(UserUnblocked),
    "mute": _about_user(UserMuted),
    "unmute": _about_user(UserUnmuted),
    "again": _again,
    "quote": _quote,
    "view": _about_tweet(TweetViewed),
    "deactivate": _about_oneself(UserDeactivated),
    "reactivate": _about_oneself(UserReactivated),
    "erase": _about_oneself(UserErased),
    "register": _register,
    "profile": _profile,
    "claim": _claim,
    "pin": _about_tweet(TweetPinned),
    "unpin": _about_oneself(TweetUnpinned),
    "list": _list,
    "enlist": _enlist,
    "about list": _about_list,
    "bookmark": _about_tweet(TweetBookmarked),
    "unbookmark": _about_tweet(TweetUnbookmarked),
    "open": _about_oneself(TimelineOpened),
    "read": _read,
    "prefer": _prefer,
}

KINDS = (*_ACTS, "garble")
GARBLED = (
    *("tweet", "like", "follow", "retweet", "view", "reply", "unlike", "delete"),
    *("block", "register", "claim", "quote", "unfollow", "about list", "bookmark", "erase"),
)
"""What a producer says so that nobody can read it, by its ``what``."""

OFTEN = ("tweet", "follow", "like", "retweet", "reply", "delete", "unfollow")
"""Kinds that most of the rest is about."""
