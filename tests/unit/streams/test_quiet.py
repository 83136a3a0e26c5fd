"""What is said again and again is said once in a while."""

from __future__ import annotations

import logging

from streams.quiet import OnceInAWhile


def record(level: int, message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "file", 1, message, values, None)


def test_a_template_passes_once_whatever_its_values() -> None:
    once = OnceInAWhile(3600)
    assert once.filter(record(logging.ERROR, "no node %s", 1))
    assert not once.filter(record(logging.ERROR, "no node %s", 2))
    assert once.filter(record(logging.ERROR, "no leader %s", 2))


def test_it_passes_again_when_time_has_gone_by() -> None:
    once = OnceInAWhile(0)
    assert once.filter(record(logging.ERROR, "no node"))
    assert once.filter(record(logging.ERROR, "no node"))


def test_what_is_no_warning_passes() -> None:
    once = OnceInAWhile(3600)
    assert once.filter(record(logging.INFO, "joined"))
    assert once.filter(record(logging.INFO, "joined"))
