"""Files that are whole or not there: written beside, put on disk, renamed at the end, with one clear line when that fails."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import GeosegError
from geoseg.io.access import check_writable, explain_write_error, list_causes

WRITING_LIBRARIES = {"pyarrow", "pyogrio", "rasterio"}
"""Their errors share no base class, and importing them for their errors would take longer than writing."""


@contextmanager
def replace_files(path: Path) -> Iterator[Path]:
    """A folder beside a file: what lies in it when the block ends well is moved next to, or over, that file.

    After an error the folder vanishes with all that was left in it, and what was there before is untouched.
    """
    check_writable(path)
    with explain_write_errors(path):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
        check_writable(path)
        with explain_write_errors(path):
            finished = sorted(file for file in folder.iterdir() if file.is_file())
            for file in finished:
                put_on_disk(file)
            for file in finished:
                os.replace(file, path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A path beside a file: what is written there moves over the file when the block ends well."""
    with replace_files(path) as folder, explain_write_errors(path):
        yield folder / path.name


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replace_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def put_on_disk(path: Path) -> None:
    """Wait until a file's bytes lie on the disk, so that a rename never names what a power cut takes away."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def create_scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for what is needed on the way only; it is empty at first, and gone in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Say in one line what kept a file from being written."""
    try:
        yield
    except GeosegError:
        raise
    except Exception as error:
        if not is_write_error(error):
            raise
        raise GeosegError(f"{path} could not be written: {explain_write_error(error, path)}") from error


def is_write_error(error: Exception) -> bool:
    """Whether an error is one of files, rather than of our own code; torch tells a full disk as an error of its own."""
    return any(
        isinstance(cause, (OSError, sqlite3.Error, SystemError))
        or type(cause).__module__.partition(".")[0] in WRITING_LIBRARIES
        for cause in list_causes(error)
    )
