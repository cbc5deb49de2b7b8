"""Whether a file or folder can be written, checked before the work is done; why a write failed; and locks on folders."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg.errors import GeosegError, InputError
from geoseg.io.staging import LOCK_FILE
from geoseg.progress import list_names

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
LEAST_FREE_BYTES = 2**20
MEMBER = ".member-"
"""What the locks of those are called that share a folder."""
LOOKING_S = 5.0
"""How long a lock may be held by others that only look whether it is: each has it for some milliseconds."""
DISK_FULL_WORDS = ("disk is full", "no space left", "file too large", "disk i/o error", "quota")


def explain_write_error(error: Exception, path: Path) -> str:
    """The cause of a failed write, and what to do about it."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} is gone; make it again and run again"
    causes = list(list_causes(error))
    words, free = " ".join(map(str, causes)).lower(), shutil.disk_usage(path.parent).free
    is_full = any(getattr(cause, "errno", None) in DISK_FULL_ERRNOS for cause in causes) or any(
        full in words for full in DISK_FULL_WORDS
    )
    if is_full or free < LEAST_FREE_BYTES:
        return f"no space left on the disk ({free / 1e6:,.0f} MB free); make room and run again"
    if "locked" in words:
        return "another program has it open; close it there and run again"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{causes[-1]}; {free / 1e6:,.0f} MB are free on the disk"


def list_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what led to it: rasterio tells what GDAL said in the cause alone."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check_writable(path: Path) -> None:
    """Refuse early a file that could not be replaced in the end."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: no right to write into {path.parent}; write elsewhere")
    if path.exists() and not (os.access(path, os.W_OK) and path.stat().st_mode & 0o222):
        raise InputError(f"{path} is read-only; make it writable or write elsewhere")
    if is_sqlite_file(path):
        check_unlocked(path)


@dataclass(frozen=True)
class Output:
    """A file that a command is to write: what it is, how its name may end, and whether an earlier one may be there."""

    what: str
    path: Path
    suffixes: tuple[str, ...] = ()
    may_exist: bool = False


def check_outputs(
    outputs: Sequence[Output], inputs: Iterable[str], own: Collection[Path] = frozenset()
) -> None:
    """Find every fault of the files to be written before hours of work go into them.

    `own` are those that a killed run of the same command has left.
    """
    read, written = set(map(os.path.realpath, inputs)), set[str]()
    for output in outputs:
        path, real = output.path, os.path.realpath(output.path)
        if real in read:
            raise InputError(f"{path}: is itself read; give the output another name")
        if real in written:
            raise InputError(f"{path}: named for two outputs; give each its own name")
        written.add(real)
        if output.suffixes and path.suffix.lower() not in output.suffixes:
            raise InputError(f"{path}: {output.what} ends in {' or '.join(output.suffixes)}")
        check_writable(path)
        if path.exists() and not output.may_exist and path.absolute() not in own:
            raise InputError(f"{path}: exists already; use `overwrite` to replace it")


def is_sqlite_file(path: Path) -> bool:
    """Whether a file is there and is an SQLite database, as every GeoPackage is."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(15) == b"SQLite format 3"


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Say in one line that a file is no database that can be read."""
    try:
        yield
    except sqlite3.OperationalError:
        raise  # locked, or on a full disk
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{path}: is damaged ({error}), so that its other layers cannot be kept; delete it, or give another name"
        ) from error


def check_unlocked(path: Path) -> None:
    """Refuse a database that another program has open: replacing it under that program would lose its edits.

    A program that reads in write-ahead mode, as QGIS does, holds no lock, but keeps that mode from being left.
    """
    try:
        with explain_damage(path), closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as base:
            if base.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                base.execute("PRAGMA journal_mode = DELETE")
            base.execute("BEGIN EXCLUSIVE")
            base.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise GeosegError(f"{path} cannot be replaced: {explain_write_error(error, path)}") from None


def check_folder(path: Path) -> None:
    """Refuse early a folder that could be neither made nor written into."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise InputError(f"{there}: is a file where a folder is needed; give another name")
    if not os.access(there, os.W_OK):
        raise InputError(f"{path}: no right to write into {there}; write elsewhere")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Have a folder alone, which is made if need be: other runs are kept out, and none that shares it is at work."""
    with hold_lock(folder, LOCK_FILE, "another run of the same command"):
        at_work = [name for name in list_members(folder) if is_locked(folder / f"{MEMBER}{name}{LOCK_FILE}")]
        if at_work:
            raise GeosegError(
                f"{folder}: {list_names(at_work)} {'is' if len(at_work) == 1 else 'are'} still at work; run again when "
                "nothing is"
            )
        for name in list_members(folder):
            with suppress(OSError):
                (folder / f"{MEMBER}{name}{LOCK_FILE}").unlink()
        yield


@contextmanager
def share_folder(folder: Path, name: str, looking_s: float = LOOKING_S) -> Iterator[None]:
    """Work in a folder beside others, each under a name of its own; a run that has the folder alone is not joined.

    Whoever wants it alone locks first and looks for members then, a member the other way round: so one of them sees the
    other, whatever happens between.
    """
    with hold_lock(folder, f"{MEMBER}{name}{LOCK_FILE}", name):
        if is_locked(folder / LOCK_FILE, looking_s):
            raise GeosegError(f"{folder}: another run of the same command is at work, and does all of it")
        yield


@contextmanager
def hold_lock(folder: Path, file: str, who: str) -> Iterator[None]:
    """Hold a lock in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / file, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise GeosegError(f"{folder}: {who} is at work") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path, looking_s: float = 0) -> bool:
    """Whether a process holds a lock for longer than those that only look, as this does."""
    try:
        with FileLock(path, timeout=looking_s, poll_interval=0.01):
            return False
    except Timeout:
        return True


def list_members(folder: Path) -> list[str]:
    """The names of those that share or have shared a folder."""
    names = sorted(path.name for path in folder.glob(f"{MEMBER}*{LOCK_FILE}"))
    return [name.removeprefix(MEMBER).removesuffix(LOCK_FILE) for name in names]
