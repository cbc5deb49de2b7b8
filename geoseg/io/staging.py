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

from filelock import BaseFileLock, FileLock, Timeout

from geoseg.errors import InputError

LOCK_FILE = ".lock"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
STAGING_NAME = re.compile(r"\.(?P<file>.+)\.[a-z0-9_]{8}")
"""What `mkdtemp` makes of a prefix, with a file's name in it."""


@contextmanager
def make_staging_folder(path: Path) -> Iterator[Path]:
    """A new folder beside a file that nobody else can read or guess; it vanishes when the block ends."""
    folder, lock = claim_staging_folder(path)
    try:
        yield folder
    finally:
        lock.release(force=True)
        shutil.rmtree(folder, ignore_errors=True)


def claim_staging_folder(path: Path) -> tuple[Path, BaseFileLock]:
    """A new folder beside a file, and its lock; a further one where who sweeps was quicker to lock the first."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            continue
        except (OSError, NotImplementedError):
            pass  # a file system without locks: nothing will be swept there
        if folder.is_dir():
            return folder, lock
        lock.release(force=True)


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
            if is_wanted:
                remove_if_abandoned(Path(entry.path))


def remove_if_abandoned(folder: Path) -> None:
    """Remove a staging folder whose process is gone: the system has then lifted its lock."""
    if not (folder / LOCK_FILE).exists():
        return
    lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError, NotImplementedError):
        return
    shutil.rmtree(folder, ignore_errors=True)  # before its process, if it has just begun, can lock it
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps a file that is open
