"""What a demo shows while it runs: a live table in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from types import TracebackType

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINE_EVERY_S = 5.0


class Numbers(msgspec.Struct):
    """The state of a run, as of one look.

    Attributes:
        phase: What goes on, in words.
        detail: How far it is, in words.
        seconds: Since the simulation began.
        events: Appended so far.
        events_rate: Per second, lately.
        deliveries: Tweets pushed into followers' home timelines so far.
        deliveries_rate: Per second, lately.
        load: How busy the population is, 1 on average.
        lag: Events that each unit has still to apply.
        reads: Home timeline pages read over HTTP so far.
        read_p50_ms: Half of the last reads took less.
        read_p99_ms: 99 in 100 of the last reads took less.
        searches: Searches read over HTTP so far.
        search_p50_ms: Half of the last searches took less.
        search_p99_ms: 99 in 100 of the last searches took less.
        asked: The last queries, each with how many tweets its first page had.
        trends: What trends worldwide, the highest score first.
    """

    phase: str = "starting"
    detail: str = ""
    seconds: float = 0.0
    events: int = 0
    events_rate: float = 0.0
    deliveries: int = 0
    deliveries_rate: float = 0.0
    load: float = 1.0
    lag: dict[str, int] = {}
    reads: int = 0
    read_p50_ms: float | None = None
    read_p99_ms: float | None = None
    searches: int = 0
    search_p50_ms: float | None = None
    search_p99_ms: float | None = None
    asked: list[tuple[str, int]] = []
    trends: list[str] = []

    def line(self) -> str:
        """All of it on one line."""
        lag = " ".join(f"{unit}={events}" for unit, events in self.lag.items())
        return (
            f"{self.seconds:6.1f} s  {self.phase}{self.detail}"
            f"  events {self.events} ({self.events_rate:.0f}/s)"
            f"  deliveries {self.deliveries} ({self.deliveries_rate:.0f}/s)  lag {lag or '-'}"
            f"  reads {self.reads} p50 {_ms(self.read_p50_ms)} p99 {_ms(self.read_p99_ms)}"
            f"  searches {self.searches} p50 {_ms(self.search_p50_ms)} "
            f"p99 {_ms(self.search_p99_ms)}"
            f"  trends {', '.join(self.trends) or '-'}"
        )

    def table(self) -> Table:
        """All of it as a table."""
        table = Table(
            title=f"Murmuration: {self.phase}{self.detail}", title_justify="left", show_header=False
        )
        table.add_column(style="dim")
        table.add_column(justify="right")
        table.add_column(justify="right")
        table.add_row("time", f"{self.seconds:.1f} s", f"load {self.load:.2f}")
        table.add_row("events", f"{self.events:,}", f"{self.events_rate:,.0f}/s")
        table.add_row("deliveries", f"{self.deliveries:,}", f"{self.deliveries_rate:,.0f}/s")
        for unit, events in self.lag.items():
            table.add_row(f"lag of {unit}", f"{events:,}", "")
        table.add_row("home reads", f"{self.reads:,}", "")
        table.add_row("read p50, p99", _ms(self.read_p50_ms), _ms(self.read_p99_ms))
        table.add_row("searches", f"{self.searches:,}", "")
        table.add_row("search p50, p99", _ms(self.search_p50_ms), _ms(self.search_p99_ms))
        for query, found in self.asked:
            table.add_row(Text("search"), Text(query), f"{found} found")
        for place, trend in enumerate(self.trends, 1):
            table.add_row(f"trend {place}", Text(trend), "")
        return table


class View:
    """Shows `Numbers`; an async loop calls `show` a few times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next_line_at = 0.0
        self._phase = ""

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, numbers: Numbers) -> None:
        """Draw, or print a line when the phase is new or the last line is old."""
        if self._live is not None:
            self._live.update(numbers.table(), refresh=True)
            return
        now = time.monotonic()
        if numbers.phase != self._phase or now >= self._next_line_at:
            self._phase, self._next_line_at = numbers.phase, now + LINE_EVERY_S
            self._console.print(numbers.line())


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
