"""Dead letters and what was decided about them, as the topics ``dead-letters`` and ``redrive`` say.

A letter is listed once for each (unit, topic, partition, offset), however often it is in the topic:
a failed append is repeated, and every generation buries what it cannot apply. Its state follows
from the two topics and from how far its unit has come, and is kept nowhere else:

- *open*: nothing was decided since it was tried last;
- *redriven*: sent back, and the unit has not come to that place in ``redrive`` yet;
- *applied*: sent back, the unit is past that place, and did not bury it again;
- *discarded*: the unit does without it.

Of several decisions about one letter the first with the highest attempt counts, as for the workers
(``streams.decisions``); the others are shown and have no effect.

Bounded by: ``BURIALS_MAX`` burials of a letter that are told apart, and ``LETTERS_MAX`` letters,
about 1 KB each; those above it are counted as open and not listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from events.position import Position
from events.ranges import Raw
from events.types import Event, LetterDiscarded, RedriveRequested

BURIALS_MAX = 20
LETTERS_MAX = 200_000

State = Literal["open", "redriven", "applied", "discarded"]
STATES: tuple[State, ...] = ("open", "redriven", "applied", "discarded")

Decision = RedriveRequested | LetterDiscarded

_ID = re.compile(
    r"(?P<unit>[a-z-]{1,40}):(?P<topic>[a-z-]{1,80})[:/](?P<partition>[0-9]{1,9})[:@]"
    r"(?P<offset>[0-9]{1,18})"
)


class LetterId(NamedTuple):
    """What a letter is about: a record, and the unit that gave it up."""

    unit: str
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.unit}:{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Reads ``timelines:new-tweets:3:1234``, or ``timelines:new-tweets/3@1234``.

        Raises:
            ValueError: The text is neither.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(
                f"not a dead letter: {text!r:.80}; one is named like timelines:new-tweets:3:1234"
            )
        return cls(match["unit"], match["topic"], int(match["partition"]), int(match["offset"]))


class Burial(msgspec.Struct, frozen=True):
    """One time that the record was given up.

    Attributes:
        partition: Of ``dead-letters``.
        offset: In it.
        at: When, milliseconds since the Unix epoch.
        attempt: The how many-th try it was.
        reason: ``undecodable``, ``refused`` or ``missing``.
        detail: The error in words.
        group: Consumer group of who gave up, which names the generation.
    """

    partition: int
    offset: int
    at: int
    attempt: int
    reason: str
    detail: str
    group: str


class Ruling(msgspec.Struct, frozen=True):
    """One decision about a letter.

    Attributes:
        kind: ``redrive`` or ``discard``.
        partition: Of ``redrive``.
        offset: In it.
        at: When, milliseconds since the Unix epoch.
        attempt: Tries before it, as the one who decided knew them.
        actor: Who decided.
        reason: Why.
        edited: Whether other bytes than the original ones are sent.
    """

    kind: Literal["redrive", "discard"]
    partition: int
    offset: int
    at: int
    attempt: int
    actor: str
    reason: str
    edited: bool


class Letter(msgspec.Struct):
    """One letter, with all that happened to it.

    Attributes:
        id: What it is about.
        key: The record's key.
        value: Its bytes, as they were tried first; None where the letter does not carry them.
        left_out_bytes: Size of a value that is too large for a letter; it is in the log.
        appended_at: When the record was appended to its topic, milliseconds.
        headers: The record's own.
        burials: The first and the last ``BURIALS_MAX - 1``.
        rulings: All decisions, in the order of the log.
    """

    id: LetterId
    key: bytes | None
    value: bytes | None
    left_out_bytes: int
    appended_at: int
    headers: list[tuple[str, bytes]]
    burials: list[Burial]
    rulings: list[Ruling]

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return max(burial.attempt for burial in self.burials)

    @property
    def buried_at(self) -> int:
        """When it was first given up, milliseconds."""
        return self.burials[0].at

    @property
    def counting(self) -> Ruling | None:
        """The decision that counts."""
        return max(self.rulings, key=lambda ruling: ruling.attempt, default=None)

    @property
    def next_attempt(self) -> int:
        """Attempt of the next decision, so that it counts."""
        ruling = self.counting
        above = ruling.attempt + 1 if ruling is not None and ruling.kind == "discard" else 0
        return max(self.attempts, above)

    def state(self, applied: Mapping[str, int]) -> State:
        """Returns the state.

        Args:
            applied: The unit's positions by ``topic/partition``.
        """
        ruling = self.counting
        if ruling is None or ruling.attempt < self.attempts:
            return "open"
        if ruling.kind == "discard":
            return "discarded"
        passed = applied.get(f"redrive/{ruling.partition}", 0) > ruling.offset
        return "applied" if passed else "redriven"


class LetterError(Exception):
    """What was asked for cannot be; the message says what can."""


class Wanted(msgspec.Struct, frozen=True):
    """Which letters.

    Attributes:
        unit: Of this unit.
        topic: From this topic.
        reason: ``undecodable``, ``refused`` or ``missing``.
        states: In one of these states; empty for any.
        since: Buried at or after, milliseconds since the Unix epoch.
        until: Buried before.
    """

    unit: str | None = None
    topic: str | None = None
    reason: str | None = None
    states: frozenset[State] = frozenset({"open"})
    since: int = 0
    until: int = (1 << 63) - 1

    def takes(self, letter: Letter, state: State) -> bool:
        """Says whether a letter in that state is wanted."""
        return (
            self.unit in (None, letter.id.unit)
            and self.topic in (None, letter.id.topic)
            and self.reason in (None, letter.burials[-1].reason)
            and (not self.states or state in self.states)
            and self.since <= letter.buried_at < self.until
        )


class Shown(msgspec.Struct, frozen=True):
    """A letter, its state, and what its bytes say to this process.

    Attributes:
        letter: The letter.
        state: Its state now.
        value: The record's bytes, from the letter or else from the log; None for a tombstone, or
            where the log does not hold it any more.
        event: What they say, where they can be decoded now.
        error: Why they cannot.
    """

    letter: Letter
    state: State
    value: bytes | None
    event: Event | None
    error: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of one letter of a decision.

    Attributes:
        id: The letter.
        position: Where the decision is in ``redrive``; None where none was made.
        why: Why none was made.
    """

    id: LetterId
    position: Position | None
    why: str = ""


