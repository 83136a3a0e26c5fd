"""What the system and its operators say: topics ``fan-out``, ``redrive`` and ``audit``."""

from __future__ import annotations

from events.kinds.base import Event, Id, Int32, Name, Offset


class FanOutChunk(Event, frozen=True, kw_only=True):
    """A tweet is to be delivered to the followers of a range of ids, both ends included.

    Without ``last_follower_id`` the range has no end. ``generation`` is whose chunk it is: each
    generation of the unit cuts its own (None: the first).
    """

    tweet_id: Id
    author_id: Id
    first_follower_id: Id
    last_follower_id: Id | None = None
    generation: Name | None = None


class BackfillChunk(Event, frozen=True, kw_only=True):
    """An author's recent tweets are to be added to the timelines of a range of followers."""

    author_id: Id
    first_follower_id: Id
    last_follower_id: Id | None = None
    generation: Name | None = None


class RedriveRequested(Event, frozen=True, kw_only=True):
    """An operator sends a dead letter back to one unit.

    ``payload``, when given, replaces the original bytes. Of several decisions with one ``attempt``
    the first counts; a higher attempt says that those below it failed.
    """

    unit: Name
    topic: Name
    partition: Int32
    offset: Offset
    payload: bytes | None = None
    attempt: Int32 = 1
    actor: str = ""
    reason: str = ""


class LetterDiscarded(Event, frozen=True, kw_only=True):
    """An operator decides that a unit does without the record of a dead letter."""

    unit: Name
    topic: Name
    partition: Int32
    offset: Offset
    attempt: Int32 = 1
    actor: str = ""
    reason: str = ""


class OperatorActed(Event, frozen=True, kw_only=True):
    """An engineer did something to the running system."""

    actor: Name
    action: Name
    unit: str | None = None
    generation: str | None = None
    detail: str
