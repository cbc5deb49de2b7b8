"""Faults that happen to undertakings, and what must hold after each of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from launcher import NONE, Fault, Launched, Launcher
from numpy.random import Generator
from rasterio.errors import RasterioError
from undertakings import Undertaking, list_files, read_rasters, sum_up_raster


@dataclass(frozen=True)
class Expected:
    """How an undertaking goes when nobody disturbs it."""

    files: dict[str, str]
    rasters: dict[str, str]
    seconds: float
    changes: int
    reads: int
    largest_bytes: int


class Bench:
    """Where undertakings are disturbed: what starts them, and what they read."""

    def __init__(self, launcher: Launcher, given: Path, folder: Path) -> None:
        self.launcher, self.given, self.folder = launcher, given, folder
        self.expect = cache(self._expect)
        self.expect_changed = cache(self._expect_changed)

    def _expect(self, undertaking: Undertaking) -> Expected:
        """Do it twice: calls that change something are counted first, then those that read; both give the same files."""
        runs, read = [], []
        start = time.monotonic()
        for place in ("out", "given"):
            folder = undertaking.furnish(self.folder / "calm", self.given)
            start = time.monotonic()
            run = self.launcher.start(
                undertaking.commands, folder, Fault(place=str((folder / place).resolve()))
            )
            assert run.wait() == 0, run.read()
            runs.append(run.count_calls())
            read.append(undertaking.read(folder / "out"))
        assert read[0] == read[1], (
            f"{undertaking.name}: {list(list_differences(*read))} differ between two runs"
        )
        largest = max(path.stat().st_size for _, path in list_files(folder / "out"))
        rasters = read_rasters(folder / "out")
        return Expected(read[0], rasters, time.monotonic() - start, runs[0][0], runs[1][1], largest)

    def _expect_changed(self, undertaking: Undertaking, is_changed: bool) -> dict[str, str]:
        """The files of an input of its own, before or after it changed."""
        folder = undertaking.furnish(self.folder / "calm", self.given, has_own=True)
        if is_changed:
            undertaking.change_input(folder)
        run = self.launcher.start(undertaking.commands, folder)
        assert run.wait() == 0, run.read()
        return undertaking.read(folder / "out")


def list_differences(found: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected:
            yield f"{name} is too much"
        elif name not in found:
            yield f"{name} is missing"
        elif found[name] != expected[name]:
            yield f"{name} differs"


PAGE = 4096
LOG_BYTES = 2_000
"""What a run says goes into a file, too, which must have room for it."""
IS_THERE = re.compile("already; use --overwrite")
Disturb = Callable[["Attempt"], None]


@dataclass
class Attempt:
    """An undertaking that is disturbed: `complaints` tells what did not hold."""

    bench: Bench
    undertaking: Undertaking
    chance: Generator

    def __post_init__(self) -> None:
        self.expected = self.bench.expect(self.undertaking)
        self.folder = self.undertaking.furnish(self.bench.folder / "disturbed", self.bench.given)
        self.out = self.folder / "out"
        self.before = self.undertaking.read(self.out)
        self.rewrites = self.has_gaps = False
        self.complaints: list[str] = []
        self.detail = ""

    def start(self, fault: Fault = NONE, first: int = 0) -> Launched:
        return self.bench.launcher.start(self.undertaking.commands[first:], self.folder, fault)

    def expect_changes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Begin with an input that can be changed: the files of it as it is, and as it will be."""
        files = tuple(self.bench.expect_changed(self.undertaking, is_changed) for is_changed in (False, True))
        self.undertaking.furnish(self.folder, self.bench.given, has_own=True)
        self.expected = replace(self.expected, files=files[1])
        return files

    def pick(self, most: int) -> int:
        """A number from 1 to most."""
        number = int(self.chance.integers(1, max(1, most) + 1))
        self.detail += f" {number} of {most}"
        return number

    def wait_a_moment(self) -> None:
        """As long as the work takes at most."""
        moment = float(self.chance.uniform(0, self.expected.seconds))
        self.detail += f" {moment:.2f} of {self.expected.seconds:.2f} s"
        time.sleep(moment)

    def judge(self, run: Launched, may_be_stopped: bool = False) -> int:
        """See how a disturbed run ended: well, or with one line and nothing half-written."""
        code = run.wait()
        found = self.read_found()
        self.has_gaps = code == 0 and re.search(self.undertaking.gaps, run.read()) is not None
        if code == 0 and not self.has_gaps:
            self.complaints += [
                f"ended well, but {each}" for each in list_differences(found, self.expected.files)
            ]
        elif code > 0 and code != 128 + signal.SIGTERM:
            self.complaints += list(list_bad_words(run, code))
        elif code and not may_be_stopped:
            self.complaints.append(f"ended with {code}: {run.read()[-300:]}")
        for name, content in found.items():
            whole = content in (self.expected.files.get(name), self.before.get(name))
            if name in self.expected.files and not whole and not self.undertaking.may_be_midway(name):
                self.complaints.append(f"{name} is half-written after {code}")
        lost = [name for name in self.before if name not in found and code and self.out.exists()]
        self.complaints += [f"{name} is lost after {code}" for name in lost]
        return code or int(self.has_gaps)

    def read_found(self) -> dict[str, str]:
        """The files that are there. GDAL repeats a write that was refused once, and a GeoTIFF may then be ordered otherwise."""
        found = self.undertaking.read(self.out) if self.out.exists() else {}
        for name, pixels in self.expected.rasters.items() if self.rewrites else ():
            if name in found and found[name] != self.before.get(name) and is_like(self.out / name, pixels):
                found[name] = self.expected.files[name]
        return found

    def finish(self, run: Launched) -> None:
        """Give the command anew that was at work, and those after it."""
        self.give_again(first=run.find_broken())

    def give_again(self, first: int = 0) -> None:
        """Give the commands anew from this one on: the files of an undisturbed run, and no others.

        Where all of it had been delivered before the run was killed, or the run had ended well and told of gaps, it may be
        refused instead.
        """
        was_delivered = self.has_gaps or self.read_found().items() >= self.expected.files.items()
        again = self.start(first=first)
        if again.wait() == 0:
            found = self.read_found()
            self.complaints += [
                f"after the rerun, {each}" for each in list_differences(found, self.expected.files)
            ]
        elif not (was_delivered and IS_THERE.search(again.read())):
            self.complaints.append(f"the rerun ended with {again.read()[-400:]}")


