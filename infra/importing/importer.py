"""Appending an X export to the log.

Steps
1. Survey: one pass over every file; a damaged export is refused before anything is appended.
   Then wait until the read models have caught up with the log.
2. The owner claims the username and registers, unless registered here before.
3. Tweets, follows, blocks, mutes and likes are appended in batches of `BATCH`.

Keeps true: importing again adds nothing. A tweet that the read model knows, deleted or not, is not
appended. A follow, block, mute or like may have been taken back here, so it is appended under an
idempotency key that is kept for ever, with the same bytes each time. Nothing is changed or taken
away: what was deleted or undone here stays so, and a profile edited here stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol

import msgspec

from events.errors import KeyReused
from events.types import Event
from infra.importing.archive import Archive
from infra.importing.convert import (
    blocked,
    followed,
    key_of_fact,
    liked,
    muted,
    posted,
    registration,
)
from infra.importing.errors import NameTaken
from infra.importing.items import Skip, liked_tweet, other_account, tweet
from infra.importing.survey import Survey

BATCH = 500
CLAIM_WAIT_S = 15.0
CLAIM_POLL_S = 0.05


class Sink(Protocol):
    """The log, as far as an import needs it."""

    async def append(self, event: Event, key: str | None) -> bool:
        """Append an event, once for its idempotency key; false when it was there before."""
        ...


class Directory(Protocol):
    """What is known here already."""

    async def catch_up(self) -> None:
        """Wait until it knows all that is in the log now.

        Raises:
            BehindTheLog: It took too long.
        """
        ...

    async def holder(self, username: str) -> int | None:
        """The user who holds a name."""
        ...

    async def registered(self, user_id: int) -> bool:
        """Whether the user has a profile."""
        ...

    async def authors(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        """Author by id, of those tweets that are known."""
        ...


class Tally(msgspec.Struct):
    """What became of the items of one kind of data.

    Attributes:
        read: Items in the export.
        appended: Events that are new in the log.
        already_here: Items that were imported before.
        skipped: Items left out, by reason.
        refused: Items whose id belongs to something else here, by reason.
    """

    read: int = 0
    appended: int = 0
    already_here: int = 0
    skipped: dict[str, int] = {}
    refused: dict[str, int] = {}

    def add(self, new: bool) -> None:
        """Count an item that is in the log now, new or not."""
        if new:
            self.appended += 1
        else:
            self.already_here += 1

    def skip(self, reason: str) -> None:
        """Count an item left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def refuse(self, reason: str) -> None:
        """Count an item refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Fact(msgspec.Struct, frozen=True):
    """An event on its way into the log, with its idempotency key if it needs one."""

    event: Event
    key: str | None


Convert = Callable[[Any], Fact]
Progress = Callable[[int], None]


class Importer:
    """One import of one export.

    Args:
        archive: The opened export.
        log: Where events go; None for a dry run, which converts all and appends nothing.
        directory: What is known here; None for a dry run.
        retweets_as_text: Keep retweets as tweets that begin with ``RT @name:``.

    Attributes:
        tallies: Counts by kind of data.

    Raises:
        BrokenArchive, NotAnArchive: See `Survey`.
    """

    def __init__(
        self,
        archive: Archive,
        log: Sink | None,
        directory: Directory | None,
        *,
        retweets_as_text: bool = False,
    ) -> None:
        self.survey = Survey(archive, retweets_as_text)
        self.tallies: dict[str, Tally] = {}
        self._archive = archive
        self._log = log
        self._directory = directory
        self._retweets_as_text = retweets_as_text

    async def run(self, progress: Progress = lambda items: None) -> None:
        """Import everything.

        Args:
            progress: Called with the number of items just done.

        Raises:
            NameTaken: The username belongs to somebody else here.
            BehindTheLog: The read models do not catch up with the log.
            BrokenArchive: A file was damaged since the survey.
            EventsError: The log does not take an event; importing again goes on where it ended.
        """
        if self._directory is not None:
            await self._directory.catch_up()
        await self._register()
        me = self.survey.account.user_id
        kinds: dict[str, Convert] = {
            "tweets": self._tweet,
            "following": lambda item: _edge("follow", me, other_account(item, "following")),
            "follower": lambda item: _edge("follow", other_account(item, "follower"), me),
            "block": lambda item: _edge("block", me, other_account(item, "blocking")),
            "mute": lambda item: _edge("mute", me, other_account(item, "muting")),
        }
        for kind, convert in kinds.items():
            await self._import(kind, convert, progress)
        await self._import_likes(progress)

    # --- 2. the owner ---

    async def _register(self) -> None:
        account = self.survey.account
        tally = self.tallies["account"] = Tally(read=1)
        if self._log is None or self._directory is None:
            tally.appended = 1
            return
        if await self._directory.registered(account.user_id):
            tally.already_here = 1
            return
        claim, registered = registration(account)
        if await self._directory.holder(account.username) is None:
            await self._log.append(claim, key_of_fact("claim", account.user_id))
        holder = await self._holder_of(account.username)
        if holder != account.user_id:
            raise NameTaken(
                f"the name @{account.username} belongs to user {holder} here; "
                "nothing was imported. It can be imported once that user gives the name up"
            )
        tally.add(await self._log.append(registered, key_of_fact("register", account.user_id)))

    async def _holder_of(self, username: str) -> int:
        if self._directory is None:
            raise RuntimeError("a dry run claims no name")
        try:
            async with asyncio.timeout(CLAIM_WAIT_S):
                while True:
                    holder = await self._directory.holder(username)
                    if holder is not None:
                        return holder
                    await asyncio.sleep(CLAIM_POLL_S)
        except TimeoutError:
            raise NameTaken(
                f"the claim of @{username} was not applied within {CLAIM_WAIT_S:.0f} s; "
                "see that `murmur worker accounts` runs, then import again"
            ) from None

    # --- 3. items ---

    def _tweet(self, item: Any) -> Fact:
        found = tweet(item, self._retweets_as_text)
        if self.survey.superseded(found):
            raise Skip("earlier_version_of_an_edited_tweet")
        event = posted(found, self.survey.account, self.survey.conversation(found))
        return Fact(event, None)

    async def _import(self, kind: str, convert: Convert, progress: Progress) -> None:
        tally = self.tallies[kind] = Tally()
        items = self._archive.items(kind)
        while batch := list(islice(items, BATCH)):
            facts = list(_converted(batch, convert, tally))
            if kind == "tweets":
                facts = await self._unknown(facts, tally)
            await self._append(facts, tally)
            progress(len(batch))

    async def _unknown(self, facts: list[Fact], tally: Tally) -> list[Fact]:
        """Those tweets that are not here yet; one with another author is refused."""
        if self._directory is None:
            return facts
        authors = await self._directory.authors([fact.event.event_id for fact in facts])
        unknown = []
        for fact in facts:
            author = authors.get(fact.event.event_id)
            if author is None:
                unknown.append(fact)
            elif author == self.survey.account.user_id:
                tally.already_here += 1
            else:
                tally.refuse("id_of_another_author")
        return unknown

    async def _append(self, facts: list[Fact], tally: Tally) -> None:
        if self._log is None:
            tally.appended += len(facts)
            return
        outcomes = await asyncio.gather(
            *(self._log.append(fact.event, fact.key) for fact in facts),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, KeyReused):
                tally.refuse("other_content_under_this_id")
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                tally.add(outcome)

    async def _import_likes(self, progress: Progress) -> None:
        tally = self.tallies["like"] = Tally()
        items = self._archive.items("like")
        while batch := list(islice(items, BATCH)):
            ids = [tweet_id for item in batch if (tweet_id := _liked(item)) is not None]
            authors = dict(await self._directory.authors(ids)) if self._directory else {}
            await self._append(list(_converted(batch, partial(self._like, authors), tally)), tally)
            progress(len(batch))

    def _like(self, authors: Mapping[int, int], item: Any) -> Fact:
        """A like of a tweet that is here; the export does not say whose the others are."""
        me, tweet_id = self.survey.account.user_id, liked_tweet(item)
        author = me if self.survey.has_tweet(tweet_id) else authors.get(tweet_id)
        if author is None:
            raise Skip("liked_tweet_is_not_here")
        return Fact(liked(me, tweet_id, author), key_of_fact("like", me, tweet_id))


def _edge(kind: str, user: int, target: int) -> Fact:
    if user == target:
        raise Skip("about_oneself")
    event = {"follow": followed, "block": blocked, "mute": muted}[kind](user, target)
    return Fact(event, key_of_fact(kind, user, target))


def _converted(batch: list[Any], convert: Convert, tally: Tally) -> Iterator[Fact]:
    for item in batch:
        tally.read += 1
        try:
            yield convert(item)
        except Skip as skip:
            tally.skip(skip.reason)


def _liked(item: Any) -> int | None:
    try:
        return liked_tweet(item)
    except Skip:
        return None  # counted when it is converted
