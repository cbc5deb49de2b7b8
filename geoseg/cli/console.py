"""What every command shares: how it tells its progress, gives its results and reports errors."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec

import click

from geoseg.cli import progress
from geoseg.errors import GeosegError
from geoseg.narrator import Narrator, Tick

P = ParamSpec("P")


class Console(Narrator):
    """Tells what is going on to a person, on stderr."""

    def say(self, line: str) -> None:
        progress.line(line)

    def warn(self, line: str) -> None:
        progress.line(click.style(f"Warning: {line}", fg="yellow"))

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float = 0) -> Iterator[Tick]:
        told = progress.bar if sys.stderr.isatty() else progress.lines
        with told(what, total, unit, done) as tick:
            yield tick


class Warnings(Narrator):
    """Only what the user must act on: `--quiet`."""

    warn = Console.warn


def result(summary: Mapping[str, Any], as_json: bool, lines: str) -> None:
    """Give the outcome of a command on stdout: `lines` for people, the summary for programs."""
    click.echo(json.dumps(summary, indent=2) if as_json else lines)


def command(run: Callable[P, None]) -> Callable[..., None]:
    """Give a command `--quiet`, `--json` and `--debug`, a narrator, and one line for an error.

    The wrapped function receives `narrator` and `as_json` beside its own options.
    """

    @click.option("--quiet", "-q", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("--json", "as_json", is_flag=True, help="Print a machine-readable summary on stdout.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(run)
    def wrapped(*args: Any, quiet: bool, debug: bool, **options: Any) -> None:
        narrator: Narrator = Warnings() if quiet else Console()
        try:
            run(*args, narrator=narrator, **options)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - the one place where errors become lines
            if debug:
                traceback.print_exc()
            raise SystemExit(report(error)) from None
        except KeyboardInterrupt:
            click.echo("Stopped. Run the same command again to go on.", err=True)
            raise SystemExit(130) from None

    return wrapped


def report(error: Exception) -> int:
    """Print one line on an error and return the exit code it deserves."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    message = str(error) if isinstance(error, GeosegError) else unexpected(error)
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return error.exit_code if isinstance(error, GeosegError) else 1


def unexpected(error: Exception) -> str:
    """One line on an error nobody foresaw."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error} (run again with --debug to see where)"
