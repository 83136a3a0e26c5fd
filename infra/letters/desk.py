"""The operators' desk for dead letters: list, show, send back, discard.

What is decided is appended to ``redrive``, for the workers of every generation, and who decided is
appended to ``audit``. Nothing is kept here: any process that reads the two topics sees the same
(:mod:`events.letters`), and two operators who decide at once are told apart by the log.

Keeps true: nothing is decided about a record that is younger than the workers' bound
(``streams.decisions.DECIDED_AFTER_SECONDS``); of derived topics, which are not kept for ever, the
bytes travel with the request; an edited body that cannot be decoded is refused here.

Bounded by: ``DECIDED_MAX`` letters in one decision, ``BODY_BYTES_MAX`` bytes of a body.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from events.codec import Codec
from events.errors import InvalidEvent
from events.letters import Book, Letter, LetterError, LetterId, Outcome, Shown, State, Wanted
from events.log import Log
from events.ranges import Ranges
from events.snowflake import SnowflakeMinter
from events.types import (
    EVENT_TYPES_OF_TOPIC,
    Event,
    LetterDiscarded,
    OperatorActed,
    RedriveRequested,
    from_object,
)
from infra import compose
from infra.compose import Engines
from schemas import catalog
from streams.decisions import DEAD_LETTERS, DECIDED_AFTER_SECONDS, REDRIVE

DECIDED_MAX = 10_000
BODY_BYTES_MAX = 900_000
CLOCKS_SECONDS = 0.2
"""Added to the age that a record must have, for clocks that differ."""


class Census(msgspec.Struct, frozen=True):
    """Open letters of one unit.

    Attributes:
        count: How many.
        oldest_at: When the oldest was buried, milliseconds since the Unix epoch; 0 for none.
    """

    count: int = 0
    oldest_at: int = 0


class Reading:
    """The letters, kept up with the log; ``close`` it.

    Args:
        on: The engines.
    """

    def __init__(self, on: Engines) -> None:
        settings = on.settings
        self.on = on
        self._log = Ranges(settings.kafka_bootstrap, settings.kafka_options)
        self.codec = compose.reader_codec(on)
        self._next: dict[tuple[str, int], int] = {}
        self._refreshing = asyncio.Lock()
        self.book = Book()

    async def close(self) -> None:
        """Leaves the log."""
        await self._log.close()

    async def refresh(self) -> None:
        """Reads what is new in both topics, up to their ends now.

        Raises:
            EventsError: the log or the registry is away, or a topic is missing.
        """
        async with self._refreshing:
            await self._read(DEAD_LETTERS)
            await self._read(REDRIVE)

    async def states(self) -> dict[LetterId, State]:
        """Returns the state of every letter, by the positions of the generations in service."""
        units = {letter.id.unit for letter in self.book if letter.rulings}
        applied = {unit: await self._applied(unit) for unit in units}
        return {one.id: one.state(applied.get(one.id.unit, {})) for one in self.book}

    def taken(self, wanted: Wanted, states: Mapping[LetterId, State]) -> list[Letter]:
        """Returns the letters that are wanted, by origin."""
        found = [one for one in self.book if wanted.takes(one, states[one.id])]
        return sorted(found, key=lambda letter: letter.id)

    async def original(self, letter: LetterId) -> bytes | None:
        """Returns the record's bytes from its topic; None for a tombstone, or where it is gone."""
        name = self.on.topics.name(letter.topic)
        found = await self._log.one(name, letter.partition, letter.offset)
        return None if found is None else found.value

    async def _applied(self, unit: str) -> Mapping[str, int]:
        return await self.on.applied(unit).all() if unit in compose.UNITS else {}

    async def _read(self, topic: str) -> None:
        name = self.on.topics.name(topic)
        for partition, (low, high) in (await self._log.bounds(name)).items():
            while (at := max(low, self._next.get((topic, partition), low))) < high:
                found = await self._log.read(name, partition, at, high)
                if topic == DEAD_LETTERS:
                    for raw in found:
                        self.book.bury(partition, raw)
                else:
                    decoded = await self.codec.decode_batch([raw.value for raw in found], topic)
                    for raw, event in zip(found, decoded.events, strict=True):
                        if isinstance(event, RedriveRequested | LetterDiscarded):
                            self.book.rule(partition, raw.offset, raw.appended_at, event)
                self._next[topic, partition] = found[-1].offset + 1 if found else high


