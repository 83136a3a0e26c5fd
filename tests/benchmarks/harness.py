"""What every benchmark shares: a figure, a table, the machine, and the file ``BENCH_JSON`` names.

A benchmark is a module of this package with ``async def run() -> list[Figure]``. A figure carries
its peers and limits, measured in the same run on the same machine: a number alone says little.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: What was measured, such as ``slice_delivery``.
        value: The number.
        unit: Its unit, such as ``events/s``.
        beside: Peers and limits in the same unit, by name.
    """

    name: str
    value: float
    unit: str
    beside: dict[str, float] = field(default_factory=dict)


def machine() -> str:
    """One line that says what the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {model or platform.machine()}, {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def report(figures: Sequence[Figure]) -> None:
    """Prints the figures, and adds them to the JSON list in ``BENCH_JSON`` when that is set."""
    table = Table(title="Benchmarks", caption=machine(), title_justify="left")
    for column in ("name", "value", "unit", "beside"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for figure in figures:
        beside = [
            f"{name}: {_shown(value)} ({figure.value / value:.2f}x)" if value else f"{name}: 0"
            for name, value in figure.beside.items()
        ]
        table.add_row(figure.name, _shown(figure.value), figure.unit, "\n".join(beside))
    Console(width=120).print(table)
    if target := os.environ.get("BENCH_JSON"):
        path = Path(target)
        before = json.loads(path.read_text()) if path.exists() and path.stat().st_size else []
        path.write_text(json.dumps([*before, *map(asdict, figures)], indent=2) + "\n")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