def is_like(path: Path, pixels: str) -> bool:
    """Whether a raster can be read, and shows what it is to show."""
    with suppress(RasterioError):
        return sum_up_raster(path) == pixels
    return False


def list_bad_words(run: Launched, code: int) -> Iterator[str]:
    errors = run.list_errors()
    if code not in (1, 2) or len(errors) != 1:
        yield f"ended with {code} and {len(errors)} errors: {run.read()[-600:]}"
    if "Traceback" in run.read() or any("--debug" in error for error in errors):
        yield f"said {run.read()[-600:]}"


def inject(kind: str, at: int = 0) -> Disturb:
    """A call of the system that fails, or at which the process is killed: the one with this number, or any."""

    def disturb(attempt: Attempt) -> None:
        reads = kind == "unreadable"
        number = at or attempt.pick(count_calls(attempt.expected, kind))
        attempt.rewrites = kind == "broken"
        place = (attempt.folder / ("given" if reads else "out")).resolve()
        run = attempt.start(Fault(kind, number, str(place)))
        if attempt.judge(run, kind == "kill"):
            attempt.finish(run)

    return disturb


def count_calls(expected: Expected, kind: str) -> int:
    """How many calls there are of which one can fail in this way."""
    return expected.reads if kind == "unreadable" else expected.changes


def sweep(bench: Bench, undertaking: Undertaking, kind: str, first: int, every: int) -> Iterator[Attempt]:
    """Let one call after another fail, every so many of them from the first on, each in a run of its own."""
    for at in range(first, count_calls(bench.expect(undertaking), kind) + 1, every):
        attempt = Attempt(bench, undertaking, np.random.default_rng())
        attempt.detail = f" {at}"
        inject(kind, at)(attempt)
        yield attempt


def limit_file_size(attempt: Attempt) -> None:
    run = attempt.start(Fault(file_bytes=LOG_BYTES + attempt.pick(attempt.expected.largest_bytes)))
    if attempt.judge(run):
        attempt.finish(run)


def send(number: int) -> Disturb:
    """A signal at a moment."""

    def disturb(attempt: Attempt) -> None:
        run = attempt.start()
        attempt.wait_a_moment()
        run.send(number)
        if attempt.judge(run, may_be_stopped=True):
            attempt.finish(run)

    return disturb


def kill_worker(attempt: Attempt) -> None:
    """What the system does where memory is short: it kills one process, most likely one with much."""
    run = attempt.start()
    attempt.wait_a_moment()
    workers = run.list_children()
    if workers:
        with suppress(ProcessLookupError):
            os.kill(workers[int(attempt.chance.integers(len(workers)))], signal.SIGKILL)
    if attempt.judge(run):
        attempt.finish(run)


