"""Progress: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from heard import Heard

from geoseg.cli import console
from geoseg.cli.console import ConsoleReporter, speak_on_console
from geoseg.cli.main import geoseg
from geoseg.progress import silence, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_a_log_gets_a_plain_line_at_most_every_half_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with ConsoleReporter().task("Training", 1000, "steps", 100) as tick:
        for second in range(1, 91):
            clock.seconds = second
            tick(2, f"loss {second}", 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Training: 16%, 160 of 1,000 steps, 2.00 steps/s, 0:07:00 left, loss 30",
        "Training: 22%, 220 of 1,000 steps, 2.00 steps/s, 0:06:30 left, loss 60",
        "Training: 28%, 280 of 1,000 steps, 2.00 steps/s, 0:06:00 left, loss 90",
    ]


def test_a_corrected_total_corrects_what_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter().task("Training", 1000, "steps", 0) as tick:
        clock.seconds = 60
        tick(30, "", 40)
    assert capsys.readouterr().err == "Training: 75%, 30 of 40 steps, 0.50 steps/s, 0:00:20 left\n"


def test_a_short_task_leaves_no_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter().task("Reading", 3, "rows", 0) as tick:
        tick(1)
        tick(2)
    assert capsys.readouterr().err == ""


def test_sums_of_fractions_never_pass_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter().task("Predicting", 1, "Mpx", 0) as tick:
        for _ in range(11):
            clock.seconds += 31
            tick(0.1)
    assert "100%, 1 of 1 Mpx" in capsys.readouterr().err.splitlines()[-1]


def test_a_terminal_shows_a_bar_that_lines_do_not_tear(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log = logging.getLogger("geoseg.training")
    with speak_on_console(quiet=False), track("Training", 10, "steps", 4) as tick:
        tick(1, "loss 0.5000", 8)
        log.info("Step 5: all is well")
        log.warning("look out")
        tick(5)
    written = terminal.getvalue()
    assert re.search(r"Training: 100%.*8\.0/8\.0 steps.*left, loss 0\.5000", written)
    assert re.search(r"\r *\rStep 5: all is well\n", written)
    assert "Warning: look out" in written


def test_quiet_leaves_only_what_must_be_acted_on(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("gee.export")
    with speak_on_console(quiet=True), track("Training", 1000, "steps") as tick:
        tick(900)
        log.info("all is well")
        log.warning("look out")
    assert capsys.readouterr().err == "Warning: look out\n"
    assert not logging.getLogger("gee").handlers


def test_one_of_several_processes_speaks(heard: Heard) -> None:
    log = logging.getLogger("geoseg.training")
    with silence(), track("Training", 10, "steps"):
        log.warning("twice the same")
    log.warning("once")
    assert heard.lines == ["once"]
    assert heard.total == 0


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (console.wrap_command, "The same command begins anew."),
        (console.wrap_resuming_command(), "Run the same command again to go on."),
    ],
)
def test_a_batch_system_stops_a_command_as_ctrl_c_does(wrap: Callable[..., Any], words: str) -> None:
    cleaned_up = []

    @wrap
    def run(*, as_json: bool) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned_up.append(as_json)

    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(click.command(run), [])
    assert (result.exit_code, cleaned_up) == (143, [False])
    assert result.stderr == f"Stopped. {words}\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_is_none_of_a_librarys_errors() -> None:
    """Where it comes while pyarrow asks for rows, GDAL is told of an error in a stream."""

    @console.wrap_command
    def run(*, as_json: bool) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise RuntimeError("Error while accessing batch from stream") from None

    result = CliRunner().invoke(click.command(run), [])
    assert (result.exit_code, result.stderr) == (143, "Stopped. The same command begins anew.\n")


def test_commands_run_in_threads_too() -> None:
    def run() -> None:
        with console.stop_when_terminated():
            pass

    with ThreadPoolExecutor() as threads:
        threads.submit(run).result()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_commands(shell: str) -> None:
    run = CliRunner().invoke(geoseg, prog_name="geoseg", env={"_GEOSEG_COMPLETE": f"{shell}_source"})
    assert "_GEOSEG_COMPLETE" in run.output
    words = {"COMP_WORDS": "geoseg ve", "COMP_CWORD": "ve" if shell == "fish" else "1"}
    run = CliRunner().invoke(
        geoseg, prog_name="geoseg", env={"_GEOSEG_COMPLETE": f"{shell}_complete", **words}
    )
    assert "vectorize" in run.output


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells of no broken pipe")
def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "geoseg", "models", "list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(os.name != "posix", reason="closes files by their numbers, as a shell does")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_works_without_the_streams_that_a_scheduler_closed(tmp_path: Path, closed: str) -> None:
    scene = tmp_path / "scene.tif"
    line = f'"{sys.executable}" -m geoseg demo-scene "{scene}" --size 64 --seed 1 {closed}'
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0
    assert scene.exists()
