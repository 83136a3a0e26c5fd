"""`murmur gateway` and `murmur token`: serve HTTP, and sign a token for somebody."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Annotated

import typer
import uvloop

from events.errors import EventsError, RetryableError
from gateway.auth import OPERATOR_SCOPES, SCOPES
from infra import compose
from infra import gateway as process
from infra.cli.output import AsJson, CommandError, Status, err, print_json
from infra.settings import Settings, load
from infra.stack.process import start, stop
from projections import base

app = typer.Typer()

STOP_WAIT_S = 20.0


@app.command()
def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Processes that share it.")] = None,
) -> None:
    """Serve the HTTP API until Ctrl-C or SIGTERM; requests under way are finished.

    `/openapi.json` describes it, `/readyz` says whether it can serve, `/metrics` is for Prometheus.

    Example: `murmur gateway --port 8080`
    """
    given = {"gateway_host": host, "gateway_port": port, "gateway_workers": count}
    settings = load(None, **{k: v for k, v in given.items() if v is not None}).settings
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url = f"http://{settings.gateway_host}:{settings.gateway_port}"
    err.print(f"serving {url} (Ctrl-C stops it)", markup=False)
    try:
        if settings.gateway_workers == 1:
            uvloop.run(process.run(settings, share_port=False))
        else:
            asyncio.run(_several(settings))
    except (RetryableError, base.RetryableError) as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except (EventsError, ValueError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{url}: {error.strerror or error}") from error


async def _several(settings: Settings) -> None:
    """Runs processes that share the port; when one ends, all do."""
    env = {
        "MURMUR_GATEWAY_HOST": settings.gateway_host,
        "MURMUR_GATEWAY_PORT": str(settings.gateway_port),
    }
    argv = [sys.executable, "-m", "infra.gateway"]
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, interrupted.set)
    children = [await start(argv, None, env) for _ in range(settings.gateway_workers)]
    ends = [asyncio.create_task(child.wait()) for child in children]
    asked = asyncio.create_task(interrupted.wait())
    await asyncio.wait([asked, *ends], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    await asyncio.gather(*(stop(child, STOP_WAIT_S) for child in children))
    if not interrupted.is_set():
        raise CommandError("a gateway process ended; its last words are above")


@app.command()
def token(
    username: Annotated[str, typer.Argument(help="Whose token; without regard to case.")],
    operator: Annotated[
        bool, typer.Option("--operator", help="Let it decide about dead letters as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign a bearer token for a user, with this machine's key.

    Example: `curl -H "Authorization: Bearer $(murmur token alice)" localhost:8080/api/users/me`
    """
    settings = load().settings
    try:
        tokens = process.open_tokens(settings)
        user_id = asyncio.run(_holder(settings, username))
    except base.RetryableError as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    if user_id is None:
        raise CommandError(f"nobody is called {username}; register with POST /api/users")
    signed = tokens.issue(user_id, scopes=OPERATOR_SCOPES if operator else SCOPES)
    if as_json:
        print_json({"username": username, "user_id": str(user_id), "token": signed})
    else:
        sys.stdout.write(f"{signed}\n")


async def _holder(settings: Settings, username: str) -> int | None:
    async with compose.engines(settings) as on:
        return await compose.accounts_reader(on).holder(username)
