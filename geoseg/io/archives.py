"""Unpacks zip archives without trusting them.

No file may land outside the target folder, and no archive may fill the disk.
"""

from __future__ import annotations

import errno
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from geoseg.errors import InputError
from geoseg.io.atomic import explain_write_errors

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
HARMLESS_BYTES = 10**9
MOST_TIMES = 100


def is_archive(path: Path) -> bool:
    """Whether a path is a zip archive; one that only calls itself so is refused."""
    if path.is_file() and path.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a zip archive that can be read; the file is cut off, get it again")
    return path.is_file() and zipfile.is_zipfile(path)


def unpack_archive(archive: Path, folder: Path, harmless_bytes: int = HARMLESS_BYTES) -> Path:
    """The files of a zip archive in a folder, none of them outside it and not suspiciously large."""
    with explain_broken_archive(archive), zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            refuse_escaping_path(name, archive)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        size = sum(each.file_size for each in files.infolist())
        refuse_oversized_archive(archive, size, folder, harmless_bytes)
        with explain_write_errors(folder), explain_broken_archive(archive):
            files.extractall(folder)
    return folder


@contextmanager
def explain_broken_archive(archive: Path) -> Iterator[None]:
    """Say in one line that an archive is damaged; one that points before its own beginning is an invalid argument."""
    try:
        yield
    except DAMAGE as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); get it again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise InputError(f"{archive}: cannot be unpacked ({error}); get it again") from error


def refuse_oversized_archive(archive: Path, size: int, folder: Path, harmless_bytes: int) -> None:
    """Refuse what would fill the disk. Images hardly shrink in an archive; what shrinks to nothing was made to harm."""
    packed, free = archive.stat().st_size, shutil.disk_usage(folder).free
    if size > max(harmless_bytes, MOST_TIMES * packed):
        raise InputError(
            f"{archive}: would swell from {packed / 1e6:,.1f} to {size / 1e6:,.0f} MB, as no images do; refused as "
            "unsafe: if you trust it, unpack it yourself and give the folder"
        )
    if size > free:
        raise InputError(
            f"{archive}: needs {size / 1e9:,.1f} GB unpacked, but {folder} has {free / 1e9:,.1f} GB left"
        )


def refuse_escaping_path(name: str, path: Path) -> None:
    """Refuse a file name that would lead out of its folder."""
    for kind in (PurePosixPath(name), PureWindowsPath(name)):
        if kind.is_absolute() or kind.drive or ".." in kind.parts:
            raise InputError(f"{path}: the file name {name} leads out of the folder of images; mend the file")
