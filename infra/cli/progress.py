"""What the terminal shows while the stack comes up: downloads, engines, deaths.

On standard error. A terminal gets live bars that say what is left; anything else gets lines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from infra.cli.output import err
from infra.stack.state import Phase

STYLES: dict[Phase, str] = {
    "waiting": "dim",
    "starting": "yellow",
    "ready": "green",
    "external": "cyan",
    "stopped": "dim",
    "dead": "bold red",
}
NAMES_SHOWN = 3


class Terminal:
    """The launcher's reporter for people.

    Args:
        quiet: Show deaths only.
        when_ready: Called when the stack is ready.
    """

    def __init__(self, *, quiet: bool, when_ready: Callable[[], None]) -> None:
        self._quiet = quiet
        self._when_ready = when_ready
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._coming: dict[str, int] = {}
        self._left = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def started(self, files: int, total_bytes: int) -> None:
        """A download of several files begins."""
        self._left = files
        if self._quiet:
            return
        if not err.is_terminal:
            err.print(f"downloading {files} files, {total_bytes / 1e6:.0f} MB")
            return
        self._bars = Progress(
            TextColumn("downloading"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=err,
        )
        self._bar = self._bars.add_task("", total=total_bytes)
        self._bars.start()

    def advanced(self, file_name: str, received_bytes: int) -> None:
        """Bytes came in; the line names a few of the files that are on their way."""
        with self._lock:
            self._coming[file_name] = self._coming.get(file_name, 0) + received_bytes
            if self._bars is not None and self._bar is not None:
                names = ", ".join(list(self._coming)[:NAMES_SHOWN])
                self._bars.update(
                    self._bar, advance=received_bytes, description=f"{self._left} left: {names}"
                )

    def finished(self, file_name: str) -> None:
        """A file is complete and matched its hash."""
        with self._lock:
            self._coming.pop(file_name, None)
            self._left -= 1
            if self._left == 0:
                self._close()
                if not self._quiet:
                    err.print("downloaded; every file matches its hash")

    def engine(self, name: str, phase: Phase, words: str) -> None:
        """One line per phase that an engine enters."""
        if not self._quiet:
            err.print(f"{name:<10} [{STYLES[phase]}]{phase}[/] {escape(words)}")

    def ready(self) -> None:
        """All is well."""
        self._when_ready()

    def died(self, name: str, why: str, lines: Sequence[str], restarted: bool) -> None:
        """An engine died: say so, and show its last words."""
        err.print(f"[bold red]{name} {escape(why)}[/]; its last lines:")
        for line in lines:
            err.print(f"  {escape(line)}")
        if restarted:
            err.print(f"{name} is started again")

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
