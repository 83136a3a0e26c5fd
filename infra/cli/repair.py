"""`murmur repair`: one key put right from the log, without a rebuild and while workers go on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from confluent_kafka import KafkaException

from events.errors import EventsError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, out, print_json
from infra.diff.compare import viewed
from infra.repair.mend import WAIT_S, Outcome
from infra.repair.rows import TooMuch
from infra.repair.service import repair as repair_key
from infra.settings import load
from projections.base import RetryableError

app = typer.Typer()


class What(StrEnum):
    """What can be repaired, and the key of it."""

    ACCOUNT = "account"
    USERNAME = "username"
    TWEET = "tweet"
    COUNTS = "counts"
    GRAPH = "graph"
    TIMELINE = "timeline"
    LIST = "list"
    BOOKMARKS = "bookmarks"
    NOTIFICATIONS = "notifications"
    SEARCH = "search"
    PEOPLE = "people"
    TRENDS = "trends"


ID_OF = dict.fromkeys((What.ACCOUNT, What.GRAPH, What.TIMELINE, What.BOOKMARKS), "user")
ID_OF |= {What.NOTIFICATIONS: "user", What.PEOPLE: "user", What.SEARCH: "tweet"}
ID_OF |= {What.TWEET: "tweet", What.COUNTS: "tweet", What.LIST: "list"}
"""Whose id each takes."""

IDS_END = 1 << 63
"""Ids are below it."""


@app.command()
def repair(
    what: Annotated[What, typer.Argument(help="What to repair.")],
    key: Annotated[
        str, typer.Argument(help="The user's, tweet's or list's id; or the name or term.")
    ],
    dry_run: Annotated[bool, typer.Option(help="Say what is wrong, and write nothing.")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds for the worker to get past the repair.")
    ] = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Put one key right in the generation in service: rows from the log, and cached answers.

    `account`, `graph`, `timeline`, `bookmarks`, `notifications` and `people` (the names that he is
    found by) take a user's id, `username` a name, `tweet`, `counts` and `search` a tweet's id,
    `list` a list's, and `trends` a hashtag or phrase, whose windows are worked out again where they
    do not follow from its uses. Only the partitions that speak of the key are read. Workers go on
    meanwhile; the key is looked at again once they have passed the repair. A repair that writes is
    told to the audit topic first; a key that is right is left alone.

    Exit status 0 when it is right now, 1 when something is still wrong, or would be repaired.

    Example: `murmur repair counts 1790000000000000000 --dry-run`
    """
    _check(what, key)
    try:
        outcomes = asyncio.run(_repair(what, key, dry_run, wait_s))
    except (RetryableError, EventsError, KafkaException) as error:
        told = f"{error}; is the stack up? try: murmur status"
        raise CommandError(told, Status.UNREACHABLE) from error
    except TooMuch as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)
    if as_json:
        print_json(msgspec.to_builtins(outcomes))
    else:
        for outcome in outcomes:
            show(outcome)
    if not all(outcome.is_right for outcome in outcomes):
        raise typer.Exit(Status.WRONG)


def _check(what: What, key: str) -> None:
    """Refuses what cannot be a key, before any engine is asked."""
    if what is What.USERNAME:
        if not key or key.startswith("@") or key.split() != [key]:
            raise CommandError(f"{key!r} is no username: give it as in `ada`", Status.USAGE)
    elif what is What.TRENDS:
        if not key.strip():
            raise CommandError("give a hashtag or phrase, as in '#storm'", Status.USAGE)
    elif not (key.isascii() and key.isdecimal() and 0 < int(key) < IDS_END):
        told = f"{key!r} is no id of a {ID_OF[what]}: give digits, as in 1790000000000000000"
        raise CommandError(told, Status.USAGE)


async def _repair(what: What, key: str, is_dry: bool, wait_s: float) -> Sequence[Outcome]:
    async with compose.engines(load().settings) as on:
        with viewed(on) as view:
            return await repair_key(on, view, what, key, is_dry=is_dry, wait_s=wait_s)


def show(outcome: Outcome) -> None:
    """Prints what a repair found and did."""
    for line in (*outcome.changes, *outcome.caches):
        out.print(f"    {line}", markup=False)
    for problem in outcome.problems:
        out.print(f"    {problem}", style="bold red", markup=False)
    did = "would be put right" if outcome.is_dry else "put right"
    number = len(outcome.changes) + len(outcome.caches)
    right = "nothing was wrong, and nothing was written"
    verdict = f"{number} {did}" if outcome.was_wrong else right
    out.print(f"{outcome.target}: {verdict}", style="bold", markup=False)
