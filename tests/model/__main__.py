"""``make model``: many runs, each lot by a seed of its own; ``make model SEED=n`` repeats one.

A lot is what hypothesis makes of one seed: ``LOT`` runs, of which the later ones vary what the
earlier ones found worth while. A lot that fails is cut down to the steps that matter, and printed.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Murmuration

LOT = 50
STEPS = 30


def lot(number: int, runs: int, steps: int, *, shrink: bool) -> str | None:
    """Does a lot; returns what failed, cut down."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(Murmuration), settings=chosen)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{''.join(traceback.format_exception(error))}\n{notes}"
    return None


def main() -> int:
    """Runs what the arguments say; the exit status is 1 where a read differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, help="repeat one lot")
    parser.add_argument("--no-shrink", action="store_true")
    chosen = parser.parse_args()
    logging.getLogger("gateway").setLevel(logging.CRITICAL)
    began, cpu = time.monotonic(), time.process_time()
    failed: list[int] = []
    totals = Murmuration.totals
    wanted = LOT if chosen.seed is not None else chosen.runs
    done = 0
    while done < wanted:
        number = chosen.seed if chosen.seed is not None else secrets.randbits(32)
        size = min(LOT, wanted - done)
        failure = lot(number, size, chosen.steps, shrink=not chosen.no_shrink)
        done += size
        print(f"seed {number}: {'FAILED' if failure else f'{size} runs, all right'}", flush=True)
        if failure:
            failed.append(number)
            print(failure, flush=True)
    seconds = time.monotonic() - began
    print(
        f"{totals.runs} runs, {totals.steps} steps, {totals.compared} reads compared in "
        f"{seconds:.0f} s ({time.process_time() - cpu:.0f} s of CPU); {len(failed)} lots failed"
    )
    for number in failed:
        print(f"  make model SEED={number}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
