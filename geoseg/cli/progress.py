"""Progress on stderr: a bar on a terminal, and now and then a line where a file or another program reads along."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from geoseg.narrator import Tick

BAR = "{desc}: {percentage:3.0f}% |{bar}| {n:,.1f}/{total:,.1f} {unit}, {rate_noinv_fmt}, {remaining} left{postfix}"
SECONDS_PER_LINE = 30.0
MANY = 100


def line(text: str) -> None:
    """Write a line, above the bar where there is one."""
    if not sys.stderr.isatty():
        click.echo(text, err=True)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        click.echo(text, err=True)


@contextmanager
def bar(what: str, total: float, unit: str, done: float = 0) -> Iterator[Tick]:
    """A bar that moves in place."""
    from tqdm import tqdm

    with tqdm(
        desc=what, total=total, unit=unit, initial=done, bar_format=BAR, file=sys.stderr, mininterval=0.5
    ) as moving:

        def tick(amount: float, note: str = "", total: float | None = None) -> None:
            moving.total = total or moving.total
            if note:
                moving.set_postfix_str(note, refresh=False)
            advance(moving, amount)

        yield tick


def advance(moving: Any, amount: float) -> None:
    """Move a bar on; sums of fractions must not carry it past its end."""
    moving.update(min(amount, moving.total - moving.n))


@contextmanager
def lines(what: str, total: float, unit: str, done: float = 0) -> Iterator[Tick]:
    """A plain line at most every half minute."""
    written = started = time.monotonic()
    first, whole = done, total

    def tick(amount: float, note: str = "", total: float | None = None) -> None:
        nonlocal done, whole, written
        done, whole = done + amount, total or whole
        now = time.monotonic()
        if now - written >= SECONDS_PER_LINE and done > first:
            written = now
            rate = (done - first) / (now - started)
            click.echo(standing(what, unit, (min(done, whole), whole), rate, note), err=True)

    yield tick


def standing(what: str, unit: str, parts: tuple[float, float], rate: float, note: str) -> str:
    """How a task stands, in a line."""
    done, whole = parts
    digits = 0 if whole >= MANY else 1
    amounts = f"{done:,.{digits}f} of {whole:,.{digits}f} {unit}, {rate:,.2f} {unit}/s"
    left = timedelta(seconds=round((whole - done) / rate))
    return f"{what}: {done / whole:.0%}, {amounts}, {left} left" + (f", {note}" if note else "")
