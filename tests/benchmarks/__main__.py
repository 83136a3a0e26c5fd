"""``python -m tests.benchmarks [NAME…]``: runs all benchmarks, or those named.

On the stack that the settings lead to, or on one of its own where none runs.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tests.benchmarks
from infra.settings import load
from tests.benchmarks.harness import Figure, report
from tests.conftest import running_stack


def names() -> list[str]:
    """Every module of this package that has a ``run``; read and not imported, imports take long."""
    folder = Path(tests.benchmarks.__path__[0])
    return sorted(
        path.stem for path in folder.glob("*.py") if "\nasync def run(" in path.read_text()
    )


@contextmanager
def engines() -> Iterator[None]:
    """Engines to measure."""
    if load().origins["kafka_bootstrap"] != "default":
        yield
        return
    print("… no stack runs: starting one", file=sys.stderr, flush=True)
    with running_stack() as settings:
        os.environ["MURMUR_DATA_DIR"] = str(settings.data_dir)
        yield


def main(wanted: list[str]) -> int:
    """Runs the benchmarks one after the other; returns the exit code."""
    known = names()
    if unknown := [name for name in wanted if name not in known]:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    with engines():
        for name in wanted or known:
            print(f"… {name}", file=sys.stderr, flush=True)
            figures += asyncio.run(importlib.import_module(f"tests.benchmarks.{name}").run())
    report(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
