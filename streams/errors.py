"""What ends a worker, as one tree; ``exit_code`` tells a supervisor what to do about it.

StreamsError
├── WorkerEnded
│   ├── Defect            a bug: somebody must look at it (70)
│   ├── Restart           nothing is wrong that a new process would not cure (75)
│   │   └── Stalled       commits froze while there was lag
│   └── OperatorNeeded    a new process would end the same way (78)
│       ├── LogMoved      the log lost, or never had, what was to be read next
│       └── WrongPosition the unit's applied position does not fit the topic
└── Stopping              not a failure: the worker was asked to stop (0)

The codes are those of ``sysexits.h``: EX_SOFTWARE, EX_TEMPFAIL, EX_CONFIG.
"""

from __future__ import annotations

from typing import ClassVar


class StreamsError(Exception):
    """Root of what this package raises on purpose."""


class WorkerEnded(StreamsError):
    """The worker cannot go on; its text is the last word of the process."""

    exit_code: ClassVar[int] = 70


class Defect(WorkerEnded):
    """An exception that no rule covers; nothing of the slice was acked."""


class Restart(WorkerEnded):
    """A new process resumes from what the state says."""

    exit_code = 75


class Stalled(Restart):
    """Commits froze while there was lag."""


class OperatorNeeded(WorkerEnded):
    """Starting again would end the same way."""

    exit_code = 78


class LogMoved(OperatorNeeded):
    """The log does not hold the offset that was to be read next."""


class WrongPosition(OperatorNeeded):
    """The unit's applied position does not fit the topic that it names."""


class Stopping(StreamsError):
    """The worker was asked to stop while it waited."""
