"""``python -m tests.benchmarks [NAME…]``: runs all benchmarks, or those named."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

import tests.benchmarks
from tests.benchmarks.harness import Figure, report


def names() -> list[str]:
    """Every module of this package that has a ``run``; read and not imported, imports take long."""
    folder = Path(tests.benchmarks.__path__[0])
    return sorted(
        path.stem for path in folder.glob("*.py") if "\nasync def run(" in path.read_text()
    )


def main(wanted: list[str]) -> int:
    """Runs the benchmarks one after the other; returns the exit code."""
    known = names()
    if unknown := [name for name in wanted if name not in known]:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in wanted or known:
        print(f"… {name}", file=sys.stderr, flush=True)
        figures += asyncio.run(importlib.import_module(f"tests.benchmarks.{name}").run())
    report(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