class Desk:
    """Reads letters, and decides where it is given a log to append to.

    Args:
        reading: The letters.
        log: Appends decisions.
        minter: Makes their ids.
        codec: Encodes edited bodies.
    """

    def __init__(self, reading: Reading, log: Log, minter: SnowflakeMinter, codec: Codec) -> None:
        self._reading = reading
        self._log = log
        self._minter = minter
        self._codec = codec

    async def letters(self, wanted: Wanted) -> list[tuple[Letter, State]]:
        """Returns the letters that are wanted, with their states, by origin."""
        await self._reading.refresh()
        states = await self._reading.states()
        return [(one, states[one.id]) for one in self._reading.taken(wanted, states)]

    async def shown(self, name: LetterId) -> Shown | None:
        """Returns one letter with its bytes, or None."""
        await self._reading.refresh()
        letter = self._reading.book.get(name)
        if letter is None:
            return None
        return await show(self._reading, letter, (await self._reading.states())[name])

    async def redrive(
        self,
        letters: Collection[LetterId],
        *,
        actor: str,
        reason: str,
        body: bytes | None = None,
        force: bool = False,
    ) -> list[Outcome]:
        """Sends letters back to their units, in the order of their origins.

        Args:
            letters: Which.
            actor: Who decides.
            reason: Why.
            body: Bytes in place of the original ones, or an event as a JSON object; for one letter.
            force: Send back what this process cannot decode either.

        Raises:
            LetterError: There is no such letter, or the body is none for it.
            EventsError: An engine is away; look before it is asked again.
        """
        found = await self._chosen(letters)
        if body is not None and len(found) != 1:
            raise LetterError("a body replaces one record: name one letter")
        payload = None if body is None else await self._payload(found[0], body)
        states = await self._reading.states()
        plans: list[RedriveRequested | Outcome] = []
        for letter in found:
            plan = await self._refused(letter, states[letter.id], payload, force)
            plans.append(plan or await self._request(letter, actor, reason, payload))
        return await self._decide(found, plans, actor, "redrive", reason)

    async def discard(
        self, letters: Collection[LetterId], *, actor: str, reason: str
    ) -> list[Outcome]:
        """Decides that units do without records.

        Raises:
            LetterError: There is no such letter.
            EventsError: An engine is away.
        """
        found = await self._chosen(letters)
        states = await self._reading.states()
        plans: list[LetterDiscarded | Outcome] = []
        for letter in found:
            if states[letter.id] != "open":
                plans.append(Outcome(letter.id, None, f"it is {states[letter.id]} already"))
                continue
            plans.append(
                LetterDiscarded(
                    event_id=await self._minter.mint(),
                    occurred_at=_now_ms(),
                    **letter.id._asdict(),
                    attempt=letter.next_attempt,
                    actor=actor,
                    reason=reason,
                )
            )
        return await self._decide(found, plans, actor, "discard", reason)

    async def _chosen(self, letters: Collection[LetterId]) -> list[Letter]:
        if len(letters) > DECIDED_MAX:
            raise LetterError(f"{len(letters)} letters at once; at most {DECIDED_MAX}: name fewer")
        await self._reading.refresh()
        found = []
        for name in sorted(set(letters)):
            letter = self._reading.book.get(name)
            if letter is None:
                raise LetterError(f"there is no dead letter {name}")
            found.append(letter)
        return found

    async def _refused(
        self, letter: Letter, state: State, payload: bytes | None, force: bool
    ) -> Outcome | None:
        """Returns why a letter cannot be sent back, or need not be."""
        ruling = letter.counting
        if state in ("redriven", "applied") and ruling is not None:
            at = f"redrive/{ruling.partition}@{ruling.offset}"
            return Outcome(letter.id, None, f"it is {state} already, by {at}")
        if letter.id.topic not in EVENT_TYPES_OF_TOPIC or letter.id.topic == REDRIVE:
            return Outcome(letter.id, None, "a broken decision is made anew, not sent back")
        if payload is None and not force:
            shown = await show(self._reading, letter, state)
            if shown.error:
                return Outcome(letter.id, None, f"it still cannot be decoded: {shown.error}")
        return None

    async def _request(
        self, letter: Letter, actor: str, reason: str, payload: bytes | None
    ) -> RedriveRequested:
        if payload is None and not catalog.topic(letter.id.topic).source:
            payload = letter.value
        return RedriveRequested(
            event_id=await self._minter.mint(),
            occurred_at=_now_ms(),
            **letter.id._asdict(),
            payload=payload,
            attempt=letter.next_attempt,
            actor=actor,
            reason=reason,
        )

    async def _payload(self, letter: Letter, body: bytes) -> bytes:
        payload = body
        if body.lstrip()[:1] == b"{":
            try:
                payload = self._codec.encode(from_object(_fields(body)))
            except InvalidEvent as error:
                raise LetterError(str(error)) from error
        if len(payload) > BODY_BYTES_MAX:
            raise LetterError(f"the body has {len(payload)} bytes; at most {BODY_BYTES_MAX}")
        decoded = await self._codec.decode_batch([payload], letter.id.topic, anew=True)
        if decoded.failures:
            raise LetterError(
                f"the body is no record of {letter.id.topic}: {decoded.failures[0].error}"
            )
        return payload

    async def _decide(
        self,
        letters: Sequence[Letter],
        plans: Sequence[Event | Outcome],
        actor: str,
        action: str,
        reason: str,
    ) -> list[Outcome]:
        events = [plan for plan in plans if isinstance(plan, Event)]
        outcomes = {plan.id: plan for plan in plans if isinstance(plan, Outcome)}
        if events:
            youngest = max(one.appended_at for one in letters if one.id not in outcomes)
            wait = youngest / 1000 + DECIDED_AFTER_SECONDS + CLOCKS_SECONDS - time.time()
            await asyncio.sleep(min(max(0.0, wait), DECIDED_AFTER_SECONDS + CLOCKS_SECONDS))
            decided = [one.id for one in letters if one.id not in outcomes]
            positions = await self._log.append_many(events)
            for name, position in zip(decided, positions, strict=True):
                outcomes[name] = Outcome(name, position)
            await self._log.append(await self._act(actor, action, decided, reason))
        return [outcomes[letter.id] for letter in letters]

    async def _act(
        self, actor: str, action: str, letters: Sequence[LetterId], reason: str
    ) -> OperatorActed:
        named = ", ".join(map(str, letters[:5])) + (", …" if len(letters) > 5 else "")
        units = {letter.unit for letter in letters}
        return OperatorActed(
            event_id=await self._minter.mint(),
            occurred_at=_now_ms(),
            actor=actor,
            action=f"dead-letters {action}",
            unit=units.pop() if len(units) == 1 else None,
            detail=f"{len(letters)} letters: {named}; {reason}",
        )


