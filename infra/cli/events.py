"""``murmur events``: append events to the log by hand, and watch a topic.

``append`` is the way in for producers that have no library of ours: one JSON object per line,
checked field by field before it is sent. ``event_id`` is minted and ``occurred_at`` set where a
line does not carry them.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import httpx
import msgspec
import typer

from events.codec import Codec
from events.errors import (
    AppendManyFailed,
    EventsError,
    InvalidEvent,
    OutcomeUnknown,
    RetryableError,
)
from events.log import Log
from events.position import Position
from events.producer import ProducerSettings
from events.reader import Reader, ReadRecord, Start
from events.registry import Registry
from events.snowflake import SnowflakeMinter
from events.types import Event, from_object
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, out, print_json_line
from infra.settings import Settings, load
from schemas import catalog
from schemas.catalog import CatalogError, Topics

LINES_AT_ONCE_MAX = 500
REGISTRY_SECONDS_MAX = 10.0

app = typer.Typer(no_args_is_help=True, help="Append events to the log, and watch topics.")


class From(StrEnum):
    """Where ``tail`` starts, other than at an offset."""

    EARLIEST = "earliest"
    LATEST = "latest"


@app.command()
def append(
    file: Annotated[
        Path | None, typer.Option(help="Read events from a file, one JSON object per line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Append events: one JSON object per line on standard input, such as

        echo '{"type":"UserFollowed","user_id":1,"target_user_id":2}' | murmur events append

    Prints the position of each. Stops at the first line that is no valid event, with exit status
    1; the lines before it are in the log. `schemas/examples` has one of each type.
    """
    with file.open(encoding="utf-8") if file else sys.stdin as lines:
        _run(_append(load().settings, lines, as_json))


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="Topic of topics.yaml, such as new-tweets.")],
    start: Annotated[
        str, typer.Option("--from", help="earliest, latest, or an offset.", show_default=True)
    ] = "latest",
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many records.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a topic's records as they come, such as

        murmur events tail new-tweets --from earliest --count 10

    Records of one partition come in order. With `--json` each is one line of JSON.
    """
    try:
        catalog.topic(topic)
    except CatalogError as error:
        raise CommandError(str(error), Status.USAGE) from error
    _run(_tail(load().settings, topic, _start(start), count, as_json))


def _start(text: str) -> Start:
    if text in list(From):
        return "earliest" if text == From.EARLIEST else "latest"
    if text.isdecimal():
        return int(text)
    raise CommandError(f"--from {text}: give earliest, latest or an offset", Status.USAGE)


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except RetryableError as error:
        told = f"{error}; is the stack up? try: murmur status"
        raise CommandError(told, Status.UNREACHABLE) from error
    except EventsError as error:
        raise CommandError(str(error), Status.WRONG) from error
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)


async def _append(settings: Settings, lines: TextIO, as_json: bool) -> None:
    async with _Appending(settings) as appending:
        numbered = enumerate(lines, start=1)
        while batch := list(itertools.islice(numbered, LINES_AT_ONCE_MAX)):
            events, broken = [], None
            for number, line in batch:
                if not line.strip():
                    continue
                try:
                    events.append(await appending.event(line))
                except InvalidEvent as error:
                    broken = CommandError(f"line {number}: {error}; lines after it were not read")
                    break
            await appending.append(events, as_json)
            if broken is not None:
                raise broken


class _Appending:
    """The log, and the minter when a line needs one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._minter: SnowflakeMinter | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> _Appending:
        registry = await self._closing.enter_async_context(_registry(self._settings))
        codec = Codec(await registry.publish(), registry)
        producer = ProducerSettings(
            bootstrap=self._settings.kafka_bootstrap, options=self._settings.kafka_options
        )
        self._log = Log(producer, codec, Topics(self._settings.topic_prefix))
        await self._log.open()
        self._closing.push_async_callback(self._log.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def event(self, line: str) -> Event:
        """The event of a line, with its id and time filled in when it has none."""
        try:
            fields = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise InvalidEvent(f"not JSON: {error}", event_type="?", field="") from error
        if not isinstance(fields, dict):
            raise InvalidEvent("not a JSON object", event_type="?", field="")
        if "event_id" not in fields:
            fields["event_id"] = await (await self._minting()).mint()
        fields.setdefault("occurred_at", time.time_ns() // 1_000_000)
        return from_object(fields)

    async def append(self, events: list[Event], as_json: bool) -> None:
        """Append and print the positions of what was appended."""
        failed: AppendManyFailed | None = None
        try:
            outcomes: Any = await self._log.append_many(events)
        except AppendManyFailed as error:
            failed, outcomes = error, error.outcomes
        for event, outcome in zip(events, outcomes, strict=False):
            if isinstance(outcome, EventsError):
                err.print(f"event {event.event_id}: {outcome}", markup=False)
                continue
            shown = {
                "position": str(outcome),
                "type": type(event).__name__,
                "event_id": str(event.event_id),
            }
            if as_json:
                print_json_line(shown)
            else:
                out.print(shown["position"], markup=False)
        if failed is not None:
            unknown = any(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
            hint = "; look with `murmur events tail` before you repeat it" if unknown else ""
            away = all(isinstance(outcome, Position | RetryableError) for outcome in outcomes)
            raise CommandError(f"{failed}{hint}", Status.UNREACHABLE if away else Status.WRONG)

    async def _minting(self) -> SnowflakeMinter:
        if self._minter is None:
            on = await self._closing.enter_async_context(compose.engines(self._settings))
            self._minter = await self._closing.enter_async_context(compose.open_minter(on))
        return self._minter


async def _tail(
    settings: Settings, topic: str, start: Start, count: int | None, as_json: bool
) -> None:
    async with _registry(settings) as registry:
        reader = Reader(
            settings.kafka_bootstrap,
            Topics(settings.topic_prefix),
            Codec({}, registry),
            settings.kafka_options,
        )
        shown = 0
        async with aclosing(reader.tail(topic, start)) as records:
            async for record in records:
                if as_json:
                    print_json_line(_object(record))
                else:
                    out.print(_line(record), markup=False)
                shown += 1
                if shown == count:
                    return


@asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[Registry]:
    async with httpx.AsyncClient(timeout=REGISTRY_SECONDS_MAX) as client:
        yield Registry(settings.registry_url, client)


def _object(record: ReadRecord) -> dict[str, Any]:
    """A record as JSON; bytes that are no text are base64."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended_at": record.appended_at,
        "key": None if record.key is None else _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers},
        "schema": record.schema,
        "event": None if record.event is None else msgspec.to_builtins(record.event),
        "error": None if record.error is None else f"{type(record.error).__name__}: {record.error}",
        "value": base64.b64encode(record.value).decode()
        if record.event is None and record.value is not None
        else None,
    }


def _line(record: ReadRecord) -> str:
    moment = time.strftime("%H:%M:%S", time.localtime(record.appended_at / 1000))
    return f"{record.topic}/{record.partition}@{record.offset}  {moment}  {_words(record)}"


def _words(record: ReadRecord) -> str:
    if record.event is not None:
        name = type(record.event).__name__
        newest = f"{name}.v{len(catalog.schemas()[name])}"
        if record.schema not in (None, newest):
            name += f" (written as {str(record.schema).rpartition('.')[2]})"
        return f"{name} {msgspec.json.encode(record.event).decode()}"
    if record.error is not None:
        return f"POISON {type(record.error).__name__}: {record.error}"
    if record.value is None:
        return "tombstone"
    return f"{len(record.value)} bytes {dict(_object(record)['headers'])}"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
