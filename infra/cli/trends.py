"""`murmur trends`: what trends, what trended, and why something does or does not."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from events.errors import EventsError
from infra import compose, trending
from infra.cli.output import AsJson, CommandError, Status, out, print_json
from infra.settings import load
from projections.base import RetryableError
from projections.fragments import rfc3339
from projections.trends.layout import WORLDWIDE
from projections.trends.read import Explained, Found
from projections.trends.scoring import PERSON, why
from projections.trends.terms import term_of

app = typer.Typer()
trends = typer.Typer(no_args_is_help=True, help="What trends, what did, and why.")
app.add_typer(trends, name="trends")

Woeid = Annotated[
    int, typer.Option(min=1, help="Where On Earth id of a city or country; 1 is the world.")
]
At = Annotated[
    str | None,
    typer.Option(help="A moment, such as 2026-05-01T12:00:00Z; by default the last window."),
]


@trends.command()
def show(woeid: Woeid = WORLDWIDE, at: At = None, as_json: AsJson = False) -> None:
    """Show what trends in a place, or did at a moment.

    Example: `murmur trends show --woeid 44418 --at 2026-05-01T12:00:00Z`
    """
    found = _run(_shown(woeid, _moment(at)))
    if as_json:
        print_json({"window_end": _time(found.window_end), **msgspec.to_builtins(found)})
        return
    if not found.trends:
        out.print("nothing trends" if at is None else "nothing trended")
        return
    out.print(f"window up to {_time(found.window_end)}")
    for place, trend in enumerate(found.trends, 1):
        out.print(f"{place:2}. {trend.name}  since {_time(trend.started_at)}", markup=False)
        out.print(f"    {why(trend, woeid)}", markup=False)


@trends.command()
def explain(
    term: Annotated[str, typer.Argument(help="A hashtag with its sign, or a phrase.")],
    woeid: Woeid = WORLDWIDE,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Say what is counted of something, and why it trends or does not.

    Counted anew from who used it, which is kept for two days.

    Exit status 0 when it trends, 1 when it does not.

    Example: `murmur trends explain '#derby' --woeid 44418`
    """
    found = _run(_explained(term_of(term), woeid, _moment(at)))
    if as_json:
        print_json({"term": term_of(term), "woeid": woeid, **msgspec.to_builtins(found)})
    else:
        for line in words(term_of(term), found):
            out.print(line, markup=False)
    if found.verdict != "trends":
        raise typer.Exit(Status.WRONG)


def words(term: str, found: Explained) -> list[str]:
    """Returns what is known of a term, for people."""
    people, usual = found.volume / PERSON, found.baseline / PERSON
    return [
        f"{term}: {found.verdict}",
        f"window up to {_time(found.window_end)}: {found.authors} people in {found.tweets} tweets,"
        f" counted as {people:.1f}",
        f"  {found.young} of them with young accounts, {found.alike} with the text of another",
        f"  {found.left_out} uses left out, in slots in which too few used it",
        f"an ordinary window: {usual:.1f}; score {found.score:.1f}",
    ]


async def _shown(woeid: int, at: int | None) -> Found:
    async with compose.engines(load().settings) as on:
        reader = trending.reader(on)
        return await (reader.newest(woeid) if at is None else reader.at(woeid, at))


async def _explained(term: str, woeid: int, at: int | None) -> Explained:
    settings = load().settings
    async with compose.engines(settings) as on:
        reader = trending.reader(on)
        moment = await reader.done() if at is None else at
        slot_ms = trending.shape(settings).slot_ms
        return await reader.explain(term, woeid, moment // slot_ms * slot_ms)


def _run(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except (RetryableError, EventsError) as error:
        told = f"{error}; is the stack up? try: murmur status"
        raise CommandError(told, Status.UNREACHABLE) from error
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        told = f"--at {text!r} is no time; write it as 2026-05-01T12:00:00Z"
        raise CommandError(told, Status.USAGE) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _time(moment: int) -> str:
    return rfc3339(moment)
