"""``murmur dead-letters``: what the units could not apply, and what is to become of it.

A letter is named ``UNIT:TOPIC:PARTITION:OFFSET``, as ``list`` prints it. What is decided is in the
log at once; what came of it is told by ``list`` and ``show``. `docs/dead-letters.md` is the guide.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from events.codec import Codec
from events.errors import EventsError, RetryableError
from events.letters import STATES, Letter, LetterError, LetterId, Outcome, State, Wanted
from gateway.ops import decided, listed, whole
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, out, print_json
from infra.letters.desk import Desk, Reading, show
from infra.settings import load
from projections import base

_LISTED = ("letter", "state", "why", "tries", "age", "what")
_AGO = re.compile(r"([0-9]+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

app = typer.Typer(
    no_args_is_help=True, help="See what could not be applied; send it back, or discard it."
)


class Chosen(StrEnum):
    """States to list."""

    OPEN = "open"
    REDRIVEN = "redriven"
    APPLIED = "applied"
    DISCARDED = "discarded"
    ALL = "all"


Names = Annotated[list[str] | None, typer.Argument(help="Letters, as `list` names them.")]
UnitName = Annotated[str | None, typer.Option("--unit", help="Unit that gave up.")]
TopicName = Annotated[str | None, typer.Option("--topic", help="Topic of the record.")]
ReasonKind = Annotated[str | None, typer.Option("--why", help="undecodable, refused or missing.")]
Since = Annotated[
    str | None, typer.Option(help="Buried since: 2026-11-23T04:00, or 30m, 2h, 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="Buried before; as --since.")]
Said = Annotated[str, typer.Option("--reason", help="Why you decide so; kept in the log.")]
All = Annotated[bool, typer.Option("--all", help="All open letters that the filters take.")]


@app.command("list")
def list_letters(
    unit: UnitName = None,
    topic: TopicName = None,
    why: ReasonKind = None,
    state: Annotated[Chosen, typer.Option(help="State of the letters.")] = Chosen.OPEN,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Most letters to print.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List letters by origin, each once, whoever buried it how often.

    Example: `murmur dead-letters list --unit timelines --since 2h`
    """
    states = frozenset(STATES) if state is Chosen.ALL else frozenset[State]({_state(state)})
    _run(_list(_wanted(unit, topic, why, states, since, until), limit, as_json))


@app.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(help="A letter, as `list` names it.")],
    as_json: AsJson = False,
) -> None:
    """Show a letter: its record, decoded or in hex, where it came from, and all that happened.

    Example: `murmur dead-letters show timelines:new-tweets:3:1234`
    """
    _run(_show(_name(letter), as_json))