def run_twice(attempt: Attempt) -> None:
    """A second run of the same command begins while the first is at work."""
    run = attempt.start()
    attempt.wait_a_moment()
    second = attempt.start()
    codes = run.wait(), second.wait()
    for code, each in zip(codes, (run, second), strict=True):
        attempt.complaints += list(list_bad_words(each, code)) if code else []
    if all(codes):
        attempt.complaints.append(f"neither of two ended well: {run.list_errors()} {second.list_errors()}")
    found = attempt.undertaking.read(attempt.out)
    attempt.complaints += [
        f"after two runs {codes}, {each}" for each in list_differences(found, attempt.expected.files)
    ]


def take_folder_away(attempt: Attempt) -> None:
    """The folder of the results vanishes with all that is in it; it is there again for the next run."""
    run = attempt.start()
    attempt.wait_a_moment()
    gone = attempt.folder / "gone"
    attempt.out.rename(gone)
    shutil.rmtree(gone)
    code = run.wait()
    if code:
        attempt.complaints += list(list_bad_words(run, code))
    attempt.undertaking.furnish(attempt.folder, attempt.bench.given)
    attempt.give_again()


def change_input(attempt: Attempt) -> None:
    """An input is overwritten while it is read: what is written is of the one or of the other, never of both."""
    either = attempt.expect_changes()
    run = attempt.start()
    attempt.wait_a_moment()
    attempt.undertaking.change_input(attempt.folder)
    code, found = run.wait(), attempt.undertaking.read(attempt.out)
    if code == 0 and found not in either:
        attempt.complaints.append("mixes an input with what became of it")
    if code:
        attempt.complaints += list(list_bad_words(run, code))
        attempt.complaints += [f"{name} was written all the same" for name in found if name in either[0]]
        attempt.finish(run)


def change_input_between(attempt: Attempt) -> None:
    """A run is killed, and its input overwritten before the command is given again: nothing of the former is used."""
    attempt.expect_changes()
    run = attempt.start()
    attempt.wait_a_moment()
    run.send(signal.SIGKILL)
    if run.wait():
        attempt.undertaking.change_input(attempt.folder)
        attempt.finish(run)


def fill_disk(attempt: Attempt) -> None:
    """A real file system, smaller than what is to be written; for the next run it is large enough."""
    size = attempt.pick(2 * attempt.expected.largest_bytes) // PAGE * PAGE + PAGE
    brought = attempt.folder / "brought"
    attempt.out.rename(brought)
    attempt.out.mkdir()
    mount(attempt.out, f"size={size + sum(path.stat().st_size for _, path in list_files(brought))}")
    try:
        shutil.copytree(brought, attempt.out, dirs_exist_ok=True)
        run = attempt.start()
        code = attempt.judge(run)
        mount(attempt.out, "remount,size=1g")
        if code:
            attempt.finish(run)
    finally:
        subprocess.run(["umount", "-l", attempt.out], check=True)


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)


FAULTS: dict[str, Disturb] = {
    "killed at a moment": send(signal.SIGKILL),
    "killed at a change of a file": inject("kill"),
    "terminated at a moment": send(signal.SIGTERM),
    "disk full": inject("full"),
    "a small disk": fill_disk,
    "a write fails": inject("broken"),
    "a read fails": inject("unreadable"),
    "files limited in size": limit_file_size,
    "a worker killed": kill_worker,
    "two runs": run_twice,
    "folder taken away": take_folder_away,
    "an input changes while it is read": change_input,
    "an input changes between two runs": change_input_between,
}


INJECTED = ("killed at a change of a file", "disk full", "a write fails", "a read fails")


def can_happen(bench: Bench, undertaking: Undertaking, fault: str) -> str:
    """Why a fault cannot happen to an undertaking here; nothing where it can."""
    if fault == "a worker killed" and not undertaking.is_slow:
        return "it has no workers"
    if fault.startswith("an input changes") and undertaking.changing is None:
        return "it reads no rasters strip by strip"
    if fault == "two runs" and undertaking.brought:
        return "each of two runs changes what the other has left"
    if fault in INJECTED and bench.launcher.library is None:
        return "there is no compiler"
    if fault == "a small disk" and (os.geteuid() or shutil.which("mount") is None):
        return "only root may mount"
    return ""


def disturb(bench: Bench, undertaking: Undertaking, fault: str, seed: int) -> Attempt:
    """Let a fault happen to an undertaking, as the seed says."""
    number = list(FAULTS).index(fault)
    attempt = Attempt(bench, undertaking, np.random.default_rng([seed, number]))
    FAULTS[fault](attempt)
    return attempt
