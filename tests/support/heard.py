"""What geoseg says and reports while a test runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from geoseg.progress import Advance, use_reporter


class Tick(NamedTuple):
    amount: float
    note: str = ""
    total: float | None = None


class Task(NamedTuple):
    total: float
    done: float
    ticks: list[Tick]


class Heard(logging.Handler):
    """Remembers all lines, the warnings among them, all tasks by their names, and the last one with its amounts."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.ticks: list[Tick] = []
        self.tasks: dict[str, Task] = {}
        self.total = self.done = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float) -> Iterator[Advance]:
        self.total, self.done, self.ticks = self.tasks[what] = Task(total, done, [])
        yield lambda *ticked: self.ticks.append(Tick(*ticked))


@contextmanager
def listening() -> Iterator[Heard]:
    heard = Heard()
    loggers = [logging.getLogger(name) for name in ("geoseg", "gee")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(heard)
        logger.setLevel(logging.INFO)
    try:
        with use_reporter(heard):
            yield heard
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(heard)
            logger.setLevel(level)