@app.command()
def redrive(
    letters: Names = None,
    every: All = False,
    unit: UnitName = None,
    topic: TopicName = None,
    why: ReasonKind = None,
    since: Since = None,
    until: Until = None,
    body: Annotated[
        str | None,
        typer.Option(
            help="File (- is standard input) with the record's bytes, or with an event "
            "as a JSON object, to apply in place of the original."
        ),
    ] = None,
    reason: Said = "",
    force: Annotated[
        bool, typer.Option("--force", help="Send back what cannot be decoded here either.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send letters back to their units, in the order of their origins.

    The effect is as if the record had been good in its place, in every replay as well. Exit status
    1 when one of them was not sent, with the reason.

    Example: `murmur dead-letters redrive --all --unit tweets --why undecodable --reason "schema 12
    is registered now"`
    """
    wanted = _wanted(unit, topic, why, frozenset[State]({"open"}), since, until)
    _run(_decide("redrive", _names(letters, every), wanted, reason, as_json, _body(body), force))


@app.command()
def discard(
    letters: Names = None,
    every: All = False,
    unit: UnitName = None,
    topic: TopicName = None,
    why: ReasonKind = None,
    since: Since = None,
    until: Until = None,
    reason: Said = "",
    as_json: AsJson = False,
) -> None:
    """Decide that units do without records, in every replay as well.

    A letter that was discarded can still be redriven later. A reason has to be given.

    Example: `murmur dead-letters discard tweets:new-tweets:3:1234 --reason "a load test left it"`
    """
    if not reason:
        raise CommandError("say why: --reason TEXT", Status.USAGE)
    wanted = _wanted(unit, topic, why, frozenset[State]({"open"}), since, until)
    _run(_decide("discard", _names(letters, every), wanted, reason, as_json, None, False))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except LetterError as error:
        raise CommandError(str(error), Status.USAGE) from error
    except (RetryableError, base.RetryableError) as error:
        told = f"{error}; is the stack up? try: murmur status"
        raise CommandError(told, Status.UNREACHABLE) from error
    except EventsError as error:
        told = f"{error}; what was decided is told by `murmur dead-letters list --state all`"
        raise CommandError(told, Status.WRONG) from error
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)


@asynccontextmanager
async def _reading() -> AsyncIterator[tuple[compose.Engines, Reading]]:
    async with compose.engines(load().settings) as on:
        reading = Reading(on)
        try:
            await reading.refresh()
            yield on, reading
        finally:
            await reading.close()


async def _list(wanted: Wanted, limit: int, as_json: bool) -> None:
    async with _reading() as (_, reading):
        states = await reading.states()
        found = reading.taken(wanted, states)
        total, shown = len(found), found[:limit]
        not_listed = reading.book.not_listed
    if as_json:
        letters = [msgspec.to_builtins(listed(one, states[one.id])) for one in shown]
        print_json({"letters": letters, "count": total, "not_listed": not_listed})
        return
    # Lines and no table: a name is to be copied, and a table folds it where the terminal is narrow.
    rows = [_LISTED, *(_row(letter, states[letter.id]) for letter in shown)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_LISTED) - 1)]
    for row in rows if shown else ():
        head = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        out.print(f"{head}  {row[-1]}", markup=False)
    more = f", of which {limit} are shown; --limit shows more" if total > limit else ""
    err.print(f"{total} letters{more}", markup=False)
    if not_listed:
        err.print(f"{not_listed} more are in the topic and too many to list", markup=False)


def _row(letter: Letter, state: State) -> tuple[str, ...]:
    last = letter.burials[-1]
    tries, age = str(letter.attempts), _age(letter.buried_at)
    return (str(letter.id), state, last.reason, tries, age, last.detail[:80])


async def _show(name: LetterId, as_json: bool) -> None:
    async with _reading() as (_, reading):
        letter = reading.book.get(name)
        if letter is None:
            raise CommandError(f"there is no dead letter {name}; see `murmur dead-letters list`")
        found = await show(reading, letter, (await reading.states())[name])
    shown = msgspec.to_builtins(whole(found))
    if as_json:
        print_json(shown)
        return
    for field, value in shown.items():
        if isinstance(value, list):
            out.print(f"{field}:", markup=False)
            for one in value:
                out.print(f"  {msgspec.json.encode(one).decode()}", markup=False)
        elif value not in (None, "", {}):
            text = value if isinstance(value, str | int) else msgspec.json.encode(value).decode()
            out.print(f"{field}: {text}", markup=False)


async def _decide(
    action: str,
    names: Sequence[LetterId] | None,
    wanted: Wanted,
    reason: str,
    as_json: bool,
    body: bytes | None,
    force: bool,
) -> None:
    async with (
        _reading() as (on, reading),
        compose.open_log(on) as log,
        compose.open_minter(on) as minter,
    ):
        if names is None:
            states = await reading.states()
            names = [letter.id for letter in reading.taken(wanted, states)]
        desk = Desk(reading, log, minter, Codec(await on.registry.publish(), on.registry))
        actor = _actor()
        if action == "discard":
            outcomes = await desk.discard(names, actor=actor, reason=reason)
        else:
            outcomes = await desk.redrive(names, actor=actor, reason=reason, body=body, force=force)
    _tell(action, outcomes, as_json)


def _tell(action: str, outcomes: Sequence[Outcome], as_json: bool) -> None:
    refused = [outcome for outcome in outcomes if outcome.position is None]
    if as_json:
        print_json(msgspec.to_builtins(decided(outcomes)))
    else:
        for outcome in outcomes:
            told = f"{action} at {outcome.position}" if outcome.position else outcome.why
            out.print(f"{outcome.id}  {told}", markup=False)
        err.print(f"{len(outcomes) - len(refused)} of {len(outcomes)}: {action}", markup=False)
    if refused:
        raise typer.Exit(Status.WRONG)


def _names(letters: Sequence[str] | None, every: bool) -> list[LetterId] | None:
    if every == bool(letters):
        raise CommandError("name letters, or give --all with filters", Status.USAGE)
    return None if every else [_name(text) for text in letters or ()]


def _name(text: str) -> LetterId:
    try:
        return LetterId.parse(text)
    except ValueError as error:
        raise CommandError(str(error), Status.USAGE) from error


def _state(chosen: Chosen) -> State:
    return next(state for state in STATES if state == chosen.value)


def _wanted(
    unit: str | None,
    topic: str | None,
    why: str | None,
    states: frozenset[State],
    since: str | None,
    until: str | None,
) -> Wanted:
    wanted = Wanted(unit=unit, topic=topic, reason=why, states=states)
    if since is not None:
        wanted = msgspec.structs.replace(wanted, since=_moment(since))
    if until is not None:
        wanted = msgspec.structs.replace(wanted, until=_moment(until))
    return wanted


def _moment(text: str) -> int:
    ago = _AGO.fullmatch(text)
    if ago:
        return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        told = f"{text}: give a time such as 2026-11-23T04:00, or an age such as 30m, 2h, 7d"
        raise CommandError(told, Status.USAGE) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _body(name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"--body {name}: {error.strerror}", Status.USAGE) from error


def _actor() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _age(at_ms: int) -> str:
    seconds = max(0, int(time.time() - at_ms / 1000))
    for unit in "dhm":
        if seconds >= _SECONDS[unit]:
            return f"{seconds // _SECONDS[unit]} {unit}"
    return f"{seconds} s"
