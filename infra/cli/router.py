"""`murmur router` and `murmur digest`: push what concerns people, and mail what they have not read.

Neither is needed for notifications in the app; without them nothing leaves the system.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import Annotated, Literal

import typer
from prometheus_client import start_http_server

from events.errors import EventsError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, print_json
from infra.links import open_links
from infra.router.confirming import Mailing
from infra.router.digest import Digests
from infra.router.metrics import RouterMetrics
from infra.router.run import ledger_of, mailed, reads_of
from infra.router.run import run as follow
from infra.router.smtp import Server, Smtp
from infra.router.vapid import public_key, vapid_key
from infra.router.web_push import WebPush
from infra.settings import Settings, load
from projections.base import RetryableError

app = typer.Typer()


@app.command()
def router(
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print what browsers subscribe with, and end.")
    ] = False,
) -> None:
    """Push mentions, replies, quotes and retweets to whoever subscribed, until Ctrl-C or SIGTERM.

    The first one begins at the log's end. A second one may run beside it; nothing is sent twice.
    Where MURMUR_SMTP_HOST is set it also mails the links by which addresses are confirmed. Both
    wait while the level of degrading is 1 or higher (`murmur degrade`).

    Example: `murmur router --show-key`, then `murmur router`
    """
    settings = load().settings
    try:
        if show_key:
            key = asyncio.run(vapid_key(settings.vapid_key_path))
            sys.stdout.write(f"{public_key(key)}\n")
            return
        counts = asyncio.run(_route(settings))
    except (RetryableError, EventsError) as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    err.print(told or "nothing was pushed", markup=False)


async def _route(settings: Settings) -> dict[str, int]:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = await vapid_key(settings.vapid_key_path)
    pushes = WebPush(key, settings.push_contact, settings.push_hosts)
    metrics = RouterMetrics()
    if settings.router_metrics_port:
        start_http_server(settings.router_metrics_port, registry=metrics.registry)
    async with compose.engines(settings) as on, pushes:
        mailing = await _mailing(settings) if settings.smtp_host else None
        return await follow(on, pushes, stop, metrics, mailing)


@app.command()
def digest(
    period: Annotated[Literal["daily", "weekly"], typer.Argument(help="Which digest.")],
    as_json: AsJson = False,
) -> None:
    """Mail what is new and unread to whoever turned this digest on; run it once a period.

    Running it again sends nothing twice.

    Example: `murmur digest daily`, from cron
    """
    settings = load().settings
    if not settings.smtp_host:
        raise CommandError("set MURMUR_SMTP_HOST to the server that takes mails", Status.USAGE)
    try:
        counts = asyncio.run(_mail(settings, period))
    except (RetryableError, EventsError) as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    if as_json:
        print_json(counts)
    else:
        told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        err.print(told or "nobody has an address", markup=False)


async def _mail(settings: Settings, period: Literal["daily", "weekly"]) -> dict[str, int]:
    async with compose.engines(settings) as on:
        ledger = ledger_of(on)
        await ledger.create()
        digests = Digests(reads_of(on), ledger, await _mailing(settings))
        return await digests.send(mailed(on), period, int(time.time() * 1000))


async def _mailing(settings: Settings) -> Mailing:
    server = Server(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_sender,
        settings.smtp_username,
        settings.smtp_password.get_secret_value(),
    )
    return Mailing(Smtp(server), await asyncio.to_thread(open_links, settings))