async def show(reading: Reading, letter: Letter, state: State) -> Shown:
    """Returns a letter with its bytes, decoded where that can be done."""
    value = letter.value
    if letter.left_out_bytes:
        value = await reading.original(letter.id)
    topic = letter.id.topic
    if value is None or topic not in EVENT_TYPES_OF_TOPIC or not EVENT_TYPES_OF_TOPIC[topic]:
        gone = "" if value is not None else "the log does not hold it any more"
        return Shown(letter, state, value, None, gone)
    decoded = await reading.codec.decode_batch([value], topic, anew=True)
    errors = [f"{type(bad.error).__name__}: {bad.error}" for bad in decoded.failures]
    return Shown(letter, state, value, decoded.events[0], "".join(errors))


def census(book: Iterable[Letter], states: Mapping[LetterId, State]) -> dict[str, Census]:
    """Returns the number of open letters by unit, and since when there is one."""
    found: dict[str, Census] = {}
    for letter in book:
        if states[letter.id] == "open":
            known = found.get(letter.id.unit, Census())
            oldest = min(known.oldest_at or letter.buried_at, letter.buried_at)
            found[letter.id.unit] = Census(known.count + 1, oldest)
    return found


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise LetterError(f"the body begins like JSON and is none: {error}") from error
    if not isinstance(fields, dict):
        raise LetterError("the body is no JSON object")
    return fields


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
