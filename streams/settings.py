"""What a worker can be told; ``infra`` fills it in, nothing here reads the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker process.

    Attributes:
        kafka_bootstrap: ``host:port``, or several separated by commas.
        group: Consumer group; one per unit and generation.
        topic_prefix: Put before every logical topic name to get the physical one.
        slice_records_max: Records in one slice at most.
        fetch_bytes_max: Bytes of one partition in one fetch response. A larger batch still arrives
            whole, alone.
        queue_slices_max: Slices that wait between the poll loop and the agent.
        slices_at_once_max: Slices that are being applied, of different partitions.
        session_timeout_seconds: How long the group waits for a killed member before its partitions
            move: it dominates recovery. 6 s is the least that a broker allows by default
            (``group.min.session.timeout.ms``); heartbeats run in a thread of their own, so only a
            paused process misses them, and an owner that comes back late is fenced by its unit.
        heartbeat_seconds: Interval of the group's heartbeats, a quarter of the session.
        commit_interval_seconds: How often applied offsets are committed. A unit resumes from its
            own state, so this bounds only how stale the group's lag looks.
        unit_heartbeat_seconds: How often ``unit.heartbeat`` is called.
        grace_seconds: From the request to stop to the end of the process, at most.
        stall_seconds: The watchdog ends a process whose commits froze for this long under lag.
        retry_seconds_max: Longest wait between two tries of what failed for a passing reason.
        metrics_port: Where Prometheus metrics are served; 0 for nowhere.
    """

    kafka_bootstrap: str
    group: str
    topic_prefix: str = ""
    slice_records_max: int = 2000
    fetch_bytes_max: int = 1024 * 1024
    queue_slices_max: int = 2
    slices_at_once_max: int = 4
    session_timeout_seconds: float = 6.0
    heartbeat_seconds: float = 1.5
    commit_interval_seconds: float = 1.0
    unit_heartbeat_seconds: float = 1.0
    grace_seconds: float = 10.0
    stall_seconds: float = 120.0
    retry_seconds_max: float = 5.0
    metrics_port: int = 0

    @property
    def records_in_hand_max(self) -> int:
        """Records from which on a worker takes no more slices in hand; an empty one counts one."""
        return 2 * self.slices_at_once_max * self.slice_records_max

    def physical(self, topic: str) -> str:
        """The topic's name on the broker."""
        return self.topic_prefix + topic

    def logical(self, name: str) -> str:
        """The topic's name in ``schemas/topics.yaml``."""
        return name.removeprefix(self.topic_prefix)
