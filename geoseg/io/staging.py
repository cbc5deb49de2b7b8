"""Folders beside files for what is not finished yet: private, locked while their process lives, and swept once it has died."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg.errors import InputError

LOCK_FILE = ".lock"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
STAGING_NAME = re.compile(r"\.(?P<file>.+)\.[a-z0-9_]{8}")
"""What `mkdtemp` makes of a prefix, with a file's name in it."""


@contextmanager
def make_staging_folder(path: Path) -> Iterator[Path]:
    """A new folder beside a file that nobody else can read or guess; it vanishes when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
    with suppress(OSError, NotImplementedError):  # a file system without locks: nothing will be swept there
        lock.acquire()
    try:
        yield folder
    finally:
        lock.release(force=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def create_scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for what is needed on the way only; it is empty at first, and gone in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder whose content only its owner can change, or see that one that is there is such a folder.

    What lies in it is believed later, so nobody else may have put it there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{folder}: is a link to another place; delete it")
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS):
        raise InputError(
            f"{folder}: belongs to somebody else, or others may write into it, so that nobody knows who made what lies in "
            "it; delete it, or write elsewhere"
        )


def sweep_staging_folders(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left in a folder, all of it or what was to become the file of a name."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            made = STAGING_NAME.fullmatch(entry.name)
            is_wanted = made and name in (None, made["file"]) and entry.is_dir(follow_symlinks=False)
            if is_wanted and is_abandoned(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """Whether the process of a staging folder is gone: the system has then lifted its lock."""
    if not (folder / LOCK_FILE).exists():
        return False
    lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError, NotImplementedError):
        return False
    lock.release()
    return True
