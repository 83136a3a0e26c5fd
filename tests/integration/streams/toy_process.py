"""A toy worker as a process: ``BOOTSTRAP PREFIX STATE_FILE [option…]``.

Options: ``slow=SECONDS`` before each write, ``name=WORKER``, ``session=SECONDS``,
``pause-after-write`` (writes the first slice, prints ``written`` and never returns),
``records=N`` per slice,
``grace=SECONDS``, ``commit=SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from events.slices import Slice
from streams.settings import WorkerSettings
from streams.worker import run_worker
from tests.integration.streams.toy import ToyDecoder, ToyUnit


async def main() -> int:
    bootstrap, prefix, path, *rest = sys.argv[1:]
    options = dict(option.partition("=")[::2] for option in rest)

    async def before(piece: Slice) -> None:
        await asyncio.sleep(float(options.get("slow", 0)))

    async def after(piece: Slice) -> None:
        if "pause-after-write" in options:
            print("written", flush=True)
            await asyncio.Event().wait()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    name = options.get("name", "only")
    unit = ToyUnit(Path(path), before=before, after=after, worker=name)
    settings = WorkerSettings(
        bootstrap,
        group=f"{prefix}toy",
        topic_prefix=prefix,
        commit_interval_seconds=float(options.get("commit", 0.2)),
        grace_seconds=float(options.get("grace", 10)),
        session_timeout_seconds=float(options.get("session", 6)),
        slice_records_max=int(options.get("records", 2000)),
    )
    return await run_worker(settings, unit, ToyDecoder(), stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)
