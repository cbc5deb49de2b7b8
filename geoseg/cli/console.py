"""What every command shares: progress bars and messages on stderr, results on stdout, one line for an error."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, ParamSpec

import click

from geoseg.errors import GeosegError, hide_secrets
from geoseg.options import GROUPS, MESSAGES, show_flags
from geoseg.progress import SILENT, Advance, use_reporter

BAR_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {n:,.1f}/{total:,.1f} {unit}, {rate_noinv_fmt}, {remaining} left{postfix}"
SECONDS_PER_LINE = 30.0
MANY = 100
LONGEST_SENTENCE = 200
"""Of what a command is for, in the list of commands."""


def print_line(text: str) -> None:
    """Write a line, above the bar where there is one."""
    if not sys.stderr.isatty():
        click.echo(text, err=True)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        click.echo(text, err=True)


@contextmanager
def show_bar(what: str, total: float, unit: str, done: float = 0) -> Iterator[Advance]:
    """A bar that moves in place."""
    from tqdm import tqdm

    with tqdm(
        desc=what,
        total=total,
        unit=unit,
        initial=done,
        bar_format=BAR_FORMAT,
        file=sys.stderr,
        mininterval=0.5,
    ) as moving:

        def tick(amount: float, note: str = "", total: float | None = None) -> None:
            moving.total = total or moving.total
            if note:
                moving.set_postfix_str(note, refresh=False)
            advance_bar(moving, amount)

        yield tick


def advance_bar(moving: Any, amount: float) -> None:
    """Move a bar on; sums of fractions must not carry it past its end."""
    moving.update(min(amount, moving.total - moving.n))


@contextmanager
def show_lines(
    what: str, total: float, unit: str, done: float = 0, pause_s: float = SECONDS_PER_LINE
) -> Iterator[Advance]:
    """A plain line now and then."""
    written = started = time.monotonic()
    first, whole = done, total

    def tick(amount: float, note: str = "", total: float | None = None) -> None:
        nonlocal done, whole, written
        done, whole = done + amount, total or whole
        now = time.monotonic()
        if now - written >= pause_s and done > first:
            written = now
            rate = (done - first) / (now - started)
            click.echo(format_progress(what, unit, (min(done, whole), whole), rate, note), err=True)

    yield tick


def format_progress(what: str, unit: str, parts: tuple[float, float], rate: float, note: str) -> str:
    """How a task stands, in a line."""
    done, whole = parts
    digits = 0 if whole >= MANY or done % 1 == whole % 1 == 0 else 1
    amounts = f"{done:,.{digits}f} of {whole:,.{digits}f} {unit}, {rate:,.2f} {unit}/s"
    left = timedelta(seconds=round((whole - done) / rate))
    return f"{what}: {done / whole:.0%}, {amounts}, {left} left" + (f", {note}" if note else "")


P = ParamSpec("P")
GO_ON = "Run the same command again to go on."
BEGIN_ANEW = "The same command begins anew."
MESSAGE_FLAGS = (
    (("--debug",), "Show the traceback of an error."),
    (("--json", "as_json"), "Print the result as JSON, for programs."),
    (("--quiet", "-q"), "Show no progress; the result, warnings and errors stay."),
)


class GroupedOption(click.Option):
    """An option that stands below a heading of its own in the help."""

    def __init__(self, *arguments: Any, group: str = "", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.group = group


def add_option(
    group: str, *flags: str, **attributes: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option of a command below a heading of its help."""
    return click.option(*flags, cls=GroupedOption, group=group, **attributes)


class GroupedCommand(click.Command):
    """A command whose help lists its options in groups, in the same order everywhere."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record:
                group = MESSAGES if "--help" in param.opts else getattr(param, "group", "") or "Options"
                groups.setdefault(group, []).append(record)
        for heading in sorted(groups, key=GROUPS.index):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class CommandGroup(click.Group):
    """A group whose help gives the whole first sentence of each command."""

    def list_sections(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:
        """The commands by heading."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading."""
        for heading, names in self.list_sections(ctx).items():
            commands = [self.get_command(ctx, name) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (each.name or "", each.get_short_help_str(LONGEST_SENTENCE))
                        for each in commands
                        if each
                    ]
                )