class Book:
    """Every letter, folded from both topics; each partition is added in order."""

    def __init__(self) -> None:
        self._letters: dict[LetterId, Letter] = {}
        self._early: dict[LetterId, list[Ruling]] = {}
        self.not_listed = 0
        """Letters above ``LETTERS_MAX``."""

    def __iter__(self) -> Iterator[Letter]:
        return iter(self._letters.values())

    def get(self, letter: LetterId) -> Letter | None:
        """Returns one letter."""
        return self._letters.get(letter)

    def bury(self, partition: int, raw: Raw) -> None:
        """Takes in a record of ``dead-letters``; one that is no letter of ours is left out."""
        headers = {name: held.decode("utf-8", "replace") for name, held in raw.headers}
        try:
            place = (int(headers["dl_partition"]), int(headers["dl_offset"]))
            name = LetterId(headers["dl_unit"], headers["dl_topic"], *place)
            attempt = int(headers["dl_attempt"])
            appended_at = int(headers["dl_appended_at"])
            left_out = int(headers.get("dl_left_out_bytes", 0))
        except (KeyError, ValueError):
            return
        reason, detail = headers.get("dl_reason", ""), headers.get("dl_detail", "")
        group = headers.get("dl_group", "")
        burial = Burial(partition, raw.offset, raw.appended_at, attempt, reason, detail, group)
        known = self._letters.get(name)
        if known is not None:
            known.burials.append(burial)
            if len(known.burials) > BURIALS_MAX:
                del known.burials[1]
            return
        if len(self._letters) >= LETTERS_MAX:
            self.not_listed += 1
            return
        theirs = [(n, held) for n, held in raw.headers if not n.startswith("dl_")]
        rulings = self._early.pop(name, [])
        self._letters[name] = Letter(
            name, raw.key, raw.value, left_out, appended_at, theirs, [burial], rulings
        )

    def rule(self, partition: int, offset: int, at: int, event: Decision) -> None:
        """Takes in a record of ``redrive``."""
        ruling = Ruling(
            kind="redrive" if isinstance(event, RedriveRequested) else "discard",
            partition=partition,
            offset=offset,
            at=at,
            attempt=event.attempt,
            actor=event.actor,
            reason=event.reason,
            edited=isinstance(event, RedriveRequested) and event.payload is not None,
        )
        name = LetterId(event.unit, event.topic, event.partition, event.offset)
        known = self._letters.get(name)
        rulings = known.rulings if known is not None else self._early.setdefault(name, [])
        rulings.append(ruling)
