"""Become another program, one that the kernel kills when its parent dies.

Run as a script: `python -IS guard.py PARENT_PID PROGRAM ARGUMENT…`. It asks for SIGKILL at the
death of its parent (PR_SET_PDEATHSIG, kept across exec) and then *is* the program. So a launcher
that is killed with -9 leaves nothing behind, which no handler of its own could promise.
It imports nothing of ours: it runs once for each process that we start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the death signal, then exec."""
    parent = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # It may have died before the request: then nobody would ever tell us.
    if os.getppid() != parent:
        sys.exit("guard: the launcher is gone")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
