"""Promotion, roll-back and the end of a generation; each told to the audit topic before it is done.

Promotion, and likewise roll-back:

1. wait until the generation that comes has applied what the present one has, of what the log holds
   (a broker that lost its power may have lost what was applied: decision 0130);
2. compare the two as readers see them, unless the difference is waived with a reason;
3. write the pointer, to take effect ``ANNOUNCED_MS`` later: every gateway has looked by then, and
   changes over at that moment, each request seeing one generation or the other.

What served before is fed until it is dropped, so that the way back loses nothing.

Dropping: nobody feeds or reads it from now on; wait until its workers have left; remove its keys,
tables, positions and consumer groups; note that nothing is left. It can be begun again at any step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from events.admin import Admin
from infra import compose
from infra.audit import Audit
from infra.compose import Engines
from infra.following import LOOK_SECONDS
from infra.generations import now_ms, state_of
from infra.replay.progress import Looks
from infra.replay.space import keys_of
from projections.generations import WHOLE, Generation, GenerationError, Pointer, State
from projections.positions import forget_positions, reached

ANNOUNCED_MS = int(3 * LOOK_SECONDS * 1000)
"""From the writing of the pointer to its effect: three looks of a gateway."""

CHANGE_SECONDS = 0.5
"""What a gateway needs to change over once the moment has come: two reads of positions."""

CAUGHT_UP_SECONDS_MAX = 30.0
LEFT_SECONDS_MAX = 60.0
READS_SECONDS = 10.0
"""After which no request is under way that began before the last change of generations."""

POLL_SECONDS = 0.1

Compare = Callable[[Engines, Engines], Awaitable[str | None]]
"""Compares a unit of two sets of generations; returns how they differ in words, None if equal."""

Ends = Callable[[Engines, str], Awaitable[Mapping[str, int]]]
"""Returns where the log of a unit ends, by ``topic/partition``."""


async def candidate(on: Engines, unit: str, name: str | None) -> Generation:
    """Returns the generation to promote: the one named, or the newest that is ready.

    Raises:
        GenerationError: there is none, or that one cannot serve.
    """
    serving = (await on.generations.pointer(unit)).serving
    others = [one for one in await on.generations.of(unit) if one.name != serving]
    if name is None:
        ready = [one for one in others if one.state is State.READY]
        if not ready:
            raise GenerationError(
                f"{unit} has no generation that is ready besides {serving}, which serves; "
                f"build one with `murmur replay {unit}`"
            )
        return ready[-1]
    found = next((one for one in others if one.name == name), None)
    if found is None:
        told = "serves already" if name == serving else "is none of its generations"
        raise GenerationError(f"{unit}: {name} {told}; look with `murmur generations`")
    if found.state is not State.READY:
        why = {
            State.BUILDING: f"is still being built: go on with `murmur replay {unit}`",
            State.PARTIAL: "was built of a part of the log, to be looked at",
            State.DROPPING: "is being dropped",
        }[found.state]
        raise GenerationError(f"{unit}: {name} {why}")
    return found


async def promote(
    on: Engines,
    unit: str,
    to: Generation,
    audit: Audit,
    *,
    compare: Compare | None,
    action: str = "promote",
    detail: str = "",
    ends: Ends | None = None,
) -> Pointer:
    """Puts a generation into service; returns when it serves everywhere.

    Args:
        on: The engines.
        unit: The unit.
        to: What is to serve.
        audit: Where it is told.
        compare: Compares it with what serves; None if that is waived, and ``detail`` says why.
        action: What the audit calls it.
        detail: What else the audit says.
        ends: Says where the log ends; None asks the broker.

    Raises:
        GenerationError: it lags, differs, or another one was promoted meanwhile.
        EventsError, RetryableError: an engine is away; nothing has changed.
    """
    serving = (await on.generations.pointer(unit)).serving
    here, there = on.at({unit: serving}), on.at({unit: to.name})
    await _caught_up(here, there, unit, ends or _ends_of_log)  # 1
    if compare is not None and (words := await compare(here, there)):  # 2
        raise GenerationError(
            f"{to.name} of {unit} differs from {serving}: {words}; look with `murmur diff {unit}`, "
            f"or waive it with --waive REASON"
        )
    told = f"{to.name} instead of {serving}; " + (detail or "compared, and equal")
    await audit(action, unit=unit, generation=to.name, detail=told)
    since_ms = now_ms() + ANNOUNCED_MS
    pointer = await on.generations.serve(  # 3
        unit, to.name, instead_of=serving, since_ms=since_ms
    )
    await asyncio.sleep((since_ms - now_ms()) / 1000 + CHANGE_SECONDS)
    return pointer


async def before(on: Engines, unit: str) -> Generation:
    """Returns the generation that served before this one, and could again.

    Raises:
        GenerationError: there is none any more.
    """
    pointer = await on.generations.pointer(unit)
    if pointer.before is None:
        raise GenerationError(f"{unit}: no generation served before {pointer.serving}")
    return await candidate(on, unit, pointer.before)


async def _ends_of_log(on: Engines, unit: str) -> Mapping[str, int]:
    return (await Looks(on, unit, WHOLE).look()).ends


async def _caught_up(here: Engines, there: Engines, unit: str, ends_of: Ends) -> None:
    """Step 1; the positions to reach are read first, so live traffic does not move the goal."""
    applied = await here.applied(unit).all()
    ends = await ends_of(here, unit)
    wanted = {at: min(end, ends.get(at, end)) for at, end in applied.items()}
    deadline = time.monotonic() + CAUGHT_UP_SECONDS_MAX
    while not reached(found := await there.applied(unit).all(), wanted):
        if time.monotonic() > deadline:
            lag = sum(max(0, end - found.get(at, 0)) for at, end in wanted.items())
            raise GenerationError(
                f"{there.generation(unit)} of {unit} is {lag} events behind "
                f"{here.generation(unit)}; is it fed? start `murmur worker {unit}`"
            )
        await asyncio.sleep(POLL_SECONDS)


async def drop(on: Engines, unit: str, name: str, audit: Audit) -> int:
    """Removes a generation and frees its space; returns how many keys of Redis it had.

    Raises:
        GenerationError: it serves, is not there, or its workers do not leave.
        EventsError, RetryableError: an engine is away; drop it again.
    """
    one = next((one for one in await on.generations.of(unit) if one.name == name), None)
    if one is None:
        raise GenerationError(f"{unit} has no generation {name}; look with `murmur generations`")
    if on.settings.topic_prefix and name == on.settings.generation:
        raise GenerationError(
            f"the tables of {name} are shared by every topic prefix of the keyspace, and stay"
        )
    await audit("drop", unit=unit, generation=name, detail=f"was {one.state}")
    await on.generations.dropping(one)
    there = on.at({unit: name})
    await _left(there, unit, (await on.generations.pointer(unit)).since_ms)
    keys = await remove(there, unit)
    await on.generations.dropped(one)
    return keys


async def _left(there: Engines, unit: str, since_ms: int) -> None:
    """Waits until no worker feeds the generation and no request that began in it is under way."""
    admin = Admin(there.settings.kafka_bootstrap, there.topics, there.settings.kafka_options)
    groups = [there.group(name) for name in compose.UNITS if state_of(name) == unit]
    deadline = time.monotonic() + LEFT_SECONDS_MAX
    while members := sum([await admin.members(group) for group in groups]):
        if time.monotonic() > deadline:
            raise GenerationError(
                f"{members} workers still feed {there.generation(unit)} of {unit}; stop them (a "
                f"replay, a worker of an older release) and drop it again"
            )
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(max(0.0, since_ms / 1000 + READS_SECONDS - time.time()))
    for group in groups:
        await admin.delete_group(group)


async def remove(there: Engines, unit: str) -> int:
    """Removes keys, positions and tables of a generation; returns how many keys it had."""
    keys = 0
    async for found in keys_of(there, unit):
        await there.bus.calls_strict([("UNLINK", key) for key in found])
        keys += len(found)
    for name in compose.UNITS:
        if state_of(name) == unit:
            made = compose.UNITS[name](there)
            await forget_positions(there.store_of(name), there.keys(name).unit, made.topics)
    for table in compose.UNITS[unit](there).tables:
        await there.store_of(unit).drop(table)
    return keys