class ConsoleHandler(logging.Handler):
    """Writes what geoseg says to stderr, a line each, above the bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        line = hide_secrets(show_flags(record.getMessage(), list_flags()))
        is_warning = record.levelno >= logging.WARNING
        print_line(click.style(f"Warning: {line}", fg="yellow") if is_warning else line)


class ConsoleReporter:
    """Shows tasks on stderr: as a bar on a terminal, else as plain lines."""

    def __init__(self, pause_s: float = SECONDS_PER_LINE) -> None:
        self.pause_s = pause_s

    def task(self, what: str, total: float, unit: str, done: float) -> AbstractContextManager[Advance]:
        """Show a task that begins."""
        if sys.stderr.isatty():
            return show_bar(what, total, unit, done)
        return show_lines(what, total, unit, done, self.pause_s)


@contextmanager
def speak_on_console(quiet: bool) -> Iterator[None]:
    """Show a person what geoseg is doing; `quiet` leaves only what must be acted on."""
    handler = ConsoleHandler()
    loggers = [logging.getLogger(name) for name in ("geoseg", "gee")]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with use_reporter(SILENT if quiet else ConsoleReporter()), warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")  # those of libraries; geoseg's own are logged
            yield
    finally:
        for logger, level in before:
            logger.removeHandler(handler)
            logger.setLevel(level)


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises, so that a batch system stops a command as Ctrl-C does."""


@contextmanager
def stop_when_terminated() -> Iterator[None]:
    """Let SIGTERM end the work inside this block in good order: workers stop, and nothing unfinished is left behind."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield
        return
    terminated = threading.Event()

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not tear what the first one ends
        terminated.set()
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Exception:
        if terminated.is_set():  # a library in whose code it came may have made an error of its own of it
            raise Terminated from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def print_result(summary: Mapping[str, Any], as_json: bool, lines: str) -> None:
    """Give the outcome of a command on stdout: `lines` for people, the summary for programs."""
    with end_where_nobody_reads():
        click.echo(json.dumps(summary, indent=2) if as_json else show_flags(lines, list_flags()))


@contextmanager
def end_where_nobody_reads() -> Iterator[None]:
    """End without a word where the reader of stdout has gone, as `| head` does; what is left to be written goes nowhere."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def wrap_command(run: Callable[P, None]) -> Callable[..., None]:
    """Give a command `--quiet`, `--json` and `--debug`, progress on stderr, and one line for an error or when it is stopped.

    The wrapped function receives `as_json` beside its own options.
    """
    return wrap_resuming_command(lambda _: False)(run)


def wrap_resuming_command(
    resumes: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> Callable[[Callable[P, None]], Callable[..., None]]:
    """The same for a command that goes on where it was stopped, if `resumes` says so of its options."""

    def wrap(run: Callable[P, None]) -> Callable[..., None]:
        @functools.wraps(run)
        def wrapped(*args: Any, quiet: bool, debug: bool, **options: Any) -> None:
            try:
                with speak_on_console(quiet), stop_when_terminated():
                    run(*args, **options)
            except Exception as error:  # noqa: BLE001 - the one place where errors become lines
                if debug:
                    click.echo(hide_secrets(traceback.format_exc()), err=True)
                raise SystemExit(report_error(error)) from None
            except KeyboardInterrupt as stop:
                click.echo(f"Stopped. {GO_ON if resumes(options) else BEGIN_ANEW}", err=True)
                raise SystemExit(
                    128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
                ) from None

        command: Callable[..., None] = wrapped
        for flags, meaning in MESSAGE_FLAGS:
            command = add_option(MESSAGES, *flags, is_flag=True, help=meaning)(command)
        return command

    return wrap


def report_error(error: Exception) -> int:
    """Print one line on an error and return the exit code it deserves."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    message = str(error) if isinstance(error, GeosegError) else describe_unexpected(error)
    message = hide_secrets(show_flags(message, list_flags()))
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return error.exit_code if isinstance(error, GeosegError) else 1


def list_flags() -> dict[str, str]:
    """The flags of the command that is running, by the parameters they stand for."""
    context = click.get_current_context(silent=True)
    params = context.command.params[::-1] if context else []  # a flag goes before its short forms
    return {param.name: param.opts[0] for param in params if param.name and param.opts[0].startswith("-")}


def describe_unexpected(error: Exception) -> str:
    """One line on an error nobody foresaw."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error} (run again with --debug to see where)"
