"""Progress of long work: whoever does it reports amounts; the reporter of the moment shows them, or nobody does.

Words go to `logging` (loggers below `geoseg` and `gee`). The library itself never prints.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

LONGEST_LIST = 6
"""Names that a line gives of many."""


class Advance(Protocol):
    """Moves a task on by an amount; may add a note on how it goes, and correct how much there is in all."""

    def __call__(self, amount: float, note: str = "", total: float | None = None) -> None: ...


class Reporter(Protocol):
    """Shows tasks to somebody: the command line's draws bars on stderr."""

    def task(self, what: str, total: float, unit: str, done: float) -> AbstractContextManager[Advance]:
        """Follow a long task, of which some may be done already."""


class SilentReporter:
    """Shows nothing."""

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float) -> Iterator[Advance]:
        """Take no note."""
        yield ignore


def ignore(amount: float, note: str = "", total: float | None = None) -> None:
    """Take no note of an amount."""


SILENT = SilentReporter()
_reporter: ContextVar[Reporter] = ContextVar("reporter", default=SILENT)


@contextmanager
def use_reporter(reporter: Reporter) -> Iterator[None]:
    """Let a reporter show all tasks that begin inside this block."""
    before = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(before)


@contextmanager
def silence() -> Iterator[None]:
    """Keep quiet inside this block: no bar, no word. Of several processes that do the same, one should speak."""
    with raise_level(logging.CRITICAL), use_reporter(SILENT):
        yield


@contextmanager
def speak_of_problems_only(when: bool = True) -> Iterator[None]:
    """Say nothing but warnings inside this block: of many alike, the first one tells how it is done."""
    with raise_level(logging.WARNING if when else logging.NOTSET):
        yield


@contextmanager
def raise_level(least: int) -> Iterator[None]:
    """Pass over words that matter less, inside this block."""
    logger = logging.getLogger("geoseg")
    level = logger.level
    logger.setLevel(max(level, least))
    try:
        yield
    finally:
        logger.setLevel(level)


def track(what: str, total: float, unit: str, done: float = 0) -> AbstractContextManager[Advance]:
    """Follow a long task, of which some may be done already.

    with track("Predicting", 12.5, "Mpx") as advance:
        advance(0.5)
    """
    return _reporter.get().task(what, total, unit, done)


def list_names(names: Sequence[str]) -> str:
    """Names in a line, the first few of many."""
    more = f" and {len(names) - LONGEST_LIST} more" if len(names) > LONGEST_LIST else ""
    return ", ".join(names[:LONGEST_LIST]) + more


def format_count(number: int, noun: str, plural: str = "") -> str:
    """How many there are of something: 1 scene, 2,000 scenes."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
