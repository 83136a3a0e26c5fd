"""``make model``: many runs, each lot by a seed of its own; ``make model SEED=n`` repeats one.

``make model-engines`` does some on the real engines, each by a seed of its own.

A lot is what hypothesis makes of one seed: ``LOT`` runs, of which the later ones vary what the
earlier ones found worth while. A lot that fails is cut down to the steps that matter, and printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import running_stack
from tests.model.engines import EngineMurmuration
from tests.model.machine import Murmuration

LOT = 50
ENGINES_LOT = 10
"""The first run of a lot is the simplest there is: a lot of one would show nothing."""
STEPS = 30


class Lots:
    """Runs in lots, each by a seed.

    Args:
        command: That repeats a lot.
        machine: What runs.
        size: Runs of a lot.
        steps: Of a run, at most.
        shrink: Whether a failure is cut down.
    """

    def __init__(
        self, command: str, machine: type[Murmuration], size: int, steps: int, *, shrink: bool
    ) -> None:
        self._command = command
        self._machine = machine
        self._size = size
        self._steps = steps
        self._phases = [Phase.generate, *([Phase.shrink] if shrink else [])]

    def run(self, runs: int, repeated: int | None) -> int:
        """Does so many runs, or a lot again; returns the exit status, 1 where a read differed."""
        began, cpu = time.monotonic(), time.process_time()
        failed: list[int] = []
        left = self._size if repeated is not None else runs
        while left > 0:
            number = repeated if repeated is not None else secrets.randbits(32)
            size = min(self._size, left)
            failure = self._lot(number, size)
            left -= size
            print(
                f"seed {number}: {'FAILED' if failure else f'{size} runs, all right'}", flush=True
            )
            if failure:
                failed.append(number)
                print(failure, flush=True)
        totals = Murmuration.totals
        print(
            f"{totals.runs} runs, {totals.steps} steps, {totals.compared} reads compared in "
            f"{time.monotonic() - began:.0f} s ({time.process_time() - cpu:.0f} s of CPU); "
            f"{len(failed)} lots failed"
        )
        for number in failed:
            print(f"  {self._command} SEED={number}")
        return int(bool(failed))

    def _lot(self, number: int, runs: int) -> str | None:
        """Does a lot; returns what failed, cut down."""
        chosen = settings(
            max_examples=runs,
            stateful_step_count=self._steps,
            deadline=None,
            database=None,
            phases=self._phases,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(number)(self._machine), settings=chosen)
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
    parser.add_argument("--engines", action="store_true", help="on those of MURMUR_TEST_STACK")
    chosen = parser.parse_args()
    if not chosen.engines:
        lots = Lots("make model", Murmuration, LOT, chosen.steps, shrink=not chosen.no_shrink)
        return lots.run(chosen.runs, chosen.seed)
    with running_stack() as found:
        EngineMurmuration.settings = found
        lots = Lots(
            "make model-engines", EngineMurmuration, ENGINES_LOT, chosen.steps, shrink=False
        )
        try:
            return lots.run(chosen.runs, chosen.seed)
        finally:
            EngineMurmuration.disconnect()


if __name__ == "__main__":
    sys.exit(main())
