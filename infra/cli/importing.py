"""`murmur import`: bringing one's history along."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from events.errors import EventsError, RetryableError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, out, print_json
from infra.demo.convergence import open_view
from infra.importing.archive import Archive
from infra.importing.errors import ImportRefused
from infra.importing.here import LogSink, ReadModels, log_for_ever
from infra.importing.importer import Importer, Tally
from infra.settings import load
from projections import base

app = typer.Typer()
importing = typer.Typer(no_args_is_help=True, help="Bring your history along.")
app.add_typer(importing, name="import")


@importing.callback()
def root() -> None:
    """Bring your history along."""


@importing.command("x-archive")
def x_archive(
    path: Annotated[Path, typer.Argument(help="The zip from X, or the folder it unpacks to.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and count everything, append nothing.")
    ] = False,
    retweets_as_text: Annotated[
        bool,
        typer.Option(help="Keep retweets as tweets that begin with 'RT @name:'."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import an X account export: profile, tweets, follows, blocks, mutes and likes.

    Ids and times stay as they were; importing again adds nothing; what is left out is counted by
    reason. `docs/import.md` says what is done with each file.

    Example: `murmur import x-archive ~/Downloads/twitter-2024-05-01.zip --dry-run`
    """
    try:
        importer = asyncio.run(_import(path, dry_run, retweets_as_text, quiet=as_json))
    except ImportRefused as error:
        raise CommandError(str(error)) from error
    except (RetryableError, base.RetryableError) as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except EventsError as error:
        raise CommandError(f"{error}; import again to go on where it ended") from error
    account = importer.survey.account
    if as_json:
        print_json(
            {
                "path": str(path),
                "dry_run": dry_run,
                "user_id": str(account.user_id),
                "username": account.username,
                "kinds": msgspec.to_builtins(importer.tallies),
            }
        )
        return
    _show(importer.tallies, f"@{account.username} ({account.user_id})", dry_run)


async def _import(path: Path, dry_run: bool, retweets_as_text: bool, *, quiet: bool) -> Importer:
    with Archive(path) as archive, _bar(quiet) as bar:
        if dry_run:
            importer = Importer(archive, None, None, retweets_as_text=retweets_as_text)
            await _run(importer, bar)
            return importer
        settings = load().settings
        async with AsyncExitStack() as closing:
            on = await closing.enter_async_context(compose.engines(settings))
            log = await closing.enter_async_context(log_for_ever(on))
            view = open_view(on)
            closing.callback(view.close)
            sink, here = LogSink(log, settings.topic_prefix), ReadModels(on, view)
            importer = Importer(archive, sink, here, retweets_as_text=retweets_as_text)
            await _run(importer, bar)
            return importer


async def _run(importer: Importer, bar: Progress) -> None:
    task = bar.add_task("", total=sum(importer.survey.counts.values()))
    await importer.run(lambda items: bar.advance(task, items))


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
    )


def _show(tallies: dict[str, Tally], whose: str, dry_run: bool) -> None:
    title = f"{'Would import' if dry_run else 'Imported'} the archive of {whose}"
    table = Table("", "read", "new", "here before", "left out", "refused", title=title)
    for kind, tally in tallies.items():
        table.add_row(
            kind,
            f"{tally.read:,}",
            f"{tally.appended:,}",
            f"{tally.already_here:,}",
            _reasons(tally.skipped),
            _reasons(tally.refused),
        )
    out.print(table)


def _reasons(counts: dict[str, int]) -> str:
    return "\n".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items())
